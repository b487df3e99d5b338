"""Fold the logs of all arenas into one projection, once or continuously."""

import gc
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from analytics.projection import Busy, Damaged, Projection
from mesh.bus import ArenaBus, Bus, Hub
from mesh.errors import UnknownName, leaf
from mesh.wire import Entry

__all__ = ["Projection", "project", "replay"]

_LOOK_S = 1.0
"""Seconds between two checks for new arenas."""
_AHEAD = 5000
"""Entries that are read, at most, while others are written: as many as are then written at once."""
_MOST = 4000
"""Entries that are written at once; more do not make a write cheaper per entry."""
_REST, _LONGEST_REST_S = 4, 0.2
"""A write of few new entries is followed by a rest so many times as long, within bounds: the next one takes more.

A write has a cost of its own, as much as that of a hundred entries. Who asks the projector ends the rest when it is as
long as the write: what was posted meanwhile is in the next answer.
"""
_FEW = 200
"""Entries of a write after which it does not rest: a log is read that others wait for."""
_COLLECT_EVERY = 100_000
"""Objects that are made, and not freed, before Python looks for circles: entries have none, and are many."""
_PATIENCE_S = 120.0
"""Seconds that a write waits for memory that a query uses."""

Beside = Callable[[Projection, ArenaBus], Coroutine[Any, Any, None]]


async def project(
    hub: Hub, path: Path, *, on_ready: Callable[[], None] | None = None, beside: Beside | None = None
) -> None:
    """Fold every arena of `hub` into the file at `path` until cancelled.

    Args:
        hub: the arenas, those included that are opened later.
        path: the DuckDB file.
        on_ready: called once, when the logs are folded up to their ends at the start.
        beside: runs for every arena as long as this does.

    Raises:
        BadInput: another projector has the file open.
        HostTrouble: the file cannot be written.
    """
    while True:
        projection = await run_sync(Projection.open, path)
        try:
            with _seldom_collected():
                await _Projector(hub, projection, beside).follow(on_ready)
        except BaseExceptionGroup as group:
            damage = leaf(group)
            if not isinstance(damage, Damaged):
                raise
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(projection.close)
        await run_sync(Projection.discard, path, damage)


async def replay(bus: Bus, path: Path, until: int | None = None) -> int:
    """Fold one log up to `until`, or to its end, into the file at `path`; return the sequence reached."""
    projection = await run_sync(Projection.open, path)
    try:
        identity = await bus.identity()
        end = await bus.head() if until is None else until
        seq = await run_sync(projection.checkpoint, bus.arena, identity, end)
        reached = [seq]
        with _seldom_collected():
            await _fold(projection, bus.arena, identity, bus.read(seq, until=end), reached.append)
        return reached[-1]
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(projection.close)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let Python look for circles of objects more seldom while the block runs: it takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _fold(
    projection: Projection,
    arena: str,
    identity: str,
    entries: AsyncGenerator[list[Entry]],
    reached: Callable[[int], None],
    *,
    rests: bool = False,
) -> None:
    """Fold entries and report how far; reading continues meanwhile, so that a write takes more at once.

    Args:
        projection: the file.
        arena: the arena of the log.
        identity: the log's own id.
        entries: batches of entries.
        reached: called with the last sequence that is written.
        rests: wait a little after a write of few entries.

    Raises:
        MeshError: reading or writing failed; entries read but not yet written are dropped.
    """
    send, receive = anyio.create_memory_object_stream[list[Entry]](math.inf)
    ahead, room = 0, anyio.Event()

    async def read() -> None:
        nonlocal ahead, room
        async with send, aclosing(entries) as batches:
            async for batch in batches:
                while ahead >= _AHEAD:
                    room = anyio.Event()
                    await room.wait()
                ahead += len(batch)
                await send.send(batch)

    try:
        async with anyio.create_task_group() as tasks, receive:
            tasks.start_soon(read)
            async for batch in receive:
                together = list(batch)
                with suppress(anyio.WouldBlock, anyio.EndOfStream):
                    while len(together) < _MOST:
                        together += receive.receive_nowait()
                ahead -= len(together)
                room.set()
                began = anyio.current_time()
                await _append(projection, arena, identity, together)
                reached(together[-1].seq)
                if rests and len(together) < _FEW:
                    await _rest(projection, anyio.current_time() - began)
    except BaseExceptionGroup as group:
        raise leaf(group) from None


async def _rest(projection: Projection, write_s: float) -> None:
    """Rest after a write that took so many seconds; less if somebody asks meanwhile."""
    asked, rest_s = projection.asked, min(_LONGEST_REST_S, _REST * write_s)
    await anyio.sleep(min(write_s, rest_s))
    with anyio.move_on_after(rest_s - write_s):
        await asked.wait()


async def _append(projection: Projection, arena: str, identity: str, batch: Sequence[Entry]) -> None:
    give_up = anyio.current_time() + _PATIENCE_S
    while True:
        try:
            return await run_sync(projection.append, arena, identity, batch)
        except Busy:
            if anyio.current_time() > give_up:
                raise
            await anyio.sleep(0.2)


class _Follower:
    """Folds one log of one arena."""

    def __init__(self, projection: Projection, bus: ArenaBus, identity: str) -> None:
        self.identity = identity
        self.ready = anyio.Event()
        self.scope = anyio.CancelScope()
        self._projection, self._bus = projection, bus

    async def run(self) -> None:
        with self.scope:
            arena, head = self._bus.arena, await self._bus.head()
            seq = await run_sync(self._projection.checkpoint, arena, self.identity, head)

            def reached(seq: int) -> None:
                if seq >= head:
                    self.ready.set()

            reached(seq)
            entries = self._bus.read(seq, follow=True)
            await _fold(self._projection, arena, self.identity, entries, reached, rests=True)


class _Projector:
    def __init__(self, hub: Hub, projection: Projection, beside: Beside | None) -> None:
        self._hub, self._projection, self._beside = hub, projection, beside
        self._followers: dict[str, _Follower] = {}

    async def follow(self, on_ready: Callable[[], None] | None) -> None:
        async with anyio.create_task_group() as tasks:
            await self._look(tasks)
            if on_ready:
                tasks.start_soon(self._announce, list(self._followers.values()), on_ready)
            while True:
                await anyio.sleep(_LOOK_S)
                if self._projection.damage:
                    raise Damaged(self._projection.damage)
                await self._look(tasks)

    async def _announce(self, followers: list[_Follower], on_ready: Callable[[], None]) -> None:
        for follower in followers:
            await follower.ready.wait()
        on_ready()

    async def _look(self, tasks: anyio.abc.TaskGroup) -> None:
        for name in await self._hub.arenas():
            try:
                bus = await self._hub.arena(name)
                identity = await bus.identity()
            except UnknownName:
                continue
            old = self._followers.get(name)
            if old and old.identity == identity:
                continue
            if old:
                old.scope.cancel()
            elif self._beside:
                tasks.start_soon(self._beside, self._projection, bus)
            follower = self._followers[name] = _Follower(self._projection, bus, identity)
            tasks.start_soon(follower.run)
