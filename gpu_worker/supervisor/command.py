"""Runs one command: starts it, watches its limits, kills it with all that it started. The standard library alone."""

import contextlib
import os
import selectors
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gpu_worker.limits import MAX_OUTPUT_MB
from gpu_worker.sandbox.contain import Policy, can_enter_ahead
from gpu_worker.supervisor.cgroup import group
from gpu_worker.supervisor.cpu_clock import CpuClock, Used
from gpu_worker.supervisor.fork import ForkAhead, NotStarted
from gpu_worker.supervisor.meter import Meter
from gpu_worker.supervisor.process_tree import POLL_S, kill_tree
from gpu_worker.supervisor.protocol import Ending, Launch, Request, Why

KEEP = 32 * 1024
"""Bytes of each stream kept from its beginning and from its end."""


@dataclass(frozen=True)
class Setting:
    """What the commands of a supervisor have in common.

    Args:
        keeper: process id of the keeper as the worker sees it; control groups are named after it.
        isolated: whether the supervisor is the first process of a PID namespace.
        groups: whether control groups may be made.
        ahead: whether commands are expected to want namespaces, without the network of the machine.
    """

    keeper: int
    isolated: bool = False
    groups: bool = True
    ahead: bool = False

    @property
    def expected(self) -> Policy | None:
        """The sandbox that the next command enters before its request is there, as far as it can; None for none."""
        uid = 0 if os.geteuid() == 0 else None  # which one does not matter
        policy = Policy(namespaces=True, landlock=True, seccomp=True, uid=uid) if self.ahead else None
        return self.guarded(Launch((), {}, "", policy)).policy

    def guarded(self, launch: Launch) -> Launch:
        """Return the launch with a policy that protects the processes above it, by their numbers in its namespace."""
        if launch.policy is None:
            return launch
        above = (os.getpid(), os.getppid())
        protect = above if self.isolated else (*launch.policy.protect, *above, self.keeper)
        return replace(launch, policy=replace(launch.policy, protect=protect))


class Command:
    """The next command to run. Its process is forked before its request is there."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._out, self._err = Capture(), Capture()
        pipes = {os.pipe(): capture for capture in (self._out, self._err)}
        self._reading = {read: capture for (read, _), capture in pipes.items()}
        writing = [write for _, write in pipes]
        (to_read, to_write), (back_read, back_write) = os.pipe(), os.pipe()
        self._beside = [to_read, back_write, writing[1]]
        self._files = [os.open(os.devnull, os.O_RDONLY), *writing, to_write, back_read]
        self._fork = ForkAhead(self._files[:3], self._files[3:], setting.expected)
        self._group = group(self._fork.pid, owner=setting.keeper) if setting.groups else None

    def run(
        self,
        request: Request,
        *,
        stopped: Callable[[], bool],
        orphaned: Callable[[], bool],
        tell: Callable[[float], object],
    ) -> Ending:
        """Run the command until it ends or exceeds a limit; no process of it lives when this returns.

        Args:
            request: the command and its limits.
            stopped: whether the worker wants the command killed.
            orphaned: whether our parent is dead; this process then kills the tree and ends.
            tell: called with the seconds of its budget that the command has used, where that is more than before.
        """
        began = time.monotonic()
        try:
            pid, beside = self._start(request)
        except NotStarted as error:
            kill_tree()
            if self._group:
                self._group.remove()
            return Ending(None, error.why, err=error.text)
        _hold_mounts(pid)
        clock = CpuClock(pid, beside, self._group, began)
        policies = [launch.policy for launch in (request.launch, request.beside) if launch]
        users = {os.geteuid() if policy.uid is None else policy.uid for policy in policies if policy}
        meter = Meter(request.limits, request.watch, clock, began, users)
        with selectors.DefaultSelector() as selector, _ended(pid) as ended:
            if ended is not None:
                selector.register(ended, selectors.EVENT_READ)
            for read, capture in self._reading.items():
                os.set_blocking(read, False)
                selector.register(read, selectors.EVENT_READ, capture)
            why = self._watch(pid, selector, began + request.limits.deadline_s, meter, stopped, orphaned, tell)
            seconds = time.monotonic() - began
            status, usage = kill_tree()[pid]
        cpu = clock.at_end(usage)
        used = Used(*map(max, meter.of_budget(cpu, seconds), meter.seen))
        why = why or meter.over(used) or meter.over_disk()
        for read, capture in self._reading.items():
            while _read(read, capture):
                pass
        if self._group:
            if self._group.has_killed():
                why = "memory" if why in ("", "deadline") else why
                meter.peak_mb = max(meter.peak_mb, self._group.peak_mb())
            self._group.remove()
        return Ending(
            rc=None if why else os.waitstatus_to_exitcode(status),
            why=why,
            seconds=seconds,
            cpu_s=sum(cpu),
            peak_memory_mb=max(meter.peak_mb, usage.ru_maxrss / 1024),
            out=self._out.text(),
            err=self._err.text(),
            bounded=self._group is not None,
            used_s=used.command_s,
            beside_s=used.beside_s if beside is not None else 0.0,
        )

    def _watch(
        self,
        pid: int,
        selector: selectors.BaseSelector,
        deadline: float,
        meter: Meter,
        stopped: Callable[[], bool],
        orphaned: Callable[[], bool],
        tell: Callable[[float], object],
    ) -> Why:
        """Read what is printed until the command ends (return "") or must be killed (return why)."""
        told_s = 0.0
        while True:
            for key, _ in selector.select(POLL_S) if selector.get_map() else _pause():
                if key.data is not None and _read(key.fd, key.data) == b"":
                    selector.unregister(key.fileobj)
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return ""
            now = time.monotonic()
            if orphaned():  # nobody reads our answer
                kill_tree()
                os._exit(1)
            if stopped():
                return "killed"
            if now > deadline:
                return "deadline"
            if self._out.total + self._err.total > MAX_OUTPUT_MB * 1024**2:
                return "output"
            if why := meter.exceeded(now):
                return why
            if meter.used_s > told_s:
                told_s = meter.used_s
                tell(told_s)
            if self._group and self._group.has_killed():
                return "memory"

    def _start(self, request: Request) -> tuple[int, int | None]:
        """Start the command, and before it the process beside it, both within the memory limit; return their ids."""
        beside = None
        try:
            if self._group and request.limits.memory_mb:
                self._group.bound(request.limits.memory_mb)
            if request.beside:
                other = ForkAhead(self._beside)
                if self._group:
                    self._group.add_beside(other.pid)
                beside = other.become(self._setting.guarded(request.beside), file_mb=request.limits.disk_mb)
            if self._setting.ahead and not can_enter_ahead(request.launch.policy):
                self._fork.discard()
                self._fork = ForkAhead(self._files[:3], self._files[3:])
                if self._group:
                    self._group.add(self._fork.pid)
            pid = self._fork.become(
                self._setting.guarded(request.launch),
                use_extra=request.beside is not None,
                file_mb=request.limits.disk_mb,
            )
            return pid, beside
        finally:
            for number in {*self._files, *self._beside}:
                os.close(number)


class Capture:
    """Head and tail of a stream."""

    def __init__(self) -> None:
        self.head, self.tail, self.total = b"", b"", 0

    def add(self, data: bytes) -> None:
        """Add bytes that were read."""
        self.total += len(data)
        room = KEEP - len(self.head)
        self.head += data[:room]
        self.tail = (self.tail + data[max(room, 0) :])[-KEEP:]

    def text(self) -> str:
        """Return head and tail, with a line between them that says how much is missing."""
        cut = self.total - len(self.head) - len(self.tail)
        middle = f"\n… {cut:,} bytes left out …\n".encode() if cut > 0 else b""
        return (self.head + middle + self.tail).decode("utf-8", "replace")


def _read(descriptor: int, capture: Capture) -> bytes | None:
    """Read what is there and return it: b"" at the end of the stream, None where there is nothing yet."""
    try:
        data = os.read(descriptor, 65536)
    except BlockingIOError:
        return None
    capture.add(data)
    return data


@contextlib.contextmanager
def _ended(pid: int) -> Iterator[int | None]:
    """A descriptor that becomes readable when the child ends (Linux), else None."""
    if sys.platform != "linux":
        yield None
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hold_mounts(pid: int) -> None:
    """Keep the mounts of a process until this process ends: else its own end waits until the kernel has undone them."""
    with contextlib.suppress(OSError):
        os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _pause() -> list[tuple[selectors.SelectorKey, int]]:
    time.sleep(POLL_S)
    return []
