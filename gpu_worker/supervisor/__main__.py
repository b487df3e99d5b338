"""`python -m gpu_worker.supervisor [MODULE …]`: runs one command at a time and leaves no process of it behind.

A process of its own per slot, which holds no credential. It imports the named modules once; every request is served by
a fork of it, which starts the command, watches it, and kills until nothing below it lives. While one fork serves, the
next one is there already, and below it the process that becomes its command: a fork of what has imported torch takes
milliseconds. Requests and answers are JSON lines on standard input and output; end of input means that the worker is
gone, and everything is killed.

Request: `{"command": [..], "env": {..}, "cwd": str, "policy": {..} | null, "warm": bool, "deadline_s", "memory_mb",
"disk_mb", "processes", "watch": [folder], "beside": {"command", "env", "cwd", "policy", "warm"} | null}`, or
`{"kill": true}` while one runs. Answer: `{"rc": int | null, "why": "" | "deadline" | "memory" | "disk" | "processes" |
"output" | "killed" | "start" | "sandbox", "seconds", "cpu_s", "peak_memory_mb", "bounded", "out", "err"}`; `out` and
`err` keep the head and the tail of what was printed. What runs `beside` answers the command over pipes: its standard
input and output are the command's descriptors 3 (to write) and 4 (to read); its errors are the command's.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import weakref
from collections.abc import Sequence

from gpu_worker.sandbox import kernel
from gpu_worker.supervisor.cgroup import sweep
from gpu_worker.supervisor.command import Command, Request
from gpu_worker.supervisor.fork import die_with, live_on, own_modules
from gpu_worker.supervisor.process_tree import kill_tree

HUGE = 2 << 20
"""Bytes of a huge page."""


def main() -> None:
    """Serve requests until standard input ends."""
    _reap_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _import(sys.argv[1:])
    served, serving = list[Server](), Server()
    while True:
        serving.begin()
        following = Server()
        while served:
            served.pop().reap()
        if (word := serving.wait()) != SERVED:
            kill_tree()
            sweep(os.getpid())
            os._exit(0 if word == ENDED else 1)
        served.append(serving)
        serving = following


def _import(names: Sequence[str]) -> None:
    """Import ahead of trials, and leave as little as possible for each of them to do again."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            sys.stderr.write(f"supervisor: {name} cannot be imported ahead of trials: {error}\n")
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random")  # which is seeded at every start, and imported by that
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        finalizer.atexit = False  # torch takes its operators apart at exit: 25 ms in every fork
    own_modules()
    gc.collect()
    gc.freeze()
    _use_huge_pages()


def _use_huge_pages() -> None:
    """Keep what was imported in huge pages: a fork copies hundreds of times fewer entries of page tables."""
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps.readlines():
            bounds, rights, *_, inode, name = [*line.split(None, 5), ""][:6]
            if rights == "rw-p" and inode == "0" and name.strip() in ("", "[heap]"):
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                for page in range(-(-start // HUGE) * HUGE, end - HUGE + 1, HUGE):
                    kernel.collapse(page, HUGE)


def _reap_orphans() -> None:
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_SUBREAPER, 1)


SERVED, ENDED = b".", b"e"


class Server:
    """A fork that serves one request when its turn has come, so that what it runs has a reaper of its own."""

    def __init__(self) -> None:
        turn, self._turn = os.pipe()
        self._word, tell = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._turn)
            os.close(self._word)
            self._serve(turn, tell, parent)
        os.close(turn)
        os.close(tell)

    def begin(self) -> None:
        """Let it take the next request."""
        os.write(self._turn, b".")
        os.close(self._turn)

    def wait(self) -> bytes:
        """Wait until it has answered (`SERVED`), input has `ENDED`, or it is dead."""
        with open(self._word, "rb") as words:
            return words.read(1)

    def reap(self) -> None:
        """Wait for its end, which taking its memory apart puts off."""
        os.waitpid(self._pid, 0)

    def _serve(self, turn: int, tell: int, parent: int) -> None:
        try:
            _reap_orphans()
            die_with(parent)
            command = Command()
            if not os.read(turn, 1):
                os._exit(0)
            requests = Requests()
            request = requests.next()
            if request is None:
                os.write(tell, ENDED)
                os._exit(0)
            live_on()
            answer = command.run(request, stopped=requests.stopped, orphaned=lambda: os.getppid() != parent)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            os.write(tell, SERVED)
            os._exit(0)
        except BaseException as error:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"supervisor: {error!r}\n")
        finally:
            os._exit(1)


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

    def stopped(self) -> bool:
        """Tell whether what runs is to be killed: it was asked for, or the worker is gone."""
        command = self.poll()
        return self.ended or bool(command and "kill" in command)

    def next(self) -> Request | None:
        """Wait for the next command; None at the end of input. Nothing is there that could be killed."""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            while True:
                request = self.poll()
                if self.ended or (request and "command" in request):
                    return request
                if request is None:
                    selector.select()


if __name__ == "__main__":
    main()
