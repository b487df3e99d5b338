"""The mark by which the processes of a supervisor are found, and how all of them are killed.

A process can wipe its environment, leave its session and change its name. It cannot lose a hard resource limit, which
its children inherit. Linux ignores the limit of file locks (`RLIMIT_LOCKS`), so its value is free to be a mark; the
sandbox refuses to change it. /proc shows it to everybody. The standard library alone.
"""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Container

RLIMIT_LOCKS = 10
LOOKS, MAX_LOOKS = 10, 1000
TOKEN = "MESH_RUN_TOKEN"


def carry(token: str) -> None:
    """Mark this process and all its later children with the token of their supervisor, where the system can."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(RLIMIT_LOCKS, (_number(token), _number(token)))


def kill_marked(token: str) -> int:
    """Kill every process that has the token as its mark or in its environment; return how many were killed."""
    number, word = str(_number(token)), f"{TOKEN}={token}".encode()
    return kill_all(lambda pid: number in limit_words(pid) or word in _read(f"/proc/{pid}/environ").split(b"\0"))


def kill_users(uids: Container[int]) -> int:
    """Kill every process of these user ids in this PID namespace, as root; return how many were killed."""
    home = _namespace(os.getpid())
    return kill_all(lambda pid: user_of(pid) in uids and _namespace(pid) == home)


def kill_all(is_meant: Callable[[int], bool]) -> int:
    """Kill every process that is meant until none is left; return how many were killed.

    One look can miss a process that is born meanwhile, so it ends only after `LOOKS` looks that find nothing. To be
    faster than what respawns, a look passes over those that were not meant before; the last one looks at all.
    """
    killed, others = set[int](), set[int]()
    nothing = 0
    for _ in range(MAX_LOOKS):
        if nothing == LOOKS - 1:
            others.clear()
        meant = []
        for pid in reversed(pids()):
            if pid == os.getpid() or pid in others:
                continue
            if is_meant(pid):
                meant.append(pid)
                _signal(pid, signal.SIGSTOP)
            else:
                others.add(pid)
        for pid in meant:
            _signal(pid, signal.SIGKILL)
        killed.update(meant)
        nothing = 0 if meant else nothing + 1
        if nothing == LOOKS:
            break
        time.sleep(0.001)
    return len(killed)


def pids() -> list[int]:
    """Return the numbers of all processes; none where the system has no /proc."""
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return []


def user_of(pid: int) -> int:
    """Return the real user id of a process, -1 where it is dead or a zombie."""
    lines = _read(f"/proc/{pid}/status").splitlines()
    found = {line.split()[0]: line.split()[1] for line in lines if line.startswith((b"Uid:", b"State:"))}
    return int(found[b"Uid:"]) if found.get(b"State:") not in (None, b"Z", b"X") else -1


def limit_words(pid: int) -> list[str]:
    """Return the words of the limit of file locks of a process."""
    lines = _read(f"/proc/{pid}/limits").decode().splitlines()
    return next((line.split() for line in lines if line.startswith("Max file locks")), [])


def _number(token: str) -> int:
    return int(token[:15], 16)


def _namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")
    return ""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)
