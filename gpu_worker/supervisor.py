"""`python -m gpu_worker.supervisor`: runs one command at a time and leaves no process of it behind.

A process of its own per slot, with the standard library alone. Orphans of the trial become its children (subreaper),
so that a walk over its descendants finds all of them, whatever they did about sessions and groups. Requests and answers
are JSON lines on standard input and output; end of input means that the worker is gone, and everything is killed.

Request: `{"command": [..], "env": {..}, "cwd": str, "deadline_s": float, "memory_mb": float}`, or `{"kill": true}`
while one runs. Answer: `{"rc": int | null, "why": "" | "deadline" | "memory" | "output" | "killed" | "start",
"seconds", "cpu_s", "peak_memory_mb", "out", "err"}`; `out` and `err` keep the head and the tail of what was printed.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

KEEP = 32 * 1024
"""Bytes of each stream kept from its beginning and from its end."""

MAX_OUTPUT = 64 * 1024 * 1024
POLL_S = 0.05
MEASURE_EVERY_S = 0.1
GIVE_UP_S = 20.0
"""Seconds after which a tree that does not die (a hanging disk, another user) ends the supervisor itself."""

PAGE_MB = os.sysconf("SC_PAGESIZE") / 1024**2

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


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


def main() -> None:
    """Serve requests until standard input ends."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests = Requests()
    try:
        while (request := requests.next()) is not None:
            if "command" in request:
                answer = run(request, requests)
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()
    except BrokenPipeError:
        pass
    finally:
        kill_tree()
        os._exit(0)


class Requests:
    """Lines of standard input, which can also be looked at without waiting."""

    def __init__(self) -> None:
        os.set_blocking(0, False)
        self._buffer, self.ended = b"", False

    def poll(self) -> dict[str, object] | None:
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
        found: dict[str, object] = json.loads(line)
        return found

    def next(self) -> dict[str, object] | None:
        """Wait for the next request; None at the end of input."""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            while True:
                request = self.poll()
                if request is not None or self.ended:
                    return request
                selector.select()


def run(request: dict[str, object], requests: Requests) -> dict[str, object]:
    """Run one command until it ends or must end, and return the answer; nothing of it lives then."""
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    deadline = began + float(str(request["deadline_s"]))
    limit_mb = float(str(request["memory_mb"]))
    out, err = Capture(), Capture()
    answer: dict[str, object] = {"rc": None, "why": ""}
    try:
        process = subprocess.Popen(
            request["command"],  # type: ignore[call-overload]
            cwd=request["cwd"],
            env=request["env"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_in_child,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
        return {**answer, "why": "start", "seconds": 0.0, "cpu_s": 0.0, "peak_memory_mb": 0.0, "out": "", "err": text}
    peak_mb, measure_at = 0.0, 0.0
    with selectors.DefaultSelector() as selector, _ended(process.pid) as ended:
        if ended is not None:
            selector.register(ended, selectors.EVENT_READ)
        for stream, capture in ((process.stdout, out), (process.stderr, err)):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, capture)
        while not answer["why"]:
            for key, _ in selector.select(POLL_S) if selector.get_map() else _pause():
                if key.data is None:
                    continue
                data = os.read(key.fd, 65536)
                key.data.add(data)
                if not data:
                    selector.unregister(key.fileobj)
            now = time.monotonic()
            if now >= measure_at:
                peak_mb = max(peak_mb, tree_memory_mb())
                measure_at = now + max(MEASURE_EVERY_S, 20 * (time.monotonic() - now))
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            command = requests.poll()
            if requests.ended or (command and "kill" in command):
                answer["why"] = "killed"
            elif now > deadline:
                answer["why"] = "deadline"
            elif peak_mb > limit_mb:
                answer["why"] = "memory"
            elif out.total + err.total > MAX_OUTPUT:
                answer["why"] = "output"
        seconds = time.monotonic() - began
        status, usage = kill_tree()[process.pid]
        for stream, capture in ((process.stdout, out), (process.stderr, err)):
            try:
                while data := stream.read1(65536):
                    capture.add(data)
            except (OSError, ValueError):
                pass
    process.returncode = os.waitstatus_to_exitcode(status)
    peak_mb = max(peak_mb, usage.ru_maxrss / 1024)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer["rc"] = None if answer["why"] else process.returncode
    return answer | {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_memory_mb": peak_mb,
        "out": out.text(),
        "err": err.text(),
    }


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


def _in_child() -> None:
    """In the trial, before its program: die with the supervisor, and be the first to go when memory runs out."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            with open("/proc/self/oom_score_adj", "w") as adjust:
                adjust.write("1000")
        except OSError:
            pass


def processes() -> dict[int, tuple[int, str, float]]:
    """Return parent, state and resident memory (MB) of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    fields = stat.read().rpartition(")")[2].split()
                found[int(name)] = (int(fields[1]), fields[0], int(fields[21]) * PAGE_MB)
            except (OSError, IndexError, ValueError):
                continue
    return found


def descendants() -> dict[int, tuple[int, str, float]]:
    """Return every process below this one that is not dead yet."""
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


def tree_memory_mb() -> float:
    """Return the resident memory of all descendants, shared pages counted for each."""
    return sum(memory for _, _, memory in descendants().values())


def kill_tree() -> dict[int, tuple[int, resource.struct_rusage]]:
    """Stop, then kill all descendants until this process has no child, and return how its children ended.

    A walk can miss who is born during it, but being a subreaper, this process has a child for as long as it has any
    descendant; so the kernel's word that there is none is what ends it.
    """
    ended: dict[int, tuple[int, resource.struct_rusage]] = {}
    began = time.monotonic()
    while _reap(ended):
        for pid in _children():
            _signal(pid, signal.SIGSTOP)
        alive = descendants()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                _signal(pid, number)
        for _ in range(50):  # who respawns fast is an orphan of ours for an instant, too short for a walk
            for pid in _children():
                _signal(pid, signal.SIGKILL)
            if not _reap(ended):
                break
        waited = time.monotonic() - began
        if waited > GIVE_UP_S:
            os._exit(1)
        if waited > 0.5:
            time.sleep(POLL_S)
    return ended


def _children() -> list[int]:
    """Return the direct children, quickly; nothing where the system does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return [int(pid) for pid in children.read().split()]
    except OSError:
        return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _reap(ended: dict[int, tuple[int, resource.struct_rusage]]) -> bool:
    """Collect the dead children; return whether there are others."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if not pid:
            return True
        ended[pid] = status, usage


if __name__ == "__main__":
    main()
