"""A trial that runs as the worker's user sets modes and times of its own files, and of nobody else's."""

import os
import sys
from pathlib import Path

import pytest

from gpu_worker.sandbox import landlock
from gpu_worker.sandbox.tiers import sandbox_of
from tests.test_sandbox import run_sandboxed

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or landlock.abi() < 1, reason="REPORTED: tier C needs a Linux with Landlock"
    ),
]

OWN = """
import os, shutil, signal, stat, subprocess, threading, time
open("a", "w").write("#!/bin/sh\\necho ran")
os.mkdir("folder")
os.symlink("a", "link")
def mode(path): return stat.S_IMODE(os.lstat(path).st_mode)
def times(path): return os.lstat(path).st_atime_ns, os.lstat(path).st_mtime_ns

os.chmod("a", 0o700)
assert mode("a") == 0o700 and subprocess.run(["./a"], capture_output=True).stdout == b"ran\\n"
os.chmod(os.path.abspath("a"), 0o600)
os.chmod("link", 0o640)
assert mode("a") == 0o640
folder = os.open("folder", os.O_RDONLY)
os.fchmod(folder, 0o711)
assert mode("folder") == 0o711
open("folder/b", "w").close()
os.chmod("b", 0o604, dir_fd=folder)
assert mode("folder/b") == 0o604
os.chmod(f"/proc/self/fd/{folder}", 0o755)
assert mode("folder") == 0o755
os.utime("a", ns=(10**18 + 1, 10**18 + 2))
assert times("a") == (10**18 + 1, 10**18 + 2)
os.utime("a")
assert abs(times("a")[1] - time.time_ns()) < 10**10
os.utime("link", (5, 6), follow_symlinks=False)
assert times("link")[1] == 6 * 10**9 != times("a")[1]
os.utime(folder, (7, 8))
assert times("folder")[1] == 8 * 10**9
subprocess.run(["touch", "-d", "@9", "a"], check=True)
assert times("a")[1] == 9 * 10**9
subprocess.run(["touch", "-m", "-d", "@11", "a"], check=True)
assert times("a") == (9 * 10**9, 11 * 10**9)
shutil.copy2("a", "copy")
shutil.copytree("folder", "tree")
assert (mode("copy"), times("copy")[1], mode("tree/b")) == (0o640, 11 * 10**9, 0o604)
for missing in (lambda: os.chmod("none", 0), lambda: os.utime("none/x"), lambda: os.chmod("", 0)):
    try: missing()
    except FileNotFoundError: pass
    else: raise AssertionError
try: os.chmod("a", 0, dir_fd=99)
except OSError as error: assert error.errno == 9
"""
BUSY = """
import os, threading
open("a", "w").close()
def many():
    for number in range(300): os.chmod("a", 0o600 + number % 8)
threads = [threading.Thread(target=many) for _ in range(3)]
for thread in threads: thread.start()
children = []
for _ in range(2):
    if (pid := os.fork()) == 0:
        many()
        os._exit(0)
    children.append(pid)
many()
for thread in threads: thread.join()
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
print("done")
"""
OTHERS = """
import os, sys
other, folder = os.environ["OTHER"], os.environ["FOLDER"]
os.symlink(other, "link")
os.mkdir("own")
reading = os.open(sys.argv[0], os.O_RDONLY)
place = os.open(folder, os.O_PATH)
here = os.open(".", os.O_RDONLY)
deeds = [
    lambda: os.chmod(other, 0o777),
    lambda: os.chmod("link", 0o777),
    lambda: os.chmod(folder, 0),
    lambda: os.chmod(os.path.relpath(other), 0o777),
    lambda: os.chmod("../other/file", 0o777, dir_fd=here),
    lambda: os.chmod("file", 0o777, dir_fd=place),
    lambda: os.chmod(f"/proc/self/cwd/../other/file", 0o777),
    lambda: os.fchmod(reading, 0o777),
    lambda: os.utime(other, (1, 1)),
    lambda: os.utime(reading, (1, 1)),
    lambda: os.utime("link", (1, 1)),
    lambda: os.chmod("/", 0o777),
    lambda: os.chown(other, -1, -1),
    lambda: os.chown("own", -1, os.getgid()),
]
refused = 0
for deed in deeds:
    try:
        deed()
    except PermissionError:
        refused += 1
print(refused, len(deeds))
"""


async def test_modes_and_times_of_its_own_files_are_set_as_everywhere(tmp_path: Path) -> None:
    for preload in ((), ("decimal",)):
        ended = await run_sandboxed(sandbox_of("C"), tmp_path / "-".join(("run", *preload)), OWN, preload=preload)
        assert (ended.rc, ended.why, ended.err) == (0, "", "")


async def test_many_calls_at_a_time_are_answered(tmp_path: Path) -> None:
    ended = await run_sandboxed(sandbox_of("C"), tmp_path / "run", BUSY)
    assert (ended.rc, ended.out, ended.err) == (0, "done\n", "")


async def test_modes_and_times_of_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "other"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    script = tmp_path / "run" / "script.py"
    os.utime(folder / "file", (3, 4))
    before = [(path.stat().st_mode, path.stat().st_mtime_ns) for path in (folder, folder / "file", Path("/"))]
    env = {"OTHER": str(folder / "file"), "FOLDER": str(folder)}
    ended = await run_sandboxed(sandbox_of("C"), tmp_path / "run", OTHERS, env=env)
    assert (ended.rc, ended.out, ended.err) == (0, "14 14\n", "")
    assert [(path.stat().st_mode, path.stat().st_mtime_ns) for path in (folder, folder / "file", Path("/"))] == before
    assert script.stat().st_mode & 0o111 == 0
