"""The process tree below this process: who lives in it, how much memory it uses, and how to kill all of it.

This process must be a subreaper: orphans among its descendants become its children, so a walk finds all of them,
whatever sessions and groups they made. The standard library alone.
"""

import contextlib
import os
import resource
import signal
import time
from typing import NamedTuple

POLL_S = 0.05
GIVE_UP_S = 20.0
"""Seconds after which this process gives up and ends where its tree does not die (a hanging disk, another user)."""

_PAGE_MB = os.sysconf("SC_PAGESIZE") / 1024**2
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

Ended = dict[int, tuple[int, resource.struct_rusage]]


class Process(NamedTuple):
    """What the kernel shows of a process: memory in MB, its CPU seconds and those of the children it has waited for.

    `thread` is the number of a living thread. Where the first thread has ended and others live on, the kernel shows the
    process as dead and without memory; its memory and files stand under the numbers of its other threads.
    """

    parent: int
    state: str
    memory_mb: float
    own_s: float
    waited_s: float
    born: int
    threads: int
    thread: int


def look_at(pid: int) -> Process | None:
    """Return what the kernel shows of a process, None if there is none."""
    try:
        f, thread = _fields(f"/proc/{pid}/stat"), pid
        if f[0] == "Z" and int(f[17]) > 1:
            for name in os.listdir(f"/proc/{pid}/task"):
                other = _fields(f"/proc/{pid}/task/{name}/stat")
                if other[0] not in ("Z", "X"):
                    f[0], f[21], thread = other[0], other[21], int(name)
                    break
        own_s, waited_s = (int(f[11]) + int(f[12])) * _TICK_S, (int(f[13]) + int(f[14])) * _TICK_S
        return Process(int(f[1]), f[0], int(f[21]) * _PAGE_MB, own_s, waited_s, int(f[19]), int(f[17]), thread)
    except (OSError, IndexError, ValueError):
        return None


def _fields(path: str) -> list[str]:
    """Return the fields of a file `stat` behind the name."""
    with open(path) as stat:
        return stat.read().rpartition(")")[2].split()


def processes() -> dict[int, Process]:
    """Return every process of the machine."""
    seen = ((int(name), look_at(int(name))) for name in os.listdir("/proc") if name.isdigit())
    return {pid: process for pid, process in seen if process}


def tree() -> dict[int, Process]:
    """Return every process below this one, with the dead that nobody has waited for."""
    everyone = processes()
    children: dict[int, list[int]] = {}
    for pid, process in everyone.items():
        children.setdefault(process.parent, []).append(pid)
    below: dict[int, Process] = {}
    todo = [os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), ()):
            below[pid] = everyone[pid]
            todo.append(pid)
    return below


def descendants() -> dict[int, Process]:
    """Return every living process below this one."""
    return {pid: process for pid, process in tree().items() if process.state != "Z"}


def kill_tree(ended: Ended | None = None) -> Ended:
    """Stop and kill all descendants until this process has no child; return how its children ended.

    A walk can miss a process that is born during it. But a subreaper has a child as long as it has any descendant, so
    this ends only when the kernel reports no child.
    """
    ended = {} if ended is None else ended
    began = time.monotonic()
    while reap(ended):
        for pid in _children():
            _signal(pid, signal.SIGSTOP)
        alive = descendants()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                _signal(pid, number)
        for _ in range(50):  # a process that respawns fast is our orphan for an instant, too short for a walk
            for pid in _children():
                _signal(pid, signal.SIGKILL)
            if not reap(ended):
                break
        waited = time.monotonic() - began
        if waited > GIVE_UP_S:
            os._exit(1)
        if waited > 0.5:
            time.sleep(POLL_S)
    return ended


def reap(ended: Ended) -> bool:
    """Collect the dead children; return whether there are living ones."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if not pid:
            return True
        ended[pid] = status, usage


def _children() -> list[int]:
    """Return the direct children, quickly; none where the system does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return [int(pid) for pid in children.read().split()]
    except OSError:
        return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)
