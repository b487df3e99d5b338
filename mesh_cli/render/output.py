"""Where data goes: a file that is written whole or not at all, the screen, or a pager if the screen is too small."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from mesh.atomic_write import atomic_write
from mesh.errors import BadInput

LESS = "RSFX"
"""Options of `less` unless the user sets some: colours, long lines cut, quit if all fits, keep the screen."""


class Target(Protocol):
    """Takes text."""

    def write(self, text: str, /) -> object:
        """Take a text."""


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yield a new path beside `path` to write to; it takes the place of `path` when the block ends well.

    A link stays, and what it points to is replaced. Devices and pipes are refused: a file would take their place, and
    root may do that to `/dev/null`.

    Raises:
        BadInput: the folder cannot be written, or `path` is not a file.
    """
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder; name a file")
        if path.exists() and not path.is_file():
            raise BadInput(f"{path} is a device or a pipe; name a file")
        with atomic_write(Path(os.path.realpath(path)), durable=True) as beside:
            yield beside
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from error


class Screen:
    """Standard output; text longer than the terminal goes through a pager, and `close` waits until that ends."""

    def __init__(self, *, paged: bool) -> None:
        self._command = _pager() if paged and sys.stdin.isatty() and sys.stdout.isatty() else []
        self._room = shutil.get_terminal_size().lines - 2
        self._waiting: list[str] = []
        self._pager: subprocess.Popen[str] | None = None

    @property
    def paged(self) -> bool:
        """Whether a pager may be started."""
        return bool(self._command)

    def write(self, text: str, /) -> None:
        """Show a text, now or at the end."""
        if self._pager is not None:
            assert self._pager.stdin is not None
            self._pager.stdin.write(text)
            return
        if not self._command:
            sys.stdout.write(text)
            return
        self._waiting.append(text)
        self._room -= text.count("\n")
        if self._room < 0:
            self._start()

    def _start(self) -> None:
        waiting, self._waiting = "".join(self._waiting), []
        env = {"LESS": LESS, "LESSCHARSET": "utf-8", **os.environ}
        try:
            self._pager = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, text=True, env=env, encoding="utf-8", errors="backslashreplace"
            )
        except OSError:
            self._command = []
        self.write(waiting)

    def close(self) -> None:
        """Show the rest, and wait until the person has left the pager."""
        if self._pager is None:
            sys.stdout.write("".join(self._waiting))
            sys.stdout.flush()
            return
        assert self._pager.stdin is not None
        with suppress(BrokenPipeError):
            self._pager.stdin.close()
        self._pager.wait()


def _pager() -> list[str]:
    named = os.environ.get("PAGER")
    if named is None:
        return ["less"] if shutil.which("less") else []
    command = shlex.split(named)
    return [] if command == ["cat"] else command
