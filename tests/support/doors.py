"""An open arena behind a door: a log in memory, its code, and a board that follows."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from gateway.door import Door
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.events import AnyEvent
from mesh.follow import Follower
from mesh.memory import MemoryBus
from mesh.spec import ArenaSpec
from mesh.testing import BEGAN, FILES, SPEC, opened
from mesh.wire import Post


@asynccontextmanager
async def open_door(
    folder: Path,
    files: Mapping[str, bytes] = FILES,
    spec: ArenaSpec = SPEC,
    bus: ArenaBus | None = None,
    within_s: float = 300,
) -> AsyncIterator[Door]:
    """Open an arena with these files; a `bus` that has a log is used as it is."""
    bus = bus or MemoryBus("a")
    code = CodeStore(folder / "code.git", bus)
    if not await bus.head():
        base = code.commit(files, message="base", author="operator", at=BEGAN)
        await code.push(base.commit)
        await bus.post(Post.new("operator", opened(spec, base.commit, base.tree)))
    follower = Follower(bus)
    await follower.catch_up()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.follow)
        with anyio.fail_after(within_s):
            yield Door(bus, follower, code)
        tasks.cancel_scope.cancel()


async def post(door: Door, author: str, event: AnyEvent) -> int:
    """Post a fact and wait until the board has it; return its sequence."""
    seq = await door.bus.post(Post.new(author, event))
    await door.follower.reached(seq)
    return seq
