"""The tiny arena, opened on a server that the settings name, for tests of who takes part from outside."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.wire import Post
from tests.support.arenas import TRAIN, write_arena
from tests.support.swarm import swarm_of

_Result = TypeVar("_Result")


async def open_tiny(folder: Path, home: Path, url: str, *, train: str = TRAIN) -> None:
    """Open the tiny arena on a server."""
    async with connect(url) as hub:
        await open_arena(hub, write_arena(folder, train=train), home=home)


async def posted(url: str, author: str, *facts: object) -> None:
    """Post facts to the tiny arena."""
    async with connect(url) as hub:
        bus = await hub.arena("tiny")
        for fact in facts:
            await bus.post(Post.new(author, fact))  # type: ignore[arg-type]


@asynccontextmanager
async def measuring(home: Path, url: str, *more: str) -> AsyncIterator[None]:
    """Run a curator and a worker, and more processes by name, while the block runs."""
    async with swarm_of(home, url) as swarm:
        await swarm.start("curator", "worker", *more)
        yield


async def in_thread(script: Callable[[], _Result], within_s: float = 500) -> _Result:
    """Run a plain script beside the event loop of a test."""
    with anyio.fail_after(within_s):
        return await anyio.to_thread.run_sync(script)
