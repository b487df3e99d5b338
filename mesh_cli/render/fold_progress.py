"""Says on a terminal how far a long log is read, and how the same is had sooner, while a command folds it."""

import sys
import time
from typing import TextIO

_SHOWN_AFTER_S = 1.0
_LONG_S = 3.0


class FoldProgress:
    """The progress of reading a log: a line on the screen that is replaced, from the first second on."""

    def __init__(
        self, screen: TextIO | None = None, *, shown_after_s: float = _SHOWN_AFTER_S, long_s: float = _LONG_S
    ) -> None:
        self._screen = sys.stderr if screen is None else screen
        self._shown_after_s, self._long_s = shown_after_s, long_s
        self._began = time.monotonic()
        self._line = ""

    def at(self, seq: int, head: int) -> None:
        """Take note that entry `seq` of `head` is read."""
        if time.monotonic() - self._began < self._shown_after_s or not self._screen.isatty():
            return
        line = f"reading the log: {seq:,} of {head:,} entries ({seq / max(1, head):.0%})"
        if line != self._line:
            self._screen.write(f"\r{line}\x1b[K")
            self._screen.flush()
            self._line = line

    def end(self, arena: str, count: int) -> None:
        """Take the line away, and say how the same is had sooner where the reading took long."""
        took_s = time.monotonic() - self._began
        if self._line:
            self._screen.write("\r\x1b[K")
        if took_s >= self._long_s and self._screen.isatty():
            self._screen.write(
                f"mesh: reading {count:,} entries took {took_s:.0f} s. A projector (python -m analytics) answers at "
                f"once, and is asked where it runs; also by mesh sql \"FROM proposals WHERE arena = '{arena}'\"\n"
            )
        self._screen.flush()
