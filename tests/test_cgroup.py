"""Where this user may make control groups, the kernel itself bounds the memory of a trial's tree."""

import os
import sys

import anyio
import pytest

from gpu_worker import cgroup
from gpu_worker.supervise import supervisor
from gpu_worker.trial import Launch

GREEDY = """
import os, time
if os.fork() == 0:
    os.setsid()
    blocks = []
    while True:
        blocks.append(b"x" * 20_000_000)
time.sleep(30)
"""


@pytest.fixture
def bounded() -> None:
    """A machine that bounds memory by groups; one that does not is told of, and the watch is what is tested there."""
    made = cgroup.group(64)
    if made is None:
        pytest.skip("REPORTED: no control group with a memory bound can be made here; the watch alone holds memory")
    made.remove()


def groups() -> set[str]:
    return {name for _, folders, _ in os.walk(cgroup.ROOT) for name in folders if name.startswith("mesh-")}


@pytest.mark.usefixtures("bounded")
async def test_a_grandchild_that_left_its_session_cannot_take_more_than_the_tree_may() -> None:
    with anyio.fail_after(40):
        async with supervisor() as keeper:
            env = {"PATH": os.environ["PATH"], "MESH_RUN_TOKEN": keeper.token}
            launch = Launch((sys.executable, "-I", "-S", "-c", GREEDY), env, "/")
            ended = await keeper.run(launch, deadline_s=3, memory_mb=200)
    assert ended.why in ("memory", "deadline")
    assert ended.peak_memory_mb < 260
    assert groups() == set()


@pytest.mark.usefixtures("bounded")
def test_the_kernel_says_whom_it_killed() -> None:
    made = cgroup.group(32)
    assert made is not None
    pid = os.fork()
    if pid == 0:
        made.add(os.getpid())
        blocks = []
        while True:
            blocks.append(b"x" * 4_000_000)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9
    assert made.has_killed()
    made.remove()
    assert groups() == set()


def test_where_none_can_be_made_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "ROOT", "/nowhere")
    assert cgroup.group(64) is None


@pytest.mark.usefixtures("bounded")
def test_groups_that_were_left_are_swept_and_those_in_use_are_not() -> None:
    left, used = cgroup.group(64), cgroup.group(64)
    assert left
    assert used
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(read, 1)
        os._exit(0)
    used.add(pid)
    cgroup.sweep()
    assert len(groups()) == 1
    os.write(write, b"x")
    os.waitpid(pid, 0)
    used.remove()
    assert groups() == set()
