"""A worker hands back runs that it cannot execute, kills stopped ones, and leaves in good order."""

import shutil
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import anyio
import psutil
import pytest

from gpu_worker import slot_loop
from gpu_worker.sandbox.tiers import Sandbox, Tier, sandbox_of
from gpu_worker.supervisor import client
from gpu_worker.worker import run_worker
from mesh import settings
from mesh.errors import HostTrouble
from mesh.events import (
    ArenaClosed,
    Failed,
    NotePosted,
    RunFinished,
    RunKilled,
    RunStarted,
    Scored,
    WorkerLeft,
)
from mesh.memory import MemoryHub
from mesh.testing import git_hash
from mesh.wire import Post
from tests.test_worker import GOOD, Arena


@pytest.fixture
async def arena(tmp_path: Path) -> Arena:
    return Arena(await MemoryHub().arena("a", create=True), tmp_path)


async def test_a_run_that_the_swarm_stops_is_killed_and_the_slot_goes_on(arena: Arena) -> None:
    await arena.open()
    await arena.request("time.sleep(60)")
    async with arena.worker():
        while not await arena.all(RunStarted):
            await anyio.sleep(0.02)
        await arena.post(RunKilled(run="r1", by="operator"))
        done = await arena.finished()
        assert isinstance(done.outcome, Failed)
        assert done.outcome.reason == "killed"
        await arena.request(GOOD, "r2")
        assert isinstance((await arena.finished("r2")).outcome, Scored)


def is_trial(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it may end while it is looked at
        return "train.py" in " ".join(process.cmdline())
    return False


async def test_a_supervisor_that_is_killed_costs_an_attempt_and_no_run(arena: Arena, tmp_path: Path) -> None:
    await arena.open()
    mark = tmp_path / "first"
    train = f"""
    mark = pathlib.Path({str(mark)!r})
    if not mark.exists():
        mark.touch()
        time.sleep(60)
    """
    await arena.request(GOOD + textwrap.dedent(train))
    async with arena.worker(sandbox="none"):
        while not mark.exists():
            await anyio.sleep(0.02)
        children = psutil.Process().children(recursive=True)
        [trial] = [child for child in children if is_trial(child)]
        fork = trial.parent()
        assert fork
        fork.kill()  # the part of the supervisor that serves it
        done = await arena.finished()
        assert isinstance(done.outcome, Scored)
        assert done.attempt == 2
        assert not trial.is_running()
    assert len(await arena.all(RunFinished)) == 1


async def test_what_a_run_measured_is_posted_although_the_supervisor_dies_in_the_next_run(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is on its way to the log when the next run begins."""
    died, post = tmp_path / "died", arena.bus.post

    async def post_late(what: Post, *, over: int = 0) -> int:
        if isinstance(what.event, RunFinished) and what.event.run == "r1":
            while not died.exists():
                await anyio.sleep(0.02)
            await anyio.sleep(0.3)
        return await post(what, over=over)

    monkeypatch.setattr(arena.bus, "post", post_late)
    await arena.open()
    await arena.request(GOOD, "r1")
    kill = f"""
    if not (died := pathlib.Path({str(died)!r})).exists():
        died.touch()
        os.kill(os.getppid(), 9)
        time.sleep(60)
    """
    await arena.request(GOOD + textwrap.dedent(kill), "r2")
    async with arena.worker(sandbox="none"):
        first, second = await arena.finished("r1"), await arena.finished("r2")
    assert isinstance(first.outcome, Scored)
    assert (first.attempt, second.attempt) == (1, 2)
    assert len(await arena.all(RunStarted)) == 3


async def test_a_run_whose_workers_all_die_is_lost(arena: Arena) -> None:
    await arena.open()
    await arena.request("os.kill(os.getppid(), 9); time.sleep(60)")
    async with arena.worker(sandbox="none"):
        done = await arena.finished()
    assert done.outcome == Failed(reason="lost", message="the run was started 3 times and no worker finished it")
    assert [s.attempt for s in await arena.all(RunStarted)] == [1, 2, 3]


async def test_a_slot_whose_supervisor_dies_again_and_again_rests_and_the_worker_lives(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = tmp_path / "deaths"
    dying = f"import os; os.write(os.open({str(deaths)!r}, os.O_WRONLY | os.O_APPEND), b'.'); os.kill(os.getpid(), 9)"
    deaths.touch()
    monkeypatch.setattr(client, "PYTHON", (sys.executable, "-c", dying))
    await arena.open()
    async with arena.worker(sandbox="none"):
        while not await arena.all(NotePosted):
            await anyio.sleep(0.05)
        await anyio.sleep(2.5)
        assert deaths.stat().st_size <= 6
        while deaths.stat().st_size < 2:
            await anyio.sleep(0.05)
        [note] = await arena.all(NotePosted)
        assert note.text.endswith("handed its run back: the supervisor died")
        assert not await arena.all(WorkerLeft)


async def test_a_slot_without_a_sandbox_says_so_waits_and_does_not_end_the_others(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    await arena.open()
    taken = iter([True, False])

    def refuse_first(tier: Tier) -> Sandbox:
        if next(taken, False):
            raise HostTrouble("all 1024 user ids for trials are taken on this machine: stop other workers")
        return sandbox_of(tier)

    monkeypatch.setattr(slot_loop, "sandbox_of", refuse_first)
    for n in range(2):
        await arena.request(GOOD, f"r{n}")
    async with arena.worker(slots=2):
        for n in range(2):
            assert isinstance((await arena.finished(f"r{n}")).outcome, Scored)
    [note] = await arena.all(NotePosted)
    assert "takes no runs: all 1024 user ids for trials are taken" in note.text


async def test_a_finished_run_is_not_run_again(arena: Arena) -> None:
    await arena.open()
    await arena.request(GOOD)
    outcome = Scored(value=3.0)
    await arena.post(RunFinished(run="r1", proposal=git_hash("p"), outcome=outcome, worker="x", worker_class="cpu"))
    await arena.request("pass", "r2")
    async with arena.worker():
        await arena.finished("r2")
    assert [s.run for s in await arena.all(RunStarted)] == ["r2"]
    assert (await arena.finished()).outcome == outcome


async def test_a_run_for_other_workers_is_left_to_them_and_a_commit_that_nobody_has_is_a_crash(arena: Arena) -> None:
    await arena.open()
    await arena.request(GOOD, "r1", worker_class="cuda-h200")
    await arena.request("pass", "r2", commit="0" * 40)
    async with arena.worker():
        done = await arena.finished("r2")
    assert isinstance(done.outcome, Failed)
    assert (done.outcome.reason, "0" * 40 in done.outcome.message) == ("crash", True)
    assert [f.run for f in await arena.all(RunFinished)] == ["r2"]


async def test_trouble_of_this_machine_is_not_blamed_on_the_proposal(arena: Arena) -> None:
    await arena.open()
    await arena.request(GOOD)
    runs = settings.runs_dir(arena.home)
    runs.parent.mkdir(parents=True)
    runs.write_text("in the way")
    async with arena.worker(sandbox="none"):
        while not (notes := await arena.all(NotePosted)):
            await anyio.sleep(0.02)
        assert notes[0].channel == "ops"
        assert "cannot be written to" in notes[0].text
        assert not await arena.all(RunStarted)
        runs.unlink()
        assert isinstance((await arena.finished()).outcome, Scored)


@pytest.mark.parametrize("gone", [".", "runs", "runs/*/*", "runs/*/*/out"])
async def test_a_run_whose_folders_are_deleted_under_it_is_executed_again(arena: Arena, gone: str) -> None:
    await arena.open()
    wait = "(begun := out / 'begun').touch()\nwhile begun.exists() and not (out / 'go').exists(): time.sleep(0.02)\n"
    await arena.request(wait + GOOD, deadline_s=200)
    async with arena.worker() as tasks:
        while not list(arena.home.glob("runs/*/*/out/begun")) or not await arena.all(RunStarted):
            await anyio.sleep(0.02)
        for folder in list(arena.home.glob(gone)) if gone != "." else [arena.home]:
            shutil.rmtree(folder, ignore_errors=True)

        async def let_the_next_one_go_on() -> None:
            while True:
                await anyio.sleep(0.02)
                for begun in arena.home.glob("runs/*/*/out/begun"):
                    with suppress(OSError):
                        begun.with_name("go").touch()

        tasks.start_soon(let_the_next_one_go_on)
        done = await arena.finished()
    assert isinstance(done.outcome, Scored)
    assert (done.attempt, [f.run for f in await arena.all(RunFinished)]) == (2, ["r1"])
    assert any("was deleted while a run used it" in note.text for note in await arena.all(NotePosted))


async def test_a_worker_that_is_stopped_hands_its_run_to_another(arena: Arena, tmp_path: Path) -> None:
    await arena.open()
    mark = tmp_path / "first"
    train = f"mark = pathlib.Path({str(mark)!r})\nif not mark.exists(): mark.touch(); time.sleep(600)\n"
    await arena.request(GOOD + train, deadline_s=600)
    async with arena.worker(sandbox="none"):
        while not mark.exists():
            await anyio.sleep(0.02)
        began = anyio.current_time()
    assert anyio.current_time() - began < 200  # the trial would sleep for ten minutes
    assert len(await arena.all(WorkerLeft)) == 1
    async with arena.worker(sandbox="none"):
        done = await arena.finished()
        assert isinstance(done.outcome, Scored)
        assert done.attempt == 2


async def test_when_the_arena_closes_the_current_trial_is_finished_and_the_worker_returns(arena: Arena) -> None:
    await arena.open()
    await arena.request(GOOD + "time.sleep(1)")
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:

            async def close() -> None:
                while not await arena.all(RunStarted):
                    await anyio.sleep(0.02)
                await arena.post(ArenaClosed(version=1, reason="operator"))

            tasks.start_soon(close)
            why = await run_worker(arena.bus, name="w", slots=2, device="cpu", home=arena.home)
    assert why == "arena a is closed"
    assert isinstance((await arena.finished()).outcome, Scored)


async def test_runs_go_side_by_side_in_their_slots(arena: Arena) -> None:
    await arena.open()
    for n in range(6):
        await arena.request(GOOD, f"r{n}")
    async with arena.worker(slots=2):
        outcomes = [(await arena.finished(f"r{n}")).outcome for n in range(6)]
    assert all(isinstance(o, Scored) for o in outcomes)
    assert len(await arena.all(RunStarted)) == 6


async def test_a_worker_that_leaves_in_good_order_costs_a_run_no_attempt(arena: Arena, tmp_path: Path) -> None:
    await arena.open()
    mark = tmp_path / "marks"
    mark.mkdir()
    train = f"mark = pathlib.Path({str(mark)!r})\n(mark / str(time.time_ns())).touch()\n"
    await arena.request(GOOD + train + "if len(list(mark.iterdir())) < 5: time.sleep(60)\n")
    # when workers are stopped four times in the middle of it
    for times in range(1, 5):
        async with arena.worker(sandbox="none"):
            while len(list(mark.iterdir())) < times:
                await anyio.sleep(0.02)
    # then the fifth finishes it
    async with arena.worker(sandbox="none"):
        done = await arena.finished()
    assert isinstance(done.outcome, Scored)
    assert done.attempt == 5
