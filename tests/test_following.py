"""A follower that is asked to catch up while it follows."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from mesh.events import NotePosted
from mesh.follow import Follower
from mesh.memory import MemoryHub
from mesh.wire import Entry, Post


def note() -> Post:
    """A note of anybody."""
    return Post.new("ann", NotePosted(channel="c", text=""))


async def test_who_catches_up_while_the_log_is_followed_waits_for_what_follows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus, may_read, heard = await MemoryHub().arena("a", create=True), anyio.Event(), list[int]()
    follower, read = Follower(bus), bus.read

    async def late(*args: Any, follow: bool = False, **options: Any) -> AsyncIterator[list[Entry]]:
        async for batch in read(*args, follow=follow, **options):
            if follow:
                await may_read.wait()
            yield batch

    monkeypatch.setattr(bus, "read", late)
    for _ in range(3):
        await bus.post(note())
    await follower.catch_up()
    await bus.post(note())
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow, lambda e, _: heard.append(e.seq))
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as catching_up:
                catching_up.start_soon(follower.catch_up)
                await anyio.wait_all_tasks_blocked()
                assert follower.board.seq == 3
                may_read.set()
            assert follower.board.seq == 4
            tasks.cancel_scope.cancel()
    assert heard == [4]
