"""Reads who answers for the members of a hub, for the curator: proof and audits go to workers of other owners.

The hub's own log says it (`member.admitted`). A process that may not read that log, and a server without one, know
only what workers and agents say of themselves when they join.
"""

from collections.abc import Mapping
from contextlib import aclosing, suppress

import anyio

from mesh.bus import Bus, Hub
from mesh.errors import BusError, UnknownName
from mesh.events import MemberAdmitted
from mesh.wire import HUB_AUTHOR, HUB_LOG, Pattern

_EVERY_S, _WITHIN_S = 10.0, 2.0
"""Seconds between two looks, and for which one look may take."""


class OwnerReader:
    """Looks into the hub's log now and then."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._log: Bus | None = None
        self._seq, self._next = 0, 0.0
        self._known: dict[str, str] = {}

    async def owners(self) -> Mapping[str, str]:
        """Return the owners of members by the names of the members; who has none is left out."""
        if anyio.current_time() >= self._next:
            self._next = anyio.current_time() + _EVERY_S
            with anyio.move_on_after(_WITHIN_S), suppress(BusError, UnknownName):
                await self._read()
        return self._known

    async def _read(self) -> None:
        self._log = self._log or await self._hub.arena(HUB_LOG)
        only = [Pattern("member.admitted", author=HUB_AUTHOR)]
        async with aclosing(self._log.read(self._seq, only=only)) as batches:
            async for batch in batches:
                for entry in batch:
                    self._seq = entry.seq
                    event = entry.post.event if entry.post else None
                    if isinstance(event, MemberAdmitted) and event.owner:
                        self._known.setdefault(event.name, event.owner)
