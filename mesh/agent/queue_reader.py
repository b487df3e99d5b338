"""Reads how far the queue of runs is, for the curator: what every member of the queue has done or dropped."""

from collections.abc import Mapping
from contextlib import suppress

import anyio

from mesh.bus import WORKERS, Bus, HandedOut
from mesh.errors import BusRefused, BusUnavailable
from mesh.events import LANES

_EVERY_S, _WITHIN_S = 2.0, 2.0
"""Seconds between two questions, which are one per lane, and in which the server answers."""


class QueueReader:
    """Asks now and then; where the server refuses it, as it does members, never again."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._kinds = bus, {f"run.requested.{lane}": lane for lane in LANES}
        self._known: dict[str, HandedOut] = {}
        self._next, self._is_refused = 0.0, False

    async def handed_out(self) -> Mapping[str, HandedOut]:
        """Return how far the queue is, by lane; nothing is known of a lane that is left out."""
        if self._is_refused or anyio.current_time() < self._next:
            return self._known
        self._next = anyio.current_time() + _EVERY_S
        with anyio.move_on_after(_WITHIN_S), suppress(BusUnavailable):
            try:
                found = await self._bus.handed_out(WORKERS, [*self._kinds])
            except BusRefused:
                self._is_refused = True
            else:
                self._known = {self._kinds[kind]: each for kind, each in found.items()}
        return self._known
