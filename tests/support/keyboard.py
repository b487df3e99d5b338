"""A real terminal for a process: what is typed, what is shown, how it ends."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


class Terminal:
    """A process on a pseudo-terminal of its own, which is its controlling terminal."""

    def __init__(self, command: list[str], *, lines: int = 40, columns: int = 100, **env: str) -> None:
        self._command, self._size, self._env = command, (lines, columns), env
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self) -> Self:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        env = {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm", **os.environ, **self._env}
        env = {name: value for name, value in env.items() if name not in ("LINES", "COLUMNS")}

        def control() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            self._command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            start_new_session=True,
            preexec_fn=control,
        )
        os.close(theirs)
        self._ours = ours
        return self

    def press(self, text: str) -> None:
        """Send key strokes; `\\x03` is Ctrl-C, `\\x04` Ctrl-D, `\\r` Enter."""
        os.write(self._ours, text.encode())

    def until(self, pattern: str, timeout_s: float = 30.0) -> str:
        """Return what was shown, without style, up to the end of the first match; later calls look behind it."""
        end = time.monotonic() + timeout_s
        while True:
            plain = _plain(self.shown)
            if match := re.search(pattern, plain):
                self.shown = plain[match.end() :]
                return plain[: match.end()]
            if time.monotonic() > end or not self._read(end - time.monotonic()):
                raise AssertionError(f"{pattern!r} was not shown, but {plain!r}")

    def until_signals(self, timeout_s: float = 30.0) -> None:
        """Return once Ctrl-C is a signal: while a prompt reads it is a key."""
        end = time.monotonic() + timeout_s
        while not termios.tcgetattr(self._ours)[3] & termios.ISIG:
            if time.monotonic() > end:
                raise AssertionError("the terminal stayed that of a prompt")
            self._read(0.01)

    def rest(self, timeout_s: float = 30.0) -> str:
        """Return all that is shown until the process has ended."""
        end = time.monotonic() + timeout_s
        while self._read(max(end - time.monotonic(), 0)):
            pass
        assert self.code() is not None
        return _plain(self.shown)

    def code(self) -> int:
        """Return what the process ends with."""
        return self.process.wait(30)

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(timeout_s, 0))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the last process has closed it
            return False
        self.shown += self._decoder.decode(data)
        return bool(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        os.close(self._ours)


def _plain(shown: str) -> str:
    return re.sub(r"\r+\n", "\n", _STYLE.sub("", shown))
