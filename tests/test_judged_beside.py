"""A short run is judged beside the next one, which begins as soon as no process lives; none is lost or doubled."""

import stat
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.lowlevel
import msgspec
import pytest

from gpu_worker import attempt, folders, running, slot_loop
from gpu_worker.attempt import Course
from gpu_worker.clearing import Clearing
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.slot_loop import SlotLoop
from mesh.errors import HostTrouble
from mesh.events import Failed, RunFinished, RunStarted, Scored
from mesh.spec import ScoreSpec
from tests.test_worker import SPEC, Arena, arena

__all__ = ["arena"]

PRINTED = msgspec.structs.replace(SPEC, score=ScoreSpec(how="stdout", pattern=r"^loss: (\S+)$"))
PRINT = "print('loss: 1.5')\n"
WAIT = "for _ in range(6000):\n    if os.path.exists('go'):\n        break\n    time.sleep(0.01)\n"


class Followed(Course):
    """A course that a test can find."""

    every: list["Followed"]

    def __init__(self) -> None:
        super().__init__()
        self.every.append(self)


async def two_runs(arena: Arena, current: str) -> None:
    """Run `current` after a short run, and let it end when the run `next` is laid out beside it."""
    await arena.finished("short")
    await arena.request(f"{WAIT}{current}", "current", deadline_s=100)
    with anyio.fail_after(150):
        while "current" not in {started.run for started in await arena.all(RunStarted)}:
            await anyio.sleep(0.005)
        earlier = [course for course in Followed.every if course.follows]
        await arena.request(f"# 2\n{PRINT}", "next")
        while not any(course.follows for course in Followed.every if course not in earlier):
            await anyio.sleep(0.005)
        while not (waiting := _waiting(arena)):
            await anyio.sleep(0.005)  # that a run begins is posted while it is laid out
    (waiting[0] / "go").touch()


def _waiting(arena: Arena) -> list[Path]:
    """The folders of trials that wait until they may end."""
    found: list[Path] = []
    for program in arena.home.glob("runs/*/*/trial/train.py"):
        with suppress(OSError):  # one that is deleted meanwhile
            if "'go'" in program.read_text():
                found.append(program.parent)
    return found


async def let_go(arena: Arena) -> None:
    """Let every trial end, also one that begins later."""
    while True:
        with suppress(OSError):
            for folder in _waiting(arena):
                (folder / "go").touch()
        await anyio.sleep(0.05)


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something done, once, in the thread that judges the run `current`."""
    Followed.every = []
    monkeypatch.setattr(slot_loop, "Course", Followed)
    monkeypatch.setattr(slot_loop, "HOLD_S", 60)
    monkeypatch.setattr(attempt, "SHORT_S", 60)
    changed = folders.changed_protected

    def judge(first: Callable[[], object]) -> None:
        todo = [first]

        def look(folder: Path, files: dict[str, bytes]) -> list[str]:
            if (folder / "go").exists() and todo:
                todo.pop()()
            return changed(folder, files)

        monkeypatch.setattr(running, "changed_protected", look)

    return judge


async def test_the_next_run_begins_before_the_one_before_is_judged(
    arena: Arena, judging: Callable[[Callable[[], object]], None]
) -> None:
    await arena.open(PRINTED)
    await arena.request(PRINT, "short")

    async def begun() -> None:
        with anyio.fail_after(150):
            while "next" not in [start.run for start in await arena.all(RunStarted)]:
                await anyio.sleep(0.01)

    judging(lambda: anyio.from_thread.run(begun))
    async with arena.worker():
        await two_runs(arena, f"os.remove('score.py')\nopen('score.py', 'w').close()\n{PRINT}")
        current, following = await arena.finished("current"), await arena.finished("next")
    assert isinstance(current.outcome, Failed)
    assert "the trial changed score.py, which is protected" in current.outcome.message
    assert isinstance(following.outcome, Scored)
    ends = Counter(finish.run for finish in await arena.all(RunFinished))
    assert ends == Counter(start.run for start in await arena.all(RunStarted)) == {"short": 1, "current": 1, "next": 1}
    assert not [*arena.home.glob("runs/*/*/trial")]


async def test_trouble_while_a_run_is_judged_beside_the_next_one_costs_neither_of_them(
    arena: Arena, judging: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await arena.open(PRINTED)
    await arena.request(PRINT, "short")
    monkeypatch.setattr(SlotLoop, "_until_healthy", lambda self, slot: anyio.lowlevel.checkpoint())

    def fail() -> None:
        raise HostTrouble("the disk is full")

    judging(fail)
    async with arena.worker() as tasks:
        await two_runs(arena, PRINT)
        tasks.start_soon(let_go, arena)  # the second attempt
        ends = [await arena.finished(run) for run in ("current", "next")]
    assert [isinstance(end.outcome, Scored) for end in ends] == [True, True]
    assert ends[0].attempt == 2
    assert Counter(finish.run for finish in await arena.all(RunFinished)) == {"short": 1, "current": 1, "next": 1}


async def test_what_a_run_leaves_to_the_next_one_is_closed_before_that_and_deleted_once_it_is_judged(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    (run / "out").mkdir(parents=True)
    run.chmod(0o711)
    modes, left = list[int](), {run}
    async with anyio.create_task_group() as tasks:
        clearing = Clearing(tasks, left, Sandbox("C"))
        await clearing.begin_to_leave()
        judged = clearing.leave(run)
        await clearing.in_thread(lambda: modes.append(stat.S_IMODE(run.stat().st_mode)))
        assert modes == [0o700]
        await anyio.wait_all_tasks_blocked()
        assert run.exists()
        judged.set()
    assert not run.exists()
    assert left == set()


async def test_a_claimed_run_that_is_thrown_away_does_not_wait_for_the_one_that_left_its_folder_to_it(
    tmp_path: Path,
) -> None:
    first, thrown = tmp_path / "first", tmp_path / "thrown"
    for run in (first, thrown):
        run.mkdir()
    left = {first, thrown}
    with anyio.fail_after(150):
        async with anyio.create_task_group() as tasks:
            clearing = Clearing(tasks, left, Sandbox("C"))
            await clearing.begin_to_leave()
            clearing.leave(first).set()
            await clearing.clear(thrown)
    assert left == set()
