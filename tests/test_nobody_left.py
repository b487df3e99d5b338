"""Nobody is left when worker, supervisor and its fork are killed at the same instant, whatever a trial does to hide.

Every process of the trial keeps a pipe open, so the kernel says when the last one is gone, and no search can miss it.
"""

import os
import random
import selectors
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
import psutil
import pytest

from gpu_worker.cleanup import clear_leftovers
from gpu_worker.sandbox.contain import Policy
from gpu_worker.sandbox.tiers import FIRST_UID, UIDS, take_uid
from gpu_worker.supervisor import client
from gpu_worker.supervisor.client import SupervisorDied, start_supervisor
from gpu_worker.supervisor.mark import TOKEN, limit_words, user_of
from gpu_worker.supervisor.protocol import Launch, Limits, Request

WORKER = """
import os, subprocess, sys, time
command = [sys.executable, "-m", "gpu_worker.supervisor", *sys.argv[2:]]
made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
made.stdin.write(sys.argv[1].encode() + b"\\n")
made.stdin.flush()
time.sleep(300)
"""
HIDING = """
import ctypes, os, resource, signal, sys, time
pipe = os.open(sys.argv[1], os.O_WRONLY)
os.set_inheritable(pipe, True)
libc = ctypes.CDLL(None)
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)

def wipe():
    with open("/proc/self/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    ctypes.memset(start, 0, end - start)

def executed():
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"], {})

def undumpable():
    libc.prctl(4, 0, 0, 0, 0)
    libc.prctl(1, 0, 0, 0, 0)
    time.sleep(300)

def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)

def respawning():
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)
        time.sleep(0.005)

def unlimited():
    try:
        resource.setrlimit(10, (0, 0))
    except OSError:
        pass
    time.sleep(300)

wipe()
for kind in (executed, undumpable, stopped, respawning, unlimited):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(pipe, b".")
            kind()
        os._exit(0)
    os.wait()
time.sleep(300)
"""
KINDS = 5
PLAIN = ("--without-namespaces", "--without-groups")


class Life:
    """A worker with a supervisor that runs `HIDING`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.token = uuid.uuid4().hex
        path = folder / self.token
        os.mkfifo(path)
        self.pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        command = (sys.executable, "-I", "-S", "-c", HIDING, str(path))
        launch = Launch(command, {"MESH_RUN_TOKEN": self.token}, "/", Policy(seccomp=True))
        request = msgspec.json.encode(Request(launch, Limits(300))).decode()
        env = {**os.environ, "MESH_RUN_TOKEN": self.token}
        self.worker = subprocess.Popen([sys.executable, "-c", WORKER, request, *options], env=env)

    def until_hidden(self) -> None:
        """Wait until all kinds of `HIDING` are there, and find the processes that are ours."""
        born, give_up = b"", time.monotonic() + 100
        while len(born) < KINDS:
            assert time.monotonic() < give_up
            born += self._read()
        [keeper] = psutil.Process(self.worker.pid).children()
        [supervisor] = keeper.children()
        while len(forks := supervisor.children()) != 2:  # the one that serves, and the one that waits
            assert time.monotonic() < give_up, forks
            time.sleep(0.05)
        self.keeper, self.others = keeper.pid, [self.worker.pid, supervisor.pid, *(fork.pid for fork in forks)]

    def kill(self, pids: list[int]) -> None:
        """Kill processes at the same instant, in random order: none sees another one die."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in random.sample(pids, len(pids)):
            with suppress(ProcessLookupError):  # the kernel was faster
                os.kill(pid, signal.SIGKILL)
        self.worker.wait()

    def has_ended(self, within_s: float) -> bool:
        """Tell whether the last process of the trial ends within so many seconds."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            try:
                if os.read(self.pipe, 1000) == b"":
                    os.close(self.pipe)
                    return True
            except BlockingIOError:
                time.sleep(0.01)
        return False

    def ours(self) -> list[int]:
        """Return the worker and what there is of its supervisor: the keeper first, if it is there."""
        found = [self.worker.pid]
        with suppress(psutil.Error):
            below = psutil.Process(self.worker.pid).children(recursive=True)
            for process in below:
                with suppress(psutil.Error):
                    if "gpu_worker.supervisor" in process.cmdline():
                        found.append(process.pid)
        return found

    def marked(self) -> list[int]:
        """Return the living processes that carry its token, as a mark or in their environment."""
        number = str(int(self.token[:15], 16))
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if number in limit_words(process.pid) or process.environ().get(TOKEN) == self.token:
                    found.append(process.pid)
        return found

    def _read(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self.pipe, selectors.EVENT_READ)
            return os.read(self.pipe, 1000) if selector.select(0.1) else b""


def test_in_a_namespace_nobody_outlives_worker_keeper_supervisor_and_forks(tmp_path: Path) -> None:
    for number in range(4):
        life = Life(tmp_path)
        life.until_hidden()
        isolated = os.readlink(f"/proc/{life.others[1]}/ns/pid") != os.readlink("/proc/self/ns/pid")
        if not isolated:
            life.kill([*life.others, life.keeper])
            pytest.skip("REPORTED: no PID namespaces here; the tests without them hold")
        victims = ([life.keeper], life.others[1:2], life.others, [*life.others, life.keeper])[number]
        life.kill([life.worker.pid, *(pid for pid in victims if pid != life.worker.pid)])
        assert life.has_ended(100)


def test_without_namespaces_and_groups_the_keeper_kills_what_the_dead_left(tmp_path: Path) -> None:
    for _ in range(2):
        life = Life(tmp_path, *PLAIN)
        life.until_hidden()
        life.kill(life.others)
        assert life.has_ended(100)


@pytest.mark.parametrize("options", [(), PLAIN], ids=["isolated", "plain"])
def test_nobody_is_left_at_whatever_moment_who_is_killed(tmp_path: Path, options: tuple[str, ...]) -> None:
    for _ in range(5):
        life = Life(tmp_path, *options)
        time.sleep(random.uniform(0, 0.6))
        worker, *below = life.ours()
        below = below[1:] if options else below  # where nothing isolates, the keeper is who kills
        life.kill([worker, *random.sample(below, random.randint(0, len(below)))])
        give_up = time.monotonic() + 100  # less than a process of the trial lives by itself
        while left := life.marked():
            assert time.monotonic() < give_up, left
            time.sleep(0.05)
        os.close(life.pipe)


def test_where_the_keeper_dies_too_the_next_worker_kills_all(tmp_path: Path) -> None:
    life = Life(tmp_path, *PLAIN)
    life.until_hidden()
    life.kill([*life.others, life.keeper])
    folder = tmp_path / "runs" / "boot"
    folder.mkdir(parents=True)
    (folder / "owner").write_bytes(msgspec.json.encode([life.worker.pid, 1.0]))
    (folder / f"{life.token}.token").touch()
    assert not life.has_ended(0.3)
    clear_leftovers(tmp_path / "runs")
    assert life.has_ended(100)


@pytest.mark.skipif(os.geteuid() != 0, reason="REPORTED: only root has user ids for trials")
def test_a_user_id_without_a_worker_has_no_process_when_a_worker_starts(tmp_path: Path) -> None:
    for uid, is_free in ((FIRST_UID + UIDS - 1, True), (take_uid(), False)):
        command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "sleep", "60"]
        with subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, start_new_session=True) as left:
            while user_of(left.pid) != uid:
                time.sleep(0.01)
            clear_leftovers(tmp_path)
            assert (left.poll() is not None) == is_free
            left.kill()


@pytest.mark.parametrize("options", [(), PLAIN], ids=["isolated", "plain"])
async def test_a_supervisor_that_is_stopped_is_given_up_and_nobody_is_left(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(client, "IMPORT_WITHIN_S", 100)
    monkeypatch.setattr(client, "END_WITHIN_S", 0.3)
    with anyio.fail_after(300):
        async with start_supervisor(options=options) as supervisor:
            await supervisor.run(Request(Launch(("true",), dict(os.environ), "/"), Limits(100)))
            below = psutil.Process(supervisor.process.pid).children(recursive=True)
            for process in below:
                with suppress(psutil.NoSuchProcess):  # the part that served the last request is about to go
                    process.suspend()
            with pytest.raises(SupervisorDied, match="has not answered for 1 s"):
                await supervisor.run(Request(Launch(("true",), dict(os.environ), "/"), Limits(0.5)))
    assert not [process for process in below if lives(process)]


def lives(process: psutil.Process) -> bool:
    """Tell whether a process is there and not a zombie."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
