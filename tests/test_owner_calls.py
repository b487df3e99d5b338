"""Calls that depend on a path: a trial sets modes and times of its own files alone, and CUDA names no thread."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_worker.sandbox import landlock, owner_calls
from gpu_worker.sandbox.tiers import Tier, sandbox_of
from gpu_worker.sandbox_choice import candidates
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
import os, threading, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
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


NAMES = """
import ctypes, os, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def opens(path):
    number = libc.open(path.encode(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    return number if number >= 0 else -ctypes.get_errno()
here = threading.Event()
thread = threading.Thread(target=here.wait)
thread.start()
for path in (f"/proc/self/task/{thread.native_id}/comm", f"/proc/{os.getpid()}/task/{thread.native_id}/comm"):
    number = opens(path)
    assert number >= 0, (path, number)
    os.write(number, b"named")
    assert os.readlink(f"/proc/self/fd/{number}") == "/dev/null"
assert open(f"/proc/self/task/{thread.native_id}/comm").read() != "named\\n"
here.set()
number = opens("mine")
os.write(number, b"text")
assert open("mine").read() == "text"
opens("mine")
assert open("mine").read() == ""
refused = [opens(path) for path in (f"/proc/{os.getppid()}/oom_score_adj", "/proc/self/../1/comm", "/usr/comm", "/dev")]
assert all(number < 0 for number in refused), refused
assert opens("") == -2
assert libc.open(ctypes.c_void_p(8), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666) < 0
assert ctypes.get_errno() == 14
began = time.perf_counter()
def many():
    for turn in range(200): os.close(opens(f"file-{turn}"))
threads = [threading.Thread(target=many) for _ in range(3)]
for each in threads: each.start()
for each in threads: each.join()
if len(sys.argv) > 1 and sys.argv[-1] != "child":
    subprocess.run([sys.executable, sys.argv[0], "child"], check=True)
    print("done")
"""


@pytest.mark.parametrize(
    ("release", "can"),
    [("5.9.0", True), ("6.18.44-fc-v310-gpu", True), ("10.0", True), ("5.8.18", False), ("4.4.0", False), ("?", False)],
)
def test_a_kernel_that_cannot_pass_calls_on_is_not_asked_to(
    release: str, can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*known[:2], release, *known[3:])))
    assert owner_calls.can_pass_on() is can


@pytest.mark.parametrize("tier", ["A", "C"])
async def test_a_trial_with_a_gpu_and_its_children_open_the_names_of_threads_and_write_nothing(
    tier: Tier, tmp_path: Path
) -> None:
    if tier not in candidates():
        pytest.skip(f"REPORTED: this machine has no tier {tier}")
    ended = await run_sandboxed(sandbox_of(tier), tmp_path / "run", NAMES, cuda=True)
    assert (ended.rc, ended.out, ended.err) == (0, "done\n", "")


def test_who_ends_while_its_path_is_read_holds_the_supervisor_up_no_longer() -> None:
    with subprocess.Popen(["sleep", "100"]) as asking:
        place = int(Path(f"/proc/{asking.pid}/maps").read_text(encoding="ascii").partition("-")[0], 16)
        memory = os.open(f"/proc/{asking.pid}/mem", os.O_RDONLY)
        asking.kill()
    check = f"from gpu_worker.sandbox import owner_calls; owner_calls._text({memory}, {place})"
    done = subprocess.run(
        [sys.executable, "-c", check], pass_fds=[memory], capture_output=True, text=True, timeout=99, check=False
    )
    os.close(memory)
    assert "it ended meanwhile" in done.stderr
