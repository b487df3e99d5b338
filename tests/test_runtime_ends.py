"""When the loop that runs agents ends: the arena is closed, or its log is out of reach."""

from collections.abc import Sequence

import anyio
import pytest
from msgspec.structs import replace

from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import BusUnavailable, leaf
from mesh.events import AgentJoined, AgentLeft, AnyEvent, ArenaClosed
from mesh.hand_outs import BY_STARTER
from mesh.memory import MemoryBus
from mesh.wire import Post
from tests.test_runtime import OPENED, Listener, bus, code, people_say, said

__all__ = ["bus", "code"]


async def test_agents_leave_when_the_arena_is_closed(bus: MemoryBus, code: CodeStore) -> None:
    await bus.post(Post.new("operator", OPENED))
    seats = [Seat(name, Listener()) for name in ("ann", "bob")]
    why: list[str] = []
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                why.append(await run_agents(bus, seats, code))

            tasks.start_soon(run)
            await said(bus, AgentJoined, 2)
            await bus.post(Post.new("operator", ArenaClosed(version=1, reason="operator")))
    assert why == ["arena a is closed"]
    left = await said(bus, AgentLeft, 2)
    assert [post.event for post in left] == [AgentLeft(boot=seat.boot, reason="arena closed") for seat in seats]


async def test_agents_leave_though_somebody_else_has_said_it_of_them(bus: MemoryBus, code: CodeStore) -> None:
    await bus.post(Post.new("operator", replace(OPENED, rules=BY_STARTER)))
    seats = [Seat(name, Listener()) for name in ("ann", "bob")]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_agents, bus, seats, code)
            await said(bus, AgentJoined, 2)
            await bus.post_all([Post.new("eve", AgentLeft(boot=seat.boot)) for seat in seats])
            await bus.post(Post.new("operator", ArenaClosed(version=1, reason="operator")))
    left = await said(bus, AgentLeft, 4)
    assert [post.author for post in left] == ["eve", "eve", "ann", "bob"]


async def test_nobody_joins_a_closed_arena(bus: MemoryBus, code: CodeStore) -> None:
    await bus.post_all([Post.new("operator", e) for e in (OPENED, ArenaClosed(version=1, reason="budget"))])
    why = await run_agents(bus, [Seat("ann", Listener())], code)
    assert (why, await bus.head()) == ("arena a is closed (budget)", 2)


async def test_a_log_out_of_reach_ends_all(bus: MemoryBus, code: CodeStore) -> None:
    async def lose_the_log(post: Post, board: Board) -> Sequence[AnyEvent]:
        raise BusUnavailable("no server answers")

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_agents, bus, [Seat("ann", Listener(lose_the_log))], code)
            await said(bus, AgentJoined, 1)
            await people_say(bus, "one")

    with anyio.fail_after(60), pytest.raises(ExceptionGroup) as lost:
        await run()
    assert isinstance(leaf(lost.value), BusUnavailable)
