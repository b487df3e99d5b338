"""`python -m gpu_worker.supervisor [MODULE …]`: runs one command at a time and leaves no process of it behind.

A process of its own per slot, which holds no credential. It imports the named modules once; every request is served by
a fork of it, which starts the command, watches it, and kills until nothing below it lives. Requests and answers are
JSON lines on standard input and output; end of input means that the worker is gone, and everything is killed.

Request: `{"command": [..], "env": {..}, "cwd": str, "policy": {..} | null, "warm": bool, "deadline_s", "memory_mb",
"disk_mb", "processes", "watch": [folder], "beside": {"command", "env", "cwd", "policy", "warm"} | null}`, or
`{"kill": true}` while one runs. Answer: `{"rc": int | null, "why": "" | "deadline" | "memory" | "disk" | "processes" |
"output" | "killed" | "start" | "sandbox", "seconds", "cpu_s", "peak_memory_mb", "out", "err"}`; `out` and `err` keep
the head and the tail of what was printed. What runs `beside` answers the command over pipes: its standard input and
output are the command's descriptors 3 (to write) and 4 (to read); its errors are the command's.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from gpu_worker.sandbox import kernel
from gpu_worker.start import NotStarted, start
from gpu_worker.tree import POLL_S, descendants, kill_tree

KEEP = 32 * 1024
"""Bytes of each stream kept from its beginning and from its end."""

MAX_OUTPUT = 64 * 1024 * 1024
MAX_FILES = 200_000
MEASURE_EVERY_S = 0.1
MEASURE_DISK_EVERY_S = 0.5

Request = dict[str, Any]
Answer = dict[str, Any]


def main() -> None:
    """Serve requests until standard input ends."""
    _reap_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except Exception as error:
            sys.stderr.write(f"supervisor: {name} cannot be imported ahead of trials: {error}\n")
    gc.collect()
    gc.freeze()
    requests = Requests()
    while (request := requests.next()) is not None:
        if "command" in request and not _serve(request, requests):
            break
    kill_tree()
    os._exit(0 if requests.ended else 1)


def _reap_orphans() -> None:
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_SUBREAPER, 1)


def _serve(request: Request, requests: "Requests") -> bool:
    """Serve a request in a fork, so that its tree has a reaper that has nothing else below it; say if it answered."""
    pid = os.fork()
    if pid == 0:
        try:
            _reap_orphans()
            answer = run(request, requests)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            os._exit(0)
        except BaseException as error:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"supervisor: {error!r}\n")
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


class Requests:
    """Lines of standard input, which can also be looked at without waiting."""

    def __init__(self) -> None:
        os.set_blocking(0, False)
        self._buffer, self.ended = b"", False

    def poll(self) -> Request | None:
        """Return the next request if it is there."""
        if b"\n" not in self._buffer and not self.ended:
            try:
                data = os.read(0, 65536)
                self.ended = not data
                self._buffer += data
            except BlockingIOError:
                pass
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        found: Request = json.loads(line)
        return found

    def next(self) -> Request | None:
        """Wait for the next request; None at the end of input."""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            while True:
                request = self.poll()
                if request is not None or self.ended:
                    return request
                selector.select()


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

    def __init__(self, request: Request) -> None:
        self._limits = [
            ("memory", float(request["memory_mb"])),
            ("disk", float(request.get("disk_mb") or 0)),
            ("processes", float(request.get("processes") or 0)),
        ]
        self._watch: list[str] = request.get("watch") or []
        self.peak_mb, self._disk_mb = 0.0, 0.0
        self._next = self._next_disk = 0.0

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


def run(request: Request, requests: Requests) -> Answer:
    """Run one command until it ends or must end, and return the answer; nothing of it lives then."""
    began, parent = time.monotonic(), os.getppid()
    deadline = began + float(request["deadline_s"])
    out, err, meter = Capture(), Capture(), Meter(request)
    why = ""
    pipes = {os.pipe(): capture for capture in (out, err)}
    writing = [write for _, write in pipes]
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        pid = _start(request, [nothing, *writing])
    except NotStarted as error:
        kill_tree()
        empty = {"rc": None, "seconds": 0.0, "cpu_s": 0.0, "peak_memory_mb": 0.0, "out": ""}
        return {**empty, "why": error.why, "err": error.text}
    for number in (*writing, nothing):
        os.close(number)
    with selectors.DefaultSelector() as selector, _ended(pid) as ended:
        if ended is not None:
            selector.register(ended, selectors.EVENT_READ)
        for (read, _), capture in pipes.items():
            os.set_blocking(read, False)
            selector.register(read, selectors.EVENT_READ, capture)
        while not why:
            for key, _ in selector.select(POLL_S) if selector.get_map() else _pause():
                if key.data is not None and _read(key.fd, key.data) == b"":
                    selector.unregister(key.fileobj)
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            now = time.monotonic()
            command = requests.poll()
            if os.getppid() != parent:  # killed: there is nobody to answer for us
                kill_tree()
                os._exit(1)
            if requests.ended or (command and "kill" in command):
                why = "killed"
            elif now > deadline:
                why = "deadline"
            elif out.total + err.total > MAX_OUTPUT:
                why = "output"
            else:
                why = meter.exceeded(now)
        seconds = time.monotonic() - began
        status, usage = kill_tree()[pid]
    for (read, _), capture in pipes.items():
        while _read(read, capture):
            pass
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "rc": None if why else os.waitstatus_to_exitcode(status),
        "why": why,
        "seconds": seconds,
        "cpu_s": children.ru_utime + children.ru_stime,
        "peak_memory_mb": max(meter.peak_mb, usage.ru_maxrss / 1024),
        "out": out.text(),
        "err": err.text(),
    }


def _start(request: Request, files: list[int]) -> int:
    """Start the command, and first what runs beside it."""
    beside = request.get("beside")
    if not beside:
        return start(request, files)
    (to_read, to_write), (back_read, back_write) = os.pipe(), os.pipe()
    try:
        start(beside, [to_read, back_write, files[2]])
        return start(request, files, also=[to_write, back_read])
    finally:
        for number in (to_read, to_write, back_read, back_write):
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


if __name__ == "__main__":
    main()
