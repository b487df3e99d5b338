"""A kill by the kernel is out of memory, and soon; the rules of version 2 are kept, in a folder in its place."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Ending, Launch, Limits, Request
from tests.support.daemons import detached

BOMB = "blocks = []\nwhile True: blocks.append(b'x' * 20_000_000)\n"
IN_A_CHILD = detached(BOMB) + "import time\n"


async def end_of(code: str, *, memory_mb: float = 200) -> Ending:
    with anyio.fail_after(150):
        async with start_supervisor() as supervisor:
            env = {"PATH": os.environ["PATH"], "MESH_RUN_TOKEN": supervisor.token}
            launch = Launch((sys.executable, "-I", "-S", "-c", code), env, "/")
            return await supervisor.run(Request(launch, Limits(60, memory_mb=memory_mb)))


@pytest.mark.parametrize(
    "code",
    [BOMB, f"{IN_A_CHILD}time.sleep(100)", f"{IN_A_CHILD}os.wait()"],
    ids=["the trial itself", "a grandchild that left its session", "a child without which the trial goes on"],
)
async def test_a_process_that_the_kernel_kills_is_out_of_memory_and_its_tree_dies_with_it(code: str) -> None:
    ended = await end_of(code)
    assert (ended.rc, ended.why, ended.seconds < 40) == (None, "memory", True)
    if ended.bounded:
        assert (
            150 < ended.peak_memory_mb <= 225
        )  # resident pages of libraries are counted by who looks, not by the group
    else:  # no control group can be made here: the watch alone has ended it, later and maybe at more
        assert ended.peak_memory_mb > 200


async def test_a_supervisor_that_is_killed_leaves_no_group() -> None:
    with anyio.fail_after(150):
        async with start_supervisor() as supervisor:
            assert (
                await supervisor.run(Request(Launch(("true",), dict(os.environ), "/"), Limits(60, memory_mb=200)))
            ).rc == 0
            supervisor.process.kill()
            await supervisor.process.wait()
    left = [name for _, folders, _ in os.walk(cgroup.ROOT) for name in folders]
    assert not [name for name in left if name.startswith(f"mesh-{supervisor.process.pid}-")]


async def test_a_limit_of_0_is_none() -> None:
    ended = await end_of("b = bytearray(300_000_000)", memory_mb=0)
    assert (ended.rc, ended.why) == (0, "")


def test_in_version_2_swap_and_tasks_are_bounded_too_where_the_kernel_counts_them(tmp_path: Path) -> None:
    for name in ("memory.max", "memory.swap.max", "pids.max"):
        (tmp_path / name).write_text("max")
    made = cgroup.Group(str(tmp_path), ("memory.max",), "memory.events")
    made.bound(64)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "pids.max": "2048",
    }


def test_in_version_2_the_kernel_s_kills_and_the_peak_are_read(tmp_path: Path) -> None:
    made = cgroup.Group(str(tmp_path), ("memory.max",), "memory.events")
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 0\n")
    assert (made.has_killed(), made.peak_mb()) == (False, 0)
    (tmp_path / "memory.events").write_text("low 0\noom 2\noom_kill 2\n")
    (tmp_path / "memory.peak").write_text("62914560\n")
    assert (made.has_killed(), made.peak_mb()) == (True, 60)


class Tree:
    """A folder that stands in for version 2, in which this process is where a test says."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._patch = root, monkeypatch

    def group(self, name: str, *pids: int, control: str = "") -> Path:
        folder = self._root / name
        folder.mkdir()
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        (folder / "cgroup.controllers").write_text("cpu memory pids")
        (folder / "cgroup.subtree_control").write_text(control)
        return folder

    def be_in(self, group: Path) -> None:
        self._patch.setattr(cgroup, "_own", lambda controller, _: "" if controller else str(group))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_a_worker_that_is_alone_in_its_group_moves_to_a_leaf_of_it(tree: Tree) -> None:
    own = tree.group("scope", os.getpid())
    tree.be_in(own)
    cgroup.prepare()
    assert (own / "mesh-worker" / "cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "+pids"  # a folder keeps only what was written last …
    assert (own / "cgroup.procs").read_text() == str(os.getpid())  # … so memory is not on, and the worker went back


def test_a_group_with_other_processes_is_not_changed(tree: Tree) -> None:
    own = tree.group("scope", os.getpid(), os.getppid())
    tree.be_in(own)
    before = {path: path.read_text() for path in own.iterdir()}
    cgroup.prepare()
    assert {path: path.read_text() for path in own.iterdir()} == before


def test_a_worker_that_was_put_in_its_leaf_turns_the_bounds_on_above_it(tree: Tree) -> None:
    service = tree.group("service")
    tree.be_in(tree.group("service/mesh-worker", os.getpid()))
    cgroup.prepare()
    assert (service / "cgroup.subtree_control").read_text() == "+pids"
    assert cgroup._parents() == ("", str(service))


def test_a_group_without_the_controller_is_not_changed(tree: Tree) -> None:
    own = tree.group("scope", os.getpid())
    (own / "cgroup.controllers").write_text("cpu")
    tree.be_in(own)
    cgroup.prepare()
    assert {path.name for path in own.iterdir()} == {"cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"}
