"""`trial.exclusive`: a run has the machine for itself, on fixed cores, and nobody waits for ever."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import msgspec
import pytest

from gpu_worker import exclusive, member
from gpu_worker.exclusive import turn
from mesh.errors import HostTrouble
from mesh.events import NotePosted, RunFinished, RunStarted, Scored, WorkerJoined
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.server import EmbeddedServer
from tests.test_worker import SPEC, Arena

ALONE = msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(SPEC.trial, exclusive=True))
HOLDER = """
import anyio, sys
from pathlib import Path
from gpu_worker import member
from gpu_worker.exclusive import turn

async def main():
    async with turn(alone=True, gives_up=lambda: False, folder=Path(sys.argv[1])):
        print("held", flush=True)
        await anyio.sleep(600)

anyio.run(main)
"""
TIMED = """
began = time.monotonic()
time.sleep(SECONDS)
number = NUMBER
cores = sorted(os.sched_getaffinity(0))
times = dict(loss=1.0, began=began, ended=time.monotonic(), cores=len(cores), core=cores[-1])
(out / "score.json").write_text(json.dumps(times))
"""


@pytest.fixture
def own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that no other swarm on this machine holds."""
    monkeypatch.setattr(exclusive, "LOCK_FOLDER", tmp_path_factory.mktemp("locks"))


async def _hold(folder: Path, log: list[str], name: str, *, alone: bool, until: Callable[[], bool]) -> None:
    """Hold the machine until a condition holds, and a tenth of a second more, in which nobody else should get it."""
    async with turn(alone=alone, gives_up=lambda: False, folder=folder) as is_mine:
        assert is_mine
        log.append(f"{name} in")
        with anyio.fail_after(150):
            while not until():
                await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        log.append(f"{name} out")


def _tickets(folder: Path) -> int:
    """Return how many tickets were drawn."""
    path = folder / f"mesh-turns-{os.geteuid()}"
    return int.from_bytes(path.read_bytes()) if path.exists() else 0


async def test_those_who_share_go_on_together_and_those_alone_one_after_the_other(tmp_path: Path) -> None:
    shared, alone = list[str](), list[str]()
    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(partial(_hold, tmp_path, shared, name, alone=False, until=lambda: len(shared) > 1))
    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(partial(_hold, tmp_path, alone, name, alone=True, until=lambda: True))
    assert [each.split()[1] for each in shared] == ["in", "in", "out", "out"]
    assert [each.split()[1] for each in alone] == ["in", "out", "in", "out"]


async def test_who_waits_to_be_alone_is_not_passed_by_those_who_come_later(tmp_path: Path) -> None:
    log, late = list[str](), anyio.Event()
    hold = partial(_hold, tmp_path, log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(hold, "first", alone=False, until=late.is_set))
        with anyio.fail_after(150):
            while not log:
                await anyio.sleep(0.01)
            tasks.start_soon(partial(hold, "alone", alone=True, until=lambda: True))
            while _tickets(tmp_path) < 2:
                await anyio.sleep(0.01)
        tasks.start_soon(partial(hold, "late", alone=False, until=lambda: True))
        late.set()
    assert log == ["first in", "first out", "alone in", "alone out", "late in", "late out"]


async def test_two_that_always_want_to_be_alone_take_turns(tmp_path: Path) -> None:
    """Each asks again at once, as a worker does whose next run waits."""
    log = list[str]()

    async def again_and_again(name: str) -> None:
        for _ in range(20):
            async with turn(alone=True, gives_up=lambda: False, folder=tmp_path):
                log.append(name)
                while _tickets(tmp_path) < min(len(log) + 1, 40):
                    await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again_and_again, "a")
        tasks.start_soon(again_and_again, "b")
    assert "".join(log) == "ab" * 20


async def test_a_damaged_line_begins_a_new_count_and_still_keeps_runs_apart(tmp_path: Path) -> None:
    (tmp_path / f"mesh-turns-{os.geteuid()}").write_bytes(b"\xff" * 9)
    log = list[str]()
    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(partial(_hold, tmp_path, log, name, alone=True, until=lambda: True))
    assert [each.split()[1] for each in log] == ["in", "out", "in", "out"]


async def test_a_killed_holder_keeps_nobody_out_and_a_draining_worker_gives_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    async with await anyio.open_process(command, env={**os.environ, "PYTHONPATH": os.getcwd()}) as holder:
        assert holder.stdout
        assert (await holder.stdout.receive()).startswith(b"held")
        async with turn(alone=False, gives_up=lambda: True, folder=tmp_path) as is_mine:
            assert not is_mine
        with pytest.raises(TimeoutError), anyio.fail_after(0.2):
            async with turn(alone=False, gives_up=lambda: False, folder=tmp_path):
                pass
        holder.send_signal(signal.SIGKILL)
        with anyio.fail_after(150):
            async with turn(alone=True, gives_up=lambda: False, folder=tmp_path) as is_mine:
                assert is_mine


async def test_without_the_locks_only_runs_that_want_to_be_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / f"mesh-turns-{os.geteuid()}").symlink_to("/etc/hostname")
    async with turn(alone=False, gives_up=lambda: False, folder=tmp_path) as is_mine:
        assert is_mine
    with pytest.raises(HostTrouble, match="cannot be opened"):
        async with turn(alone=True, gives_up=lambda: False, folder=tmp_path):
            pass


@pytest.mark.parametrize("is_exclusive", [True, False])
async def test_runs_of_two_workers_with_several_slots_never_overlap_and_stay_on_their_cores(
    tmp_path: Path, own_locks: None, *, is_exclusive: bool
) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open(ALONE if is_exclusive else SPEC)
    seconds = 0.15 if is_exclusive else 2  # a start takes less than two seconds on any machine
    program = TIMED.replace("SECONDS", str(seconds))
    for number in range(6):
        await arena.request(program.replace("NUMBER", str(number)), f"r{number}")
    async with arena.worker(slots=2), arena.worker(slots=2):
        for number in range(6):
            await arena.finished(f"r{number}")
    ends = [done.outcome for done in await arena.all(RunFinished)]
    times = sorted((end.metrics["began"], end.metrics["ended"]) for end in ends if isinstance(end, Scored))
    assert len(times) == 6
    overlaps = sum(earlier[1] > later[0] for earlier, later in pairwise(times))
    cores = {(end.metrics["cores"], end.metrics["core"]) for end in ends if isinstance(end, Scored)}
    machine = sorted(os.sched_getaffinity(0))
    if is_exclusive:
        assert overlaps == 0
        assert cores == {(max(1, len(machine) // 2), machine[-1])}
        assert [joined.slots for joined in await arena.all(WorkerJoined)] == [1, 1]
    else:
        assert overlaps > 0
        assert cores == {(len(machine), machine[-1])}


async def test_a_run_that_waits_long_to_be_alone_says_what_it_waits_for(
    tmp_path: Path, own_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "LONG_WAIT_S", 0.05)
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open(ALONE)
    program = TIMED.replace("SECONDS", "0").replace("NUMBER", "1")
    async with turn(alone=False, gives_up=lambda: False):
        await arena.request(program, "r")
        async with arena.worker():
            with anyio.fail_after(150):
                while not (notes := await arena.all(NotePosted)):
                    await anyio.sleep(0.05)
            assert not await arena.all(RunFinished)
    [note] = notes
    assert note.channel == "ops"
    assert "waits to be alone (trial.exclusive): runs of other arenas of this user go on on this machine" in note.text


@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_worker_whose_server_was_killed_keeps_the_machine_from_nobody(
    tmp_path: Path, server: EmbeddedServer, own_locks: None, monkeypatch: pytest.MonkeyPatch, *, is_begun: bool
) -> None:
    for name, seconds in {"LONG_WAIT_S": 0.05, "LOOK_AFTER_S": 0.2, "ANSWERS_WITHIN_S": 1}.items():
        monkeypatch.setattr(member, name, seconds)
    program = TIMED.replace("SECONDS", "1").replace("NUMBER", "1")
    async with connect(server.url, outage_s=600) as hub:
        arena = Arena(await hub.arena("a", create=True), tmp_path)
        await arena.open(ALONE)
        async with arena.worker():
            async with turn(alone=True, gives_up=lambda: is_begun):
                await arena.request(program, "r")
                while not await arena.all(RunStarted if is_begun else NotePosted):
                    await anyio.sleep(0.05)
                assert server._process
                server._process.kill()
                server._process.wait()
            async with turn(alone=True, gives_up=lambda: False) as is_mine:
                assert is_mine
                await server.ensure()
            assert isinstance((await arena.finished("r")).outcome, Scored)
