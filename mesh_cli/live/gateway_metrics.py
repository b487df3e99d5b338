"""The metrics of a gateway: those of each arena that it serves."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import anyio

from mesh.arena_metrics import ArenaMetrics
from mesh.errors import BusError
from mesh.jetstream import JetStreamHub
from mesh.metric import ShownMetric

if TYPE_CHECKING:
    from gateway.http.arenas import ServedArena

_Beside = Callable[["ServedArena"], Coroutine[Any, Any, None]]
"""What runs beside each arena of a gateway."""

_HUB_WITHIN_S = 3.0


class GatewayMetrics:
    """Collects the metrics of all served arenas; `beside` runs beside each of them."""

    def __init__(self, hub: JetStreamHub) -> None:
        self._hub = hub
        self._arenas: dict[str, ArenaMetrics] = {}

    async def beside(self, served: "ServedArena") -> None:
        """Follow an arena until cancelled."""
        made = ArenaMetrics(self._hub, served.door.bus, lambda: served.door.follower.board)
        self._arenas[served.name] = made
        await made.count()

    async def collect(self) -> list[ShownMetric]:
        """Return the metrics of all arenas as of now."""
        return [metric for arena in self._arenas.values() for metric in await arena.collect()]

    async def trouble(self) -> str:
        """Return why the gateway cannot work now, "" if it can."""
        with anyio.move_on_after(_HUB_WITHIN_S):
            try:
                await self._hub.arenas()
            except BusError as error:
                return str(error)
            return ""
        return "the server of the log does not answer"


def both(one: _Beside | None, other: _Beside) -> _Beside:
    """Return what runs both beside an arena."""

    async def run(served: "ServedArena") -> None:
        async with anyio.create_task_group() as tasks:
            if one:
                tasks.start_soon(one, served)
            tasks.start_soon(other, served)

    return run
