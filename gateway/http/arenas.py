"""The arenas that a gateway serves: each with its door, its indexes and its latest entries, kept current by tasks."""

import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.abc

from gateway.door import Door
from gateway.http.latest import Latest
from gateway.log_index import IndexReader, LogIndex, patiently
from mesh import settings
from mesh.bus import ArenaBus, Hub
from mesh.code import CodeStore
from mesh.errors import BusUnavailable, UnknownName, leaf
from mesh.follow import Follower

_T = TypeVar("_T", bound=LogIndex)
_LOOK_S = 1.0
"""Seconds for which the list of arenas is believed."""


class ServedArena:
    """One arena of a gateway; `is_new` says that it was opened after the gateway had started."""

    def __init__(
        self, bus: ArenaBus, follower: Follower, code: CodeStore, indexes: Sequence[LogIndex], *, is_new: bool = False
    ) -> None:
        self.name, self.is_new = bus.arena, is_new
        self.door = Door(bus, follower, code)
        self.latest = Latest(bus, follower)
        self.indexes = IndexReader(bus, indexes)
        self._by_kind = {type(index): index for index in indexes}

    def index(self, kind: type[_T]) -> _T:
        """Return the index of a kind."""
        found = self._by_kind[kind]
        assert isinstance(found, kind)
        return found

    async def reached(self, seq: int) -> None:
        """Wait until the board and the indexes have entry `seq`, which is of a kind that an index folds."""
        await self.indexes.reached(seq)
        await self.door.follower.reached(seq)


class Arenas:
    """Opens an arena when somebody asks for it, and keeps it open; run `keep` in a task.

    Attributes:
        only: the arenas that are served; none: all.
    """

    def __init__(
        self,
        hub: Hub,
        home: Path,
        indexes: Sequence[type[LogIndex]],
        only: Sequence[str] = (),
        beside: Callable[[ServedArena], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Serve arenas.

        Args:
            hub: the server with all arenas.
            home: the folder with snapshots and cached code.
            indexes: what to keep of each log.
            only: the arenas to serve; none: all, also those that are opened later.
            beside: runs beside each arena as long as that is served; then all are opened without being asked for.
        """
        self._beside, self._has_begun = beside, False
        self._hub, self._home, self._indexes, self.only = hub, home, tuple(indexes), tuple(only)
        self._served: dict[str, ServedArena] = {}
        self._names: tuple[float, list[str]] = (-_LOOK_S, [])
        self._opening = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup | None = None

    async def keep(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the arenas current until cancelled; open those that are there now.

        Raises:
            BusError: a log cannot be read.
        """
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for name in await self.names():
                    await self.find(name)
                task_status.started()
                self._has_begun = True
                await self._look_for_new()
        except BaseExceptionGroup as group:
            raise leaf(group) from None

    async def _look_for_new(self) -> None:
        while True:
            await anyio.sleep(_LOOK_S if self._beside else float("inf"))
            try:
                for name in await self.names():
                    await self.find(name)
            except BusUnavailable:
                continue

    async def names(self) -> list[str]:
        """Return the names of the arenas, sorted."""
        if time.monotonic() - self._names[0] >= _LOOK_S:
            found = await self._hub.arenas()
            self._names = time.monotonic(), [name for name in found if not self.only or name in self.only]
        return self._names[1]

    async def are_all(self) -> bool:
        """Return whether this gateway serves all arenas of the hub: SQL reads all of them.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        return not self.only or all(name in self.only for name in await self._hub.arenas())

    async def single(self) -> str:
        """Return the only arena, "" if there is none or more than one."""
        names = await self.names()
        return names[0] if len(names) == 1 else ""

    async def find(self, name: str) -> ServedArena:
        """Return an arena, which is opened if it was not.

        Raises:
            UnknownName: there is no such arena.
            BusUnavailable: the log cannot be reached.
        """
        if name not in self._served:
            async with self._opening:
                if name not in self._served:
                    if name not in await self.names():
                        raise UnknownName(f"this hub has no arena {name[:80]!r}")
                    assert self._tasks is not None, "run `keep` first"
                    self._served[name] = await self._open(name, self._tasks)
        return self._served[name]

    async def _open(self, name: str, tasks: anyio.abc.TaskGroup) -> ServedArena:
        bus = await self._hub.arena(name)
        swarm = bus if settings.takes_boards() else None
        follower = Follower(bus, snapshot=settings.snapshot_file(self._home, name), swarm=swarm)
        code = CodeStore(settings.code_dir(self._home, name), bus)
        served = ServedArena(bus, follower, code, [kind() for kind in self._indexes], is_new=self._has_begun)
        await follower.catch_up()
        await served.indexes.catch_up()
        tasks.start_soon(patiently, served.latest.follow)
        tasks.start_soon(patiently, served.indexes.follow)
        if self._beside:
            tasks.start_soon(self._beside, served)
        return served
