"""The process tree below this process: who lives in it, how much memory it uses, and how to kill all of it.

This process must be a subreaper: orphans among its descendants become its children, so a walk finds all of them,
whatever sessions and groups they made. The standard library alone.
"""

import contextlib
import os
import resource
import signal
import time

POLL_S = 0.05
GIVE_UP_S = 20.0
"""Seconds after which this process gives up and ends where its tree does not die (a hanging disk, another user)."""

_PAGE_MB = os.sysconf("SC_PAGESIZE") / 1024**2

Ended = dict[int, tuple[int, resource.struct_rusage]]


def processes() -> dict[int, tuple[int, str, float]]:
    """Return parent, state and resident memory (MB) of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    fields = stat.read().rpartition(")")[2].split()
                found[int(name)] = (int(fields[1]), fields[0], int(fields[21]) * _PAGE_MB)
            except (OSError, IndexError, ValueError):
                continue
    return found


def descendants() -> dict[int, tuple[int, str, float]]:
    """Return every living process below this one."""
    everyone = processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in everyone.items():
        children.setdefault(parent, []).append(pid)
    below: dict[int, tuple[int, str, float]] = {}
    todo = [os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), ()):
            below[pid] = everyone[pid]
            todo.append(pid)
    return {pid: facts for pid, facts in below.items() if facts[1] != "Z"}


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
