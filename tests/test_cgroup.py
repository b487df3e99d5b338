"""Where this user may make control groups, the kernel limits the memory of a trial's process tree."""

import os
import subprocess
import sys
from collections.abc import Iterator

import anyio
import pytest

from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request
from tests.support.daemons import detached

GREEDY = detached("blocks = []\nwhile True: blocks.append(b'x' * 20_000_000)") + "import time\ntime.sleep(30)\n"


@pytest.fixture
def child() -> Iterator[tuple[int, int]]:
    """A process that waits, and what to write to for its end."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        word = os.read(read, 1)
        blocks = []
        while word == b"m":
            blocks.append(b"x" * 4_000_000)
        os._exit(0)
    yield pid, write
    os.close(read)
    os.close(write)


@pytest.fixture
def group(child: tuple[int, int]) -> Iterator[cgroup.Group]:
    """A group with the child in it; a machine without such is reported, and the meter is tested there."""
    made = cgroup.group(child[0], owner=os.getpid())
    if made is None:
        os.write(child[1], b"x")
        pytest.skip("REPORTED: no control group with a memory bound can be made here; the meter alone limits memory")
    yield made
    made.remove()


def groups() -> set[str]:
    return {name for _, folders, _ in os.walk(cgroup.ROOT) for name in folders if name.startswith("mesh-")}


async def test_a_grandchild_in_a_session_of_its_own_counts_against_the_limit_of_the_tree() -> None:
    with anyio.fail_after(100):
        async with start_supervisor() as supervisor:
            env = {"PATH": os.environ["PATH"], "MESH_RUN_TOKEN": supervisor.token}
            launch = Launch((sys.executable, "-I", "-S", "-c", GREEDY), env, "/")
            ended = await supervisor.run(Request(launch, Limits(3, memory_mb=200)))
            mine = {name for name in groups() if name.startswith(f"mesh-{supervisor.process.pid}-")}
            assert len(mine) <= 2  # of those that wait for their turn
    assert ended.why in ("memory", "deadline")
    assert ended.peak_memory_mb < (260 if ended.bounded else 2000)
    assert mine.isdisjoint(groups())


def test_a_kill_by_the_kernel_is_seen(child: tuple[int, int], group: cgroup.Group) -> None:
    group.bound(32)
    os.write(child[1], b"m")
    assert os.WTERMSIG(os.waitpid(child[0], 0)[1]) == 9
    assert group.has_killed()


def test_cpu_time_is_counted_of_all_and_of_a_process_beside_apart(group: cgroup.Group) -> None:
    code = "import time\nwhile time.process_time() < 0.2: pass"
    read, write = os.pipe()
    for add in (group.add, group.add_beside):
        pid = os.fork()
        if pid == 0:
            os.read(read, 1)
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
        add(pid)
        os.write(write, b"x")
        assert os.waitpid(pid, 0)[1] == 0
    beside = group.beside_cpu_s()
    own = (group.cpu_s() or 0) - beside
    assert min(own, beside) > 0.19  # what a process used before it was added is not counted
    os.close(read)
    os.close(write)


def test_without_control_groups_there_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "ROOT", "/nowhere")
    assert cgroup.group(os.getpid(), owner=1) is None


@pytest.mark.usefixtures("group")
def test_empty_groups_are_swept_and_those_in_use_are_not(child: tuple[int, int]) -> None:
    own = {name for name in groups() if name.startswith(f"mesh-{os.getpid()}-")}
    cgroup.sweep()
    assert own <= groups()
    os.write(child[1], b"x")
    os.waitpid(child[0], 0)
    cgroup.sweep(owner=1)
    assert own <= groups()
    cgroup.sweep(owner=os.getpid())
    assert own.isdisjoint(groups())


@pytest.mark.usefixtures("group")
def test_what_lives_in_a_group_whose_owner_is_dead_is_killed(child: tuple[int, int]) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert cgroup.group(child[0], owner=dead.pid)
    cgroup.sweep()
    assert os.WTERMSIG(os.waitpid(child[0], 0)[1]) == 9
    assert not [name for name in groups() if name.startswith(f"mesh-{dead.pid}-")]
