"""A slot whose runs are short claims the next one while a run goes on; nothing is lost, doubled or kept from others."""

import itertools
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
import nats
import pytest

from gpu_worker import attempt, slot_loop
from gpu_worker.prefetch import has_spare_run
from mesh.board import Board
from mesh.events import ArenaOpened, Failed, RunFinished, RunKilled, RunStarted, Scored, WorkerJoined
from mesh.jetstream.streams import stream_of
from tests.support.history import HISTORY, T1, entries, request
from tests.test_leases import Gate, a_gate
from tests.test_worker import GOOD, SPEC, Arena, arena

__all__ = ["arena"]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a slot claim and keep a run however slow this machine is."""
    monkeypatch.setattr(attempt, "SHORT_S", 60)
    monkeypatch.setattr(slot_loop, "HOLD_S", 60)


WAITING = f"""
for _ in range(6000):
    if os.path.exists("go"):
        break
    time.sleep(0.01)
# 1
{GOOD}"""
"""A trial that goes on until a test lets it end."""


async def folder_of(arena: Arena, mark: str) -> Path:
    """Wait until the files of a run are laid out, and return its folder."""
    with anyio.fail_after(150):
        while True:
            for path in arena.home.glob("runs/*/*/trial/train.py"):
                with suppress(OSError):
                    if mark in path.read_text():
                        return path.parent.parent
            await anyio.sleep(0.005)


async def until_staged(arena: Arena) -> Path:
    """Wait until the files of the run `next` are laid out, and return its folder."""
    return await folder_of(arena, "# 2")


async def let_go(arena: Arena) -> None:
    """Let the run `current` end."""
    (await folder_of(arena, "# 1") / "trial" / "go").touch()


@pytest.mark.usefixtures("patient")
async def test_the_next_run_is_laid_out_while_a_run_goes_on_and_no_other_user_may_enter_it(arena: Arena) -> None:
    await arena.open()
    await arena.request(GOOD, "short")
    async with arena.worker():
        await arena.finished("short")
        await arena.request(WAITING, "current", deadline_s=100)
        await arena.request(f"# 2\n{GOOD}", "next")
        staged = await until_staged(arena)
        assert staged.stat().st_mode & 0o777 == 0o700
        assert [start.run for start in await arena.all(RunStarted)] == ["short", "current"]
        await let_go(arena)
        assert isinstance((await arena.finished("next")).outcome, Scored)
        assert isinstance((await arena.finished("current")).outcome, Scored)
    assert sorted(finish.run for finish in await arena.all(RunFinished)) == ["current", "next", "short"]


@pytest.mark.usefixtures("patient")
async def test_a_run_that_is_withdrawn_while_a_slot_has_claimed_it_never_begins(arena: Arena) -> None:
    await arena.open()
    await arena.request(GOOD, "short")
    async with arena.worker():
        await arena.finished("short")
        await arena.request(WAITING, "current", deadline_s=100)
        await arena.request(f"# 2\n{GOOD}", "next")
        await until_staged(arena)
        await arena.post(RunKilled(run="next", by="rule", text="not needed any more"))
        await let_go(arena)
        outcome = (await arena.finished("next")).outcome
    assert isinstance(outcome, Failed)
    assert outcome.reason == "killed"
    assert "next" not in [start.run for start in await arena.all(RunStarted)]


@pytest.mark.usefixtures("patient")
async def test_a_new_version_of_the_arena_throws_away_what_was_laid_out_for_the_old_one(arena: Arena) -> None:
    await arena.open()
    await arena.request(GOOD, "short")
    async with arena.worker():
        await arena.finished("short")
        await arena.request(WAITING, "current", deadline_s=100)
        await arena.request(f"# 2\n{GOOD}", "next")
        await until_staged(arena)
        [opened] = await arena.all(ArenaOpened)
        score = msgspec.structs.replace(SPEC.score, deadline_s=19)
        await arena.post(msgspec.structs.replace(opened, version=2, spec=msgspec.structs.replace(SPEC, score=score)))
        await let_go(arena)
        assert isinstance((await arena.finished("next")).outcome, Scored)
    assert len([finish for finish in await arena.all(RunFinished) if finish.run == "next"]) == 1


async def ready_to_claim(gate: Gate) -> int:
    """Have a worker that has done a short run, does another one that waits at the gate, and may claim a third.

    Returns how many trials have begun.
    """
    gate.open()
    await gate.worker()
    for number in itertools.count(1):  # on a busy machine a run may take longer than what counts as short
        await gate.ask(f"short{number}")
        finish = await gate.finished(f"short{number}")
        if finish.trial_s + finish.score_s < attempt.SHORT_S - 0.01:
            break
    gate.close()
    await gate.ask("current")
    await gate.begun(number + 1)
    await gate.ask("next")
    return number + 1


async def claimed(gate: Gate, count: int) -> None:
    """Wait until so many runs were given out; a worker gives one that it claimed back after a while."""
    nc = await nats.connect(gate.on.server.url)
    try:
        consumer = nc.jetstream()
        with anyio.fail_after(150):
            while True:
                info = await consumer.consumer_info(stream_of(gate.on.bus.arena), "workers_run-requested-explore")
                if info.delivered and info.delivered.consumer_seq >= count:
                    return
                await anyio.sleep(0.01)
    finally:
        await nc.close()


async def test_a_claimed_run_is_not_kept_from_an_idle_worker_while_a_run_takes_long(home: Path) -> None:
    async with a_gate(home) as gate:
        begun = await ready_to_claim(gate)
        await claimed(gate, begun + 1)
        await gate.worker("other")
        await gate.begun(begun + 1)  # at the gate: the first worker has not ended its run
        gate.open()
        for run in ("current", "next"):
            assert isinstance((await gate.finished(run)).outcome, Scored)
        boots = {worker.name: boot for boot, worker in gate.on.follower.board.workers.items()}
        assert gate.on.follower.board.runs["next"].begun == (boots["other"],)


async def test_a_worker_that_is_killed_loses_neither_its_run_nor_the_one_that_it_has_claimed(home: Path) -> None:
    async with a_gate(home) as gate:
        begun = await ready_to_claim(gate)
        await claimed(gate, begun + 1)
        await gate.on.swarm.kill("worker")
        await gate.worker("other")
        gate.open()
        for run in ("current", "next"):
            assert isinstance((await gate.finished(run)).outcome, Scored)
        runs = gate.on.follower.board.runs
        assert (runs["current"].attempts, runs["next"].attempts) == (2, 1)  # what never began cost no attempt
        finishes = [finish.run for finish in gate.facts(RunFinished) if isinstance(finish, RunFinished)]
        assert [finishes.count(run) for run in ("current", "next")] == [1, 1]
        assert len(finishes) == len(set(finishes))


@pytest.mark.parametrize(("slots", "waiting", "spare"), [(1, 0, False), (1, 1, True), (2, 1, False), (2, 2, True)])
def test_a_run_is_spare_where_more_wait_than_slots_are_idle(slots: int, waiting: int, *, spare: bool) -> None:
    joined = WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=slots)
    asked = [("c", request(f"r{number}", T1)) for number in range(waiting + 1)]
    started = ("w", RunStarted(run="r0", attempt=1, worker="w"))
    board = Board(arena="a")
    for entry in entries([HISTORY[0], HISTORY[3], ("w", joined), *asked, started]):
        board.fold(entry)
    assert has_spare_run(board) == spare
