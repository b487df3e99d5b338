"""The outer process of a supervisor: it gives the supervisor a PID namespace, and kills what outlives it.

In a PID namespace the supervisor is the first process: when it dies, the kernel kills all others in it, whatever they
did to hide. Where this kernel or user has no namespaces, the keeper is a subreaper: orphans of a dead supervisor become
its children, and it kills them. When the keeper dies, the kernel kills the supervisor. The standard library alone.
"""

import contextlib
import os
import select
import signal
import sys
import time

from gpu_worker.sandbox import kernel
from gpu_worker.supervisor.process_tree import kill_tree
from mesh.parent_death import die_with_parent

LEAVE_WITHIN_S = 2.0
"""Seconds that a supervisor has to end after the worker is gone."""

LOOK_EVERY_S = 1.0


def fork_kept(*, isolate: bool) -> bool:
    """Fork, and return in the child alone; this process keeps it until it ends, then kills all below and ends too.

    Args:
        isolate: give the child a PID namespace where this machine allows it.

    Returns:
        Whether the child is in a PID namespace of its own.
    """
    reap_orphans()
    pid = _fork_isolated() if isolate and sys.platform == "linux" else None
    isolated = pid is not None
    if pid is None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with_parent(parent=parent)
    if pid:
        try:
            _keep(pid)
        finally:
            os._exit(1)
    return isolated


def reap_orphans() -> None:
    """Make orphans among the descendants of this process its children (Linux)."""
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_SUBREAPER, 1)


def _keep(pid: int) -> None:
    """Wait until the supervisor ends, or the worker is gone and the supervisor does not end; kill what is left."""
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)  # the worker sees the end of the answers when the supervisor is dead
    poll, give_up = select.poll(), float("inf")
    poll.register(0, 0)  # only its end
    with contextlib.suppress(OSError, AttributeError):
        poll.register(os.pidfd_open(pid), select.POLLIN)
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if any(number == 0 for number, _ in poll.poll(LOOK_EVERY_S * 1000)):
            poll.unregister(0)
            give_up = time.monotonic() + LEAVE_WITHIN_S
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
    kill_tree()
    code = os.waitstatus_to_exitcode(ended[1])
    os._exit(code if code >= 0 else 1)


def _fork_isolated() -> int | None:
    """As `os.fork`, into a PID namespace with a /proc of its own; None where that is not possible here.

    A process between the two enters the namespaces, which count for its children, and ends: this process is spared, and
    becomes the parent.
    """
    (heard, say), (going, go), keeper = os.pipe(), os.pipe(), os.getpid()
    if (between := os.fork()) == 0:
        for number in (heard, go):
            os.close(number)
        try:
            _unshare()
            inner = os.fork()
        except OSError:
            os._exit(1)
        if inner == 0:
            _arrive(say, going, keeper)
            return 0
        os.write(say, b"%d" % inner)
        os._exit(0)
    for number in (say, going):
        os.close(number)
    os.waitpid(between, 0)
    with open(heard, "rb") as file:
        text = file.read()
    digits = text.replace(b"+", b"")  # two processes write, in any order
    if digits and digits != text:
        os.write(go, b".")  # `go` stays open as long as this process lives
        return int(digits)
    os.close(go)
    if digits:
        os.waitpid(int(digits), 0)
    return None


def _unshare() -> None:
    """Enter new namespaces: for root as it is, for an ordinary user in a user namespace in which it keeps its id."""
    flags = kernel.NEWNS | kernel.NEWPID
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        kernel.unshare(flags)
        return
    kernel.unshare(flags | kernel.NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _arrive(say: int, going: int, keeper: int) -> None:
    """Make /proc show the new namespace, say that it does, and die with the keeper from then on.

    Process ids go on from the keeper's: a trial has none that a worker has outside.
    """
    try:
        kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_SLAVE)
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        if os.readlink("/proc/self") != "1":
            os._exit(1)
        with contextlib.suppress(OSError), open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(keeper))
    except OSError:
        os._exit(1)
    os.write(say, b"+")
    os.close(say)
    if not os.read(going, 1):
        os._exit(1)
    die_with_parent()  # now that the keeper is the parent
    poll = select.poll()
    poll.register(going, 0)
    if poll.poll(0):
        os._exit(1)
    os.close(going)
