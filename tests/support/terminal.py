"""A real terminal for tests: a command on a pseudo-terminal of a given size, keys for it, and what it shows."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")
_OF_THE_CALLER = ("NO_COLOR", "COLUMNS", "LINES")


class Terminal:
    """`mesh WORDS` on a pseudo-terminal, which is its controlling terminal; it is killed if it outlives the block.

    Attributes:
        process: the command.
        drawn: all that it has written, control sequences included.
    """

    def __init__(self, *words: str, lines: int = 24, columns: int = 80, **env: str) -> None:
        self._words, self._size, self._env = words, (lines, columns), env
        self.drawn = ""
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self) -> Self:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_THE_CALLER}

        def control() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "mesh_cli", *self._words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"PROMPT_TOOLKIT_NO_CPR": "1", **inherited, "TERM": "xterm-256color", **self._env},
            start_new_session=True,
            preexec_fn=control,
        )
        os.close(theirs)
        self._ours = ours
        return self

    def press(self, keys: str) -> None:
        """Type `keys`; `\\x03` is Ctrl-C, `\\x04` Ctrl-D, `\\r` Enter."""
        os.write(self._ours, keys.encode())

    def until(self, pattern: str, *, within_s: float = 200.0) -> re.Match[str]:
        """Wait until the text without its style matches `pattern`; the next call looks behind that match."""
        end = time.monotonic() + within_s
        while not (match := re.search(pattern, self._unseen())):
            if time.monotonic() > end or not self._read(end - time.monotonic()):
                raise AssertionError(f"{pattern!r} was not shown, but {self._unseen()!r}")
        self._seen += match.end()
        return match

    def until_signals(self, *, within_s: float = 100.0) -> None:
        """Wait until Ctrl-C is a signal: it is an ordinary key while a prompt reads."""
        end = time.monotonic() + within_s
        while not termios.tcgetattr(self._ours)[3] & termios.ISIG:
            if time.monotonic() > end:
                raise AssertionError("the terminal stayed that of a prompt")
            self._read(0.01)

    def rest(self, *, within_s: float = 200.0) -> str:
        """Wait for the end of the command and return the text, without its style, behind the last match."""
        end = time.monotonic() + within_s
        while self._read(max(end - time.monotonic(), 0)):
            pass
        self.code()
        return self._unseen()

    def end(self) -> tuple[int, str]:
        """Wait for the end of the command and return its exit code and all that it has written."""
        self.rest()
        return self.code(), self.drawn

    def code(self) -> int:
        """Wait for the end of the command and return its exit code."""
        return self.process.wait(100)

    def _unseen(self) -> str:
        return _plain(self.drawn)[self._seen :]

    def _read(self, timeout_s: float) -> bool:
        """Take in what was written; False if nothing came in time or the last writer is gone."""
        ready, _, _ = select.select([self._ours], [], [], max(timeout_s, 0))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the last writer is gone
            return False
        self.drawn += self._decoder.decode(data)
        return bool(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(100)
        os.close(self._ours)


def _plain(shown: str) -> str:
    return re.sub(r"\r+\n", "\n", _STYLE.sub("", shown))
