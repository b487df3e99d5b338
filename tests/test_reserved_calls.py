"""Agents say what their model calls of one moment may cost, so that a budget can keep it."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from agents.critic import Critic
from agents.critique.model import AT_ONCE
from agents.llm import client
from agents.llm.budget import Budget
from agents.llm.client import Model
from agents.researcher import Researcher
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.code import CodeStore
from mesh.events import AgentJoined, AgentLeft, AnyEvent, BudgetGranted, Cost, ModelAsked, NotePosted
from mesh.memory import MemoryBus
from mesh.testing import Arena
from mesh.wire import Post
from tests.support.priced_fleet import Fleet, granted
from tests.support.scripted_agent import coder, measured_arena, work, write_agent
from tests.test_runtime import OPENED, Listener, bus, code, people_say, said

__all__ = ["bus", "code"]

PRICED = "openai/gpt-4o"


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    return measured_arena(tmp_path / "given")


def dearest(prompt_tokens: int, answer_tokens: int) -> float:
    price = client.price_of(Model(PRICED))
    assert price is not None
    return price.token_in * prompt_tokens + price.token_out * answer_tokens


def test_a_role_that_asks_a_model_reserves_all_calls_of_one_decision(arena: Arena) -> None:
    options = {"model": PRICED, "prompt_tokens": "20000", "answer_tokens": "3000"}
    researcher, critic = Researcher(arena.context("ann", options)), Critic(arena.context("cid", options))
    assert researcher.reserves_usd == pytest.approx(2 * dearest(20_000, 3_000))  # its answer, and another try
    assert critic.reserves_usd == pytest.approx(2 * AT_ONCE * dearest(20_000, 3_000))
    assert Critic(arena.context("cid", {})).reserves_usd is None
    unpriced = Budget("ann", {"model": "openai/of-nobody", "api_base": "http://127.0.0.1:1"}, answer_tokens=10)
    assert unpriced.reserve_usd(1000, 2) is None


class Asking(Listener):
    """An agent that asks a model, for ever where it is told to `wait`."""

    reserves_usd = 0.5

    def __init__(self) -> None:
        super().__init__(self.ask)
        self.waits = anyio.Event()

    async def ask(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        assert isinstance(post.event, NotePosted)
        if post.event.text == "wait":
            self.waits.set()
            await anyio.sleep_forever()
        return [ModelAsked(model="m", purpose="x", ok=True, cost=Cost(usd=0.1))]


@pytest.mark.parametrize(("text", "owes_usd"), [("wait", 0.5), ("answer", 0.0)])
async def test_who_leaves_in_the_middle_of_a_call_owes_what_it_may_cost(
    bus: MemoryBus, code: CodeStore, text: str, owes_usd: float
) -> None:
    await bus.post(Post.new("operator", OPENED))
    agent = Asking()
    seat = Seat("ann", agent)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_agents, bus, [seat], code)
            [joined] = await said(bus, AgentJoined, 1)
            await people_say(bus, text)
            await (agent.waits.wait() if text == "wait" else until_idle(bus, seat))
            tasks.cancel_scope.cancel()
        [left] = await said(bus, AgentLeft, 1)
    assert isinstance(joined.event, AgentJoined)
    assert joined.event.reserves_usd == 0.5
    assert left.event == AgentLeft(boot=seat.boot, reason="stopped", owes_usd=owes_usd)


async def until_idle(bus: MemoryBus, seat: Seat) -> None:
    """Wait until an agent has posted what its call has cost."""
    await said(bus, ModelAsked, 1)
    while seat.is_deciding:
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("seed", range(6))
def test_eight_agents_without_workers_never_spend_more_than_was_granted(seed: int) -> None:
    log = granted(usd=5.0)
    fleet = Fleet(log, seed, most=0, agents=8)
    for number, _ in enumerate(fleet.live(hours=24)):
        assert fleet.owed_usd() <= 5.0
        if number > 600:
            break
    assert 2.5 < fleet.owed_usd() <= 5.0


async def test_a_coder_needs_a_limit_of_one_run_where_the_arena_has_a_budget(arena: Arena, tmp_path: Path) -> None:
    command = write_agent(tmp_path / "bin", "pass")
    arena.opening = arena.add("operator", BudgetGranted(n=1, usd=3.0))
    [note] = await work(arena, coder(arena, tmp_path / "coders", command))
    assert isinstance(note, NotePosted)
    assert note.text == (
        "ann: nobody has said what a run of agent may cost, and arena a has a budget of $3.00: "
        "give --option run_usd=USD; it stops"
    )
    dear = coder(arena, tmp_path / "coders", command, run_usd="4")
    assert dear.reserves_usd == 4.0
    [note] = await work(arena, dear)
    assert isinstance(note, NotePosted)
    assert note.text == "arena a has spent $0.00 of $3.00, and one more call may cost $4.0000"
    cheap = coder(arena, tmp_path / "coders", command, run_usd="2.5", budget_usd="9")
    assert cheap.reserves_usd == 2.5
    [asked] = await work(arena, cheap)
    assert isinstance(asked, ModelAsked)
    assert asked.cost.usd == 2.5  # the agent prints no dollars: it counts at what somebody said that a run may cost
