"""`python -m gpu_worker.supervisor [MODULE …]`: runs one command at a time and leaves no process of it behind.

There is one such process per slot of a worker, below its keeper (`gpu_worker.supervisor.keeper`); it has no
credentials. It imports the named modules once. A fork of it serves each request: it starts the command, watches it, and
kills until nothing below it lives. While one fork serves, the next one waits, and below that one the process that
becomes its command: a fork of a process that has imported torch takes milliseconds. Requests and answers are lines on
standard input and output (`gpu_worker.supervisor.protocol`). At the end of input the worker is gone, and everything is
killed.
"""

import contextlib
import gc
import importlib
import os
import select
import selectors
import signal
import sys
import weakref
from collections.abc import Sequence

from gpu_worker.sandbox import kernel, mounts
from gpu_worker.supervisor.cgroup import sweep
from gpu_worker.supervisor.command import Command, Setting
from gpu_worker.supervisor.fork import compile_ahead, own_modules
from gpu_worker.supervisor.keeper import fork_kept, reap_orphans
from gpu_worker.supervisor.process_tree import kill_tree
from gpu_worker.supervisor.protocol import (
    NAMESPACES_AHEAD,
    PERHAPS,
    SCRIPT_AHEAD,
    Kill,
    Progress,
    Request,
    encode,
    parse,
)
from mesh.parent_death import die_with_parent, outlive_parent
from mesh.readable import system_paths

WITHOUT_NAMESPACES, WITHOUT_GROUPS = "--without-namespaces", "--without-groups"
"""Options by which a supervisor behaves as on a machine that has no PID namespaces, or no control groups."""

HUGE = 2 << 20
"""Bytes of a huge page."""


def main() -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    words, keeper = sys.argv[1:], os.getpid()
    isolated = fork_kept(isolate=WITHOUT_NAMESPACES not in words)
    reap_orphans()
    setting = Setting(keeper, isolated=isolated, groups=WITHOUT_GROUPS not in words, ahead=NAMESPACES_AHEAD in words)
    _import(
        [word for word in words if not word.startswith("--")],
        [word.removeprefix(SCRIPT_AHEAD) for word in words if word.startswith(SCRIPT_AHEAD)],
    )
    served, serving = list[Server](), Server(setting)
    while True:
        serving.begin()
        following = Server(setting)
        while served:
            served.pop().reap()
        if (state := serving.wait()) != SERVED:
            kill_tree()
            sweep(keeper)
            os._exit(0 if state == ENDED else 1)
        served.append(serving)
        serving = following


def _import(names: Sequence[str], scripts: Sequence[str]) -> None:
    """Import the modules ahead of trials, and do here what every fork would have to do again."""
    for script in scripts:
        compile_ahead(script)
    mounts.find_obstacles(system_paths())
    for name in names:
        try:
            importlib.import_module(name.removeprefix(PERHAPS))
        except (Exception, SystemExit) as error:
            if name.startswith(PERHAPS):
                continue
            sys.stderr.write(f"supervisor: {name} cannot be imported ahead of trials: {error}\n")
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random")  # else every fork would import it, to seed it
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        finalizer.atexit = False  # torch deregisters its operators at exit: 25 ms in every fork
    own_modules()
    gc.collect()
    gc.freeze()
    _use_huge_pages()


def _use_huge_pages() -> None:
    """Move the imported modules to huge pages: a fork then copies hundreds of times fewer page-table entries."""
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps.readlines():
            bounds, rights, *_, inode, name = [*line.split(None, 5), ""][:6]
            if rights == "rw-p" and inode == "0" and name.strip() in ("", "[heap]"):
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                for page in range(-(-start // HUGE) * HUGE, end - HUGE + 1, HUGE):
                    kernel.collapse(page, HUGE)


SERVED, ENDED = b".", b"e"


class Server:
    """A fork that serves one request when its turn comes: each command has a reaper of its own."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        turn, self._turn = os.pipe()
        self._state, state_write = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._turn)
            os.close(self._state)
            self._serve(turn, state_write, parent)
        os.close(turn)
        os.close(state_write)

    def begin(self) -> None:
        """Let it take the next request."""
        os.write(self._turn, b".")
        os.close(self._turn)

    def wait(self) -> bytes:
        """Wait until it has answered (`SERVED`), input has `ENDED`, or it is dead (b"")."""
        with open(self._state, "rb") as file:
            return file.read(1)

    def reap(self) -> None:
        """Wait until it is gone; it lives a little longer than its answer, while its memory is freed."""
        os.waitpid(self._pid, 0)

    def _serve(self, turn: int, state_write: int, parent: int) -> None:
        try:
            reap_orphans()
            die_with_parent(parent=parent)
            command = Command(self._setting)
            if not os.read(turn, 1):
                os._exit(0)
            requests = Requests()
            request = requests.next()
            if request is None:
                os.write(state_write, ENDED)
                os._exit(0)
            outlive_parent()
            answer = command.run(
                request, stopped=requests.stopped, orphaned=lambda: os.getppid() != parent, tell=tell_progress
            )
            sys.stdout.write(encode(answer))
            sys.stdout.flush()
            os.write(state_write, SERVED)
            os._exit(0)
        except BaseException as error:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"supervisor: {error!r}\n")
        finally:
            os._exit(1)


def tell_progress(used_s: float) -> None:
    """Send what the command has used of its budget, unless nobody reads: a worker that is stopped stops no limit."""
    if select.select((), (1,), (), 0)[1]:
        sys.stdout.write(encode(Progress(round(used_s, 3))))
        sys.stdout.flush()


class Requests:
    """Lines of standard input, which can be read without waiting."""

    def __init__(self) -> None:
        os.set_blocking(0, False)
        self._buffer, self.ended = b"", False

    def poll(self) -> Request | Kill | None:
        """Return the next line if it is there."""
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
        return parse(line)

    def stopped(self) -> bool:
        """Tell whether the running command must be killed: the worker wants it, or is gone."""
        message = self.poll()
        return self.ended or isinstance(message, Kill)

    def next(self) -> Request | None:
        """Wait for the next request; None at the end of input. A `Kill` is ignored: nothing runs."""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            while True:
                message = self.poll()
                if isinstance(message, Request):
                    return message
                if self.ended:
                    return None
                if message is None:
                    selector.select()


if __name__ == "__main__":
    main()
