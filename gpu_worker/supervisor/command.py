"""One command of a supervisor: started, watched, measured, and killed with all that it started.

The standard library alone.
"""

import contextlib
import os
import resource
import selectors
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from gpu_worker.supervisor.cgroup import group
from gpu_worker.supervisor.fork import Ahead, NotStarted
from gpu_worker.supervisor.process_tree import POLL_S, descendants, kill_tree

KEEP = 32 * 1024
"""Bytes of each stream kept from its beginning and from its end."""

MAX_OUTPUT = 64 * 1024 * 1024
MAX_FILES = 100_000
MEASURE_EVERY_S = 0.1
MEASURE_DISK_EVERY_S = 0.5

Request = dict[str, Any]
Answer = dict[str, Any]


class Capture:
    """Head and tail of a stream."""

    def __init__(self) -> None:
        self.head, self.tail, self.total = b"", b"", 0

    def add(self, data: bytes) -> None:
        """Take in what was read."""
        self.total += len(data)
        room = KEEP - len(self.head)
        self.head += data[:room]
        self.tail = (self.tail + data[max(room, 0) :])[-KEEP:]

    def text(self) -> str:
        """Return what was kept, saying how much was left out."""
        cut = self.total - len(self.head) - len(self.tail)
        middle = f"\n… {cut:,} bytes left out …\n".encode() if cut > 0 else b""
        return (self.head + middle + self.tail).decode("utf-8", "replace")


class Meter:
    """What a tree takes, looked at now and then; a look costs a few percent of the time between two."""

    def __init__(self, request: Request, now: float) -> None:
        self._limits = [
            ("memory", float(request["memory_mb"])),
            ("disk", float(request.get("disk_mb") or 0)),
            ("processes", float(request.get("processes") or 0)),
        ]
        self._watch: list[str] = request.get("watch") or []
        self.peak_mb, self._disk_mb = 0.0, 0.0
        self._next = self._next_disk = now + MEASURE_EVERY_S

    def exceeded(self, now: float) -> str:
        """Return the name of a limit that is exceeded, "" where none is."""
        if now < self._next:
            return ""
        alive = descendants()
        self.peak_mb = max(self.peak_mb, sum(memory for _, _, memory in alive.values()))
        if self._watch and now >= self._next_disk:
            began = time.monotonic()
            self._disk_mb = sum(map(folder_mb, self._watch))
            self._next_disk = now + max(MEASURE_DISK_EVERY_S, 20 * (time.monotonic() - began))
        self._next = now + max(MEASURE_EVERY_S, 20 * (time.monotonic() - now))
        taken = {"memory": self.peak_mb, "disk": self._disk_mb, "processes": float(len(alive))}
        return next((name for name, limit in self._limits if limit and taken[name] > limit), "")


def folder_mb(folder: str) -> float:
    """Return the blocks of all files below a folder in MB; infinite where there are more than `MAX_FILES`."""
    blocks = count = 0
    todo = [folder]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                count += 1
                if count > MAX_FILES:
                    return float("inf")
                with contextlib.suppress(OSError):
                    blocks += entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return blocks / 2048


class Command:
    """A process that becomes the command of a request, and is there before the request is."""

    def __init__(self) -> None:
        self._out, self._err = Capture(), Capture()
        pipes = {os.pipe(): capture for capture in (self._out, self._err)}
        self._reading = {read: capture for (read, _), capture in pipes.items()}
        writing = [write for _, write in pipes]
        (to_read, to_write), (back_read, back_write) = os.pipe(), os.pipe()
        self._beside = [to_read, back_write, writing[1]]
        self._files = [os.open(os.devnull, os.O_RDONLY), *writing, to_write, back_read]
        self._ahead = Ahead(self._files[:3], self._files[3:])
        self._group = group(self._ahead.pid, owner=os.getppid())

    def run(self, request: Request, *, stopped: Callable[[], bool], orphaned: Callable[[], bool]) -> Answer:
        """Run until it ends or must end, and return the answer; nothing of it lives then.

        It must end when it exceeds a limit or `stopped` says so; where it is `orphaned` this process ends too.
        """
        began = time.monotonic()
        deadline = began + float(request["deadline_s"])
        out, err, meter = self._out, self._err, Meter(request, began)
        why = ""
        try:
            pid = self._start(request)
        except NotStarted as error:
            kill_tree()
            if self._group:
                self._group.remove()
            empty = {"rc": None, "seconds": 0.0, "cpu_s": 0.0, "peak_memory_mb": 0.0, "out": ""}
            return {**empty, "why": error.why, "err": error.text}
        with selectors.DefaultSelector() as selector, _ended(pid) as ended:
            if ended is not None:
                selector.register(ended, selectors.EVENT_READ)
            for read, capture in self._reading.items():
                os.set_blocking(read, False)
                selector.register(read, selectors.EVENT_READ, capture)
            while not why:
                for key, _ in selector.select(POLL_S) if selector.get_map() else _pause():
                    if key.data is not None and _read(key.fd, key.data) == b"":
                        selector.unregister(key.fileobj)
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    break
                now = time.monotonic()
                if orphaned():  # there is nobody to answer for us
                    kill_tree()
                    os._exit(1)
                if stopped():
                    why = "killed"
                elif now > deadline:
                    why = "deadline"
                elif out.total + err.total > MAX_OUTPUT:
                    why = "output"
                else:
                    why = meter.exceeded(now) or ("memory" if self._group and self._group.has_killed() else "")
            seconds = time.monotonic() - began
            status, usage = kill_tree()[pid]
        for read, capture in self._reading.items():
            while _read(read, capture):
                pass
        if self._group:
            if self._group.has_killed():
                why = "memory" if why in ("", "deadline") else why
                meter.peak_mb = max(meter.peak_mb, self._group.peak_mb())
            self._group.remove()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "rc": None if why else os.waitstatus_to_exitcode(status),
            "why": why,
            "seconds": seconds,
            "cpu_s": children.ru_utime + children.ru_stime,
            "peak_memory_mb": max(meter.peak_mb, usage.ru_maxrss / 1024),
            "bounded": self._group is not None,
            "out": out.text(),
            "err": err.text(),
        }

    def _start(self, request: Request) -> int:
        """Start the command, and first what runs beside it, within the bound on their memory."""
        beside = request.get("beside")
        try:
            if self._group and request["memory_mb"]:
                self._group.bound(float(request["memory_mb"]))
            if beside:
                other = Ahead(self._beside)
                if self._group:
                    self._group.add(other.pid)
                other.become(beside)
            return self._ahead.become(request, also=bool(beside))
        finally:
            for number in {*self._files, *self._beside}:
                os.close(number)


def _read(descriptor: int, capture: Capture) -> bytes | None:
    """Take in what is there and return it; nothing at the end, None where there is nothing yet."""
    try:
        data = os.read(descriptor, 65536)
    except BlockingIOError:
        return None
    capture.add(data)
    return data


@contextlib.contextmanager
def _ended(pid: int) -> Iterator[int | None]:
    """A descriptor that becomes readable when the child ends, where the system has such."""
    if sys.platform != "linux":
        yield None
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _pause() -> list[tuple[selectors.SelectorKey, int]]:
    time.sleep(POLL_S)
    return []
