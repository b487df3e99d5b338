"""A real terminal for tests: a command on a pseudo-terminal of a given size, what it draws, and keys for it."""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Terminal:
    """A running command and its screen's other end."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process, self._screen = process, screen
        self.drawn = b""

    def until(self, text: str, *, within_s: float = 60.0) -> None:
        """Read what is drawn until `text` was."""
        give_up = time.monotonic() + within_s
        while text.encode() not in self.drawn:
            assert time.monotonic() < give_up, self.drawn[-4000:].decode(errors="replace")
            assert self._read(1.0), self.drawn[-4000:].decode(errors="replace")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._screen, keys.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self, *, within_s: float = 60.0) -> tuple[int, str]:
        """Return the exit code, and all that was drawn."""
        give_up = time.monotonic() + within_s
        while self._read(1.0):
            assert time.monotonic() < give_up
        return self.process.wait(10), self.drawn.decode(errors="replace")

    def _read(self, within_s: float) -> bool:
        """Take in what is there; False once nobody writes any more."""
        if not select.select([self._screen], [], [], within_s)[0]:
            return True
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # Linux says so when the last writer is gone
            return False
        self.drawn += data
        return bool(data)


@contextmanager
def on_a_terminal(*words: str, columns: int = 80, rows: int = 24, **env: str) -> Iterator[Terminal]:
    """Run `mesh WORDS` on a terminal of that size; it is killed where it outlives the block."""
    screen, inside = os.openpty()
    try:
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        process = subprocess.Popen(
            [sys.executable, "-m", "mesh_cli", *words],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            env={**plain, "TERM": "xterm-256color", **env},
        )
        os.close(inside)
        with process:
            try:
                yield Terminal(process, screen)
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(screen)
