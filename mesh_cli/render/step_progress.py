"""Says on a terminal at once what a command that takes a while is doing."""

import sys
from typing import Self, TextIO


class StepProgress:
    """A line on the screen about the present step, which the next one replaces; nothing where there is no terminal."""

    def __init__(self, screen: TextIO | None = None) -> None:
        self._screen = sys.stderr if screen is None else screen
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def at(self, step: str) -> None:
        """Say what begins now."""
        self._write(step)

    def _write(self, line: str) -> None:
        if self._screen.isatty() and (line or self._is_shown):
            self._screen.write(f"\r{line}\x1b[K")
            self._screen.flush()
            self._is_shown = bool(line)
