"""How tests fold a history into the projection, and ask it in SQL."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from analytics.projection import Projection
from analytics.projector import project, replay
from analytics.sql_server import SqlServer
from mesh import wire
from mesh.bus import ArenaBus, Hub
from mesh.errors import BusUnavailable
from mesh.memory import MemoryBus, MemoryHub
from mesh.sql_protocol import SERVICE, Answer, Query, Refusal, decode_reply, encode
from mesh.wire import Post
from tests.support.history import HISTORY, T2, Fact, finish


async def write(bus: MemoryBus, history: Sequence[Fact] | None = None) -> None:
    """Write a history into the log; by default `HISTORY` and then a second finish of a run, which does not count."""
    await bus.post_all([Post.new(author, event) for author, event in (HISTORY if history is None else history)])
    if history is None:
        post = Post.new("liar", finish("r2", T2, -100.0))
        bus.append_raw(wire.subject_of("a", post), wire.encode(post))


async def bus_with(hub: MemoryHub, history: Sequence[Fact] | None = None) -> MemoryBus:
    """Open the log of the arena `a` with a history in it."""
    bus = await hub.arena("a", create=True)
    await write(bus, history)
    return bus


@asynccontextmanager
async def folded(path: Path, history: Sequence[Fact] | None = None) -> AsyncIterator[SqlServer]:
    """Yield queries about a history that is folded into the file at `path`."""
    await replay(await bus_with(MemoryHub(), history), path)
    projection = Projection.open(path)
    try:
        yield SqlServer(projection)
    finally:
        projection.close()


@contextmanager
def folded_once(path: Path, history: Sequence[Fact] | None = None) -> Iterator[Projection]:
    """Yield a history folded into the file at `path`, for all tests of a module that only read it."""

    async def fold() -> None:
        await replay(await bus_with(MemoryHub(), history), path)

    anyio.run(fold)
    projection = Projection.open(path)
    try:
        yield projection
    finally:
        projection.close()


async def rows(queries: SqlServer, sql: str) -> list[list[Any]]:
    return (await queries.answer(Query(sql, timeout_s=60))).rows


@asynccontextmanager
async def projecting(hub: Hub, path: Path) -> AsyncIterator[None]:
    ready = anyio.Event()

    async def answer(projection: Projection, bus: ArenaBus) -> None:
        await SqlServer(projection).serve(bus)

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await project(hub, path, on_ready=ready.set, beside=answer)

        tasks.start_soon(run)
        with anyio.fail_after(200):
            await ready.wait()
        yield
        tasks.cancel_scope.cancel()


async def ask(bus: MemoryBus, sql: str, **limits: Any) -> Answer | Refusal:
    return decode_reply(await bus.ask(SERVICE, encode(Query(sql, **limits)), timeout_s=100))


async def ask_until(bus: MemoryBus, seq: int) -> None:
    """Return once somebody answers and the projection stands at `seq`."""
    with anyio.fail_after(200):
        while True:
            try:
                reply = await ask(bus, "SELECT 1")
            except BusUnavailable:
                await anyio.lowlevel.checkpoint()
                continue
            if isinstance(reply, Answer) and reply.as_of.get("a", 0) >= seq:
                return
