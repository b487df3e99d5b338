"""Colour on a terminal: dim, bold, and one stable colour for each author; plain text everywhere else."""

import os
import sys
import zlib
from typing import Literal

from mesh import settings

Colour = Literal["auto", "always", "never"]

_AUTHORS = (67, 71, 74, 97, 109, 132, 137, 139, 143, 167, 172, 173)
"""Of the 256 colours of xterm, those that can be read on black and on white."""

_SIGNS = {"good": "32", "bad": "31", "warn": "33", "star": "1;33", "place": "36"}


def is_coloured(wish: Colour | None = None) -> bool:
    """Tell whether to colour what goes to stdout: as `wish` says, else as the setting `color` does.

    `auto` colours on a terminal, unless `NO_COLOR` is set (https://no-color.org) or the terminal is a dumb one.
    """
    wanted = wish or settings.value("color")
    if wanted != "auto":
        return wanted == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colour_of(author: str) -> int:
    """Return the number of an author's colour: the same in every process."""
    return _AUTHORS[zlib.crc32(author.encode()) % len(_AUTHORS)]


class Ink:
    """Dresses text, or leaves it as it is."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def dim(self, text: str) -> str:
        return self._dress("2", text)

    def sign(self, meaning: str, text: str) -> str:
        """Colour by what it means: good, bad, warn, star, place; anything else stays plain."""
        return self._dress(_SIGNS[meaning], text) if meaning in _SIGNS else text

    def by(self, author: str, text: str) -> str:
        """Colour by author."""
        return self._dress(f"38;5;{colour_of(author)}", text)

    def _dress(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text
