"""What `mesh status` says of queue, slots, rate and followers."""

import datetime as dt
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mesh import wire
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.errors import BusRefused
from mesh.events import AgentJoined, BudgetGranted, Cost, ModelAsked, RunStarted, WorkerJoined
from mesh.memory import MemoryBus
from mesh.roll_call import answer_roll_call
from mesh.sql_protocol import SERVICE, Answer, encode
from mesh.testing import BEGAN
from mesh.wire import Entry, Post
from mesh_cli.live.status import figures, runs_per_minute, status_lines
from tests.conftest import OpenBus
from tests.support.history import HISTORY, T1, finish, opened, request

IDLE = {"confirm": 0, "control": 0, "sealed": 0, "audit": 0, "explore": 0}


async def tell(bus: ArenaBus) -> None:
    for author, event in HISTORY:
        await bus.post(Post.new(author, event))


async def test_the_queue_and_the_slots_are_counted(open_bus: OpenBus, home: Path) -> None:
    async with open_bus() as bus:
        await bus.post(Post.new("op", opened()))
        assert (await figures(bus))["queue"] == IDLE
        for boot, slots in (("b1", 2), ("b2", 3), ("b3", 8)):
            joined = WorkerJoined(boot=boot, worker_class="cpu", device="cpu", slots=slots)
            await bus.post(Post.new("dead" if boot == "b3" else "w", joined))
        for run, worker in (("r1", "b1"), ("r2", "b3"), ("r3", "")):
            await bus.post(Post.new("cur", request(run, T1)))
            if worker:
                await bus.post(Post.new("w", RunStarted(run=run, attempt=1, worker=worker)))
        none = await figures(bus)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_roll_call, bus, "b1", "w1")
            tasks.start_soon(answer_roll_call, bus, "b2", "w2")
            with anyio.fail_after(60):
                while (row := await figures(bus))["slots"] < 5:
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert (none["queue"], none["runs_running"], none["runs_waiting"]) == (IDLE | {"explore": 3}, 0, 3)
    assert (none["slots"], none["workers"], none["silent_workers"]) == (0, 0, 2)
    assert (row["queue"], row["runs_running"], row["runs_waiting"]) == (IDLE | {"explore": 2}, 1, 2)
    assert (row["slots"], row["slots_busy"], row["slots_free"]) == (5, 1, 4)
    assert "workers         1, and 1 that does not answer" in status_lines(row, None)
    assert 0 <= row["last_event_age_s"] <= row["oldest_waiting_s"] < 60
    assert "queue           explore 2, the oldest for" in "\n".join(status_lines(row, None))


async def test_an_agent_whose_model_fails_is_named_with_the_reason_and_the_end_of_its_pause(
    open_bus: OpenBus, home: Path
) -> None:
    async with open_bus() as bus:
        await tell(bus)
        assert (await figures(bus))["silent"] == []
        await bus.post(Post.new("ann", AgentJoined(boot="b9", role="researcher", model="openai/m")))
        failed = ModelAsked(model="openai/m", purpose="improve", ok=False, cost=Cost(), text="no connection")
        await bus.post(Post.new("ann", failed))
        row = await figures(bus)
    [sentence] = row["silent"]
    assert sentence.startswith("ann pauses after 1 failed call in a row: no connection; it asks again at ")
    assert f"silent          {sentence}" in status_lines(row, 80)


async def test_a_budget_is_shown_where_there_is_one(open_bus: OpenBus, home: Path) -> None:
    async with open_bus() as bus:
        await tell(bus)
        without = await figures(bus)
        await bus.post(Post.new("op", BudgetGranted(n=1, usd=20.0)))
        asking = AgentJoined(boot="b9", role="researcher", model="openai/m", reserves_usd=1.2)
        await bus.post(Post.new("rex", asking))
        await bus.post(Post.new("rex", ModelAsked(model="openai/m", purpose="x", ok=True, cost=Cost(usd=4.12))))
        row = await figures(bus)
        await bus.post(Post.new("op", BudgetGranted(n=2, usd=5.0)))
        more = await figures(bus)
    assert without["budget"] is None
    assert not any(line.startswith("budget") for line in status_lines(without, None))
    before = row["budget"]["granted_usd"] - 20.0  # a first grant begins with what was spent before
    spent = before + 4.12
    assert row["budget"] == pytest.approx(
        {
            "granted_usd": before + 20,
            "spent_usd": spent,
            "reserved_usd": 1.2,
            "rest_usd": 20 - 4.12 - 1.2,
            "uncounted_usd": 0.0,
        }
    )
    words = f"budget          ${before + 20:,.2f} granted, ${spent:,.2f} spent, $1.20 reserved, $14.68 left"
    assert words in status_lines(row, None)
    assert more["budget"]["granted_usd"] == before + 25


class MemberBus(MemoryBus):
    """A log as a member of a hub reads it, who may not call the roll."""

    async def ask(self, service: str, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        raise BusRefused("this member may not ask that")


async def test_a_member_of_a_hub_reads_the_budget_without_a_roll_call(home: Path) -> None:
    bus = MemberBus("a")
    await tell(bus)
    joined = WorkerJoined(boot="b7", worker_class="cpu", device="cpu", slots=1, price_per_hour_usd=0.0)
    for author, event in (("op", BudgetGranted(n=1, usd=20.0)), ("own", joined)):
        await bus.post(Post.new(author, event))
    found = (await figures(bus))["budget"]
    assert found is not None
    assert found["granted_usd"] - found["spent_usd"] == pytest.approx(20.0)


async def test_the_lag_of_the_projector_is_asked_for(open_bus: OpenBus, home: Path) -> None:
    async with open_bus() as bus, open_bus() as projector:
        await tell(bus)
        alone = await figures(bus)
        assert (alone["projector_as_of"], alone["projector_lag"]) == (None, None)
        assert "projector       no projector is running" in status_lines(alone, None)

        async def answer(question: bytes) -> bytes:
            return encode(Answer([], [], [], {"a": 20}, truncated=False, elapsed_s=0.0))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.answer, SERVICE, answer)
            with anyio.fail_after(60):
                while (row := await figures(bus))["projector_as_of"] is None:
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert (row["projector_as_of"], row["projector_lag"]) == (20, 4)
    assert "projector       4 entries behind" in status_lines(row, None)


class PastBus(MemoryBus):
    """A log whose entries bear the times that a test gives."""

    def add(self, after_s: float, post: Post) -> Entry:
        time = BEGAN + dt.timedelta(seconds=after_s)
        entry = wire.entry(len(self._entries) + 1, time, wire.subject_of("a", post), wire.encode(post))
        self._entries.append(entry)
        return entry


async def test_the_rate_is_of_the_last_five_minutes_of_the_log() -> None:
    bus, board = PastBus("a"), Board(arena="a")
    board.fold(bus.add(0, Post.new("op", opened())))
    for second in range(60):
        board.fold(bus.add(second, Post.new("cur", request(f"r{second}", T1))))
        board.fold(bus.add(second, Post.new("w", finish(f"r{second}", T1, 1.0))))
    assert await runs_per_minute(bus, board) == round(60 * 60 / 59, 2)  # no longer ago than it was opened
    board.fold(bus.add(330, Post.new("cur", request("late", T1))))
    board.fold(bus.add(330, Post.new("w", finish("late", T1, 1.0))))
    assert await runs_per_minute(bus, board) == round((30 + 1) / 5, 2)
