"""No trial finds anything that an earlier one left, in any tier, and each has what it needs to write."""

import os
import sys
import textwrap
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.attacks.cases import CaseNotPossible, possible
from tests.support.trial_pairs import Printed, try_pairs

HEAD = """
import ctypes, json, os, stat, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def tell(deed):
    try:
        print(deed())
    except OSError as error:
        print(type(error).__name__)
def call(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result
"""
LEAVE_SHARED_MEMORY = """
made = os.open("/dev/shm/left", os.O_CREAT | os.O_RDWR, 0o666)
os.posix_fallocate(made, 0, 16 << 20)
os.makedirs("/dev/shm/left-folder/" + "d/" * 300)
os.chmod("/dev/shm/left-folder/d", 0)
os.chmod("/dev/shm/left-folder", 0o111)
os.symlink("/etc", "/dev/shm/left-link")
print("done")
"""
FIND_SHARED_MEMORY = """
print(sorted(name for name in os.listdir("/dev/shm") if "left" in name))
"""
LEAVE_OBJECTS = """
memory, queue = libc.shmget(4242, 1 << 20, 0o1666), libc.msgget(4242, 0o1666)
semaphore, posix = libc.semget(4242, 1, 0o1666), libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None)
print("done")
"""
FIND_OBJECTS = """
tell(lambda: call(libc.shmget(4242, 1 << 20, 0)))
tell(lambda: call(libc.msgget(4242, 0)))
tell(lambda: call(libc.semget(4242, 1, 0)))
tell(lambda: call(libc.mq_open(b"/left", os.O_RDWR)))
tell(lambda: call(libc.shmat(0, None, 0)))
"""
LEAVE_FILES = """
for folder in ("/tmp", "/var/tmp", os.environ["TMPDIR"], os.environ["HOME"], "."):
    try:
        open(f"{folder}/left", "w").close()
    except OSError:
        pass
print("done")
"""
FIND_FILES = """
folders = ("/tmp", "/var/tmp", os.environ["TMPDIR"], os.environ["HOME"], ".")
print([folder for folder in folders if os.path.exists(f"{folder}/left")])
"""
TOUCH_DATA = """
data = os.environ["MESH_DATA"]
for path in (f"{data}/x", f"{data}/inner", f"{data}/inner/y", data):
    for deed in (
        lambda: os.utime(path, (1, 2)),
        lambda: os.chmod(path, 0o750 if os.path.isdir(path) else 0o640),
        lambda: os.setxattr(path, "user.left", b"x"),
        lambda: open(path).read(),
    ):
        try:
            deed()
        except OSError:
            pass
try:
    os.chmod(f"{data}/inner", 0)
except OSError:
    pass
print("done")
"""
LOOK_AT_DATA = """
data = os.environ["MESH_DATA"]
for path in (f"{data}/x", f"{data}/inner", f"{data}/inner/y", data):
    found = os.stat(path)
    print(stat.S_IMODE(found.st_mode), found.st_mtime_ns, found.st_atime_ns, os.listxattr(path))
"""
WRITE_SLASH_TMP = """
import tempfile
for folder in ("/tmp", "/var/tmp", tempfile.gettempdir()):
    tell(lambda: open(f"{folder}/left by a trial", "a").write("x"))
"""
USE_NUMBERS = """
import multiprocessing as mp, multiprocessing.shared_memory, threading
os.environ.update(OMP_PROC_BIND="true", OMP_NUM_THREADS="2")
import numpy as np
x = np.random.default_rng(1).normal(size=(200, 200))
assert np.isfinite(np.linalg.inv(x @ x.T)).all()
os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1)
if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    queue = mp.get_context("spawn").Queue(); queue.put(1); assert queue.get() == 1
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1 << 20)
    memory.buf[0] = 1; memory.close(); memory.unlink()
    child = mp.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start(); child.terminate(); child.join()
    assert child.exitcode == -15
    print("works")
"""
USE_TORCH = """
import torch
layer = torch.nn.Linear(64, 64)
layer(torch.randn(32, 64)).sum().backward()
torch.set_num_threads(2)
data = torch.utils.data.DataLoader(torch.arange(8), batch_size=2, num_workers=1)
assert [len(batch) for batch in data] == [2] * 4
print("works")
"""
PAIRS = {
    "shared memory": (LEAVE_SHARED_MEMORY, FIND_SHARED_MEMORY),
    "objects": (LEAVE_OBJECTS, FIND_OBJECTS),
    "files": (LEAVE_FILES, FIND_FILES),
    "data": (LOOK_AT_DATA + TOUCH_DATA, LOOK_AT_DATA),
    "temporary": (WRITE_SLASH_TMP, "print(os.environ['TMPDIR'])"),
}


def printed_in(case: str, folder: Path, pairs: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    if case not in possible():
        pytest.skip("REPORTED: only root can try this tier")
    scripts = [(HEAD + textwrap.dedent(first), HEAD + textwrap.dedent(then)) for first, then in pairs.values()]
    try:
        printed: Printed = try_pairs(case, folder / case, scripts)
    except CaseNotPossible as error:
        pytest.skip(f"REPORTED: this machine cannot offer the tier: {error}")
    return dict(zip(pairs, printed, strict=True))


@pytest.mark.parametrize("case", "AaBC")
def test_a_trial_finds_nothing_of_an_earlier_one_and_has_what_it_needs(case: str, tmp_path: Path) -> None:
    before = set(os.listdir("/dev/shm"))
    printed = printed_in(case, tmp_path, PAIRS)
    assert printed["shared memory"] == ["done\n", "[]\n"]
    assert {name for name in set(os.listdir("/dev/shm")) - before if "left" in name} == set()
    assert printed["objects"] == ["done\n", "FileNotFoundError\n" * 4 + "OSError\n"] or (
        case in "BC" and printed["objects"] == ["done\n", "OSError\n" * 5]
    )
    assert printed["files"] == ["done\n", "[]\n"]
    assert printed["data"] == [f"{printed['data'][1]}done\n", printed["data"][1]]
    assert "left" not in printed["data"][1]
    if case in "Aa":
        assert printed["temporary"][0] == "1\n1\n1\n"
    else:  # without mounts of its own, a trial has its `TMPDIR` alone
        assert printed["temporary"][0] == "PermissionError\nPermissionError\n1\n"


@pytest.mark.skipif(
    not all(spec and (spec.origin or "").startswith(sys.prefix) for spec in map(find_spec, ("numpy", "torch"))),
    reason="REPORTED: numpy and torch are not in this interpreter's own folder, where alone trials see them",
)
def test_numeric_libraries_work_where_a_trial_may_schedule_itself_alone(tmp_path: Path) -> None:
    assert printed_in("C", tmp_path, {"libraries": (USE_NUMBERS, USE_TORCH)}) == {"libraries": ["works\n", "works\n"]}
