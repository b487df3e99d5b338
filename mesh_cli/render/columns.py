"""Tables of plain text that fit a terminal: one column fills the rest, the least important columns are left out."""

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

GAP = 1
FILL_AT_LEAST = 20
"""Characters that the filling column keeps; below that, another column is left out."""


class Column(NamedTuple):
    """A column. In a narrow terminal, high `rank`s are left out first, rank 0 never; one column `fills`."""

    name: str
    right: bool = False
    rank: int = 0
    fills: bool = False


def width_of_output() -> int | None:
    """Return the width of the terminal, None if standard output is not one; then nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the header and the rows as lines of at most `width` cells (None: as long as they are)."""
    natural = [
        max(cell_width(cell) for cell in (column.name, *(row[i] for row in rows))) for i, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if width is not None:
        while _needed(columns, natural, shown) > width and any(columns[i].rank for i in shown):
            worst = max(columns[i].rank for i in shown)
            shown.remove(next(i for i in reversed(shown) if columns[i].rank == worst))
        used = sum(natural[i] + GAP for i in shown if not columns[i].fills)
        natural = [
            min(n, max(1, width - used)) if column.fills else n for n, column in zip(natural, columns, strict=True)
        ]
    lines = []
    for row in ([column.name for column in columns], *rows):
        cells = [_padded(row[i], natural[i], right=columns[i].right) for i in shown]
        line = (" " * GAP).join(cells).rstrip()
        lines.append(line if width is None else cut_cell(line, width))
    return lines


def cell_width(text: str) -> int:
    """Return how many cells of a terminal a text takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut_cell(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, with an ellipsis where something is missing."""
    if cell_width(text) <= width:
        return text
    kept, used = [], 1
    for character in text:
        used += cell_width(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…" if width > 0 else ""


def _needed(columns: Sequence[Column], natural: Sequence[int], shown: Sequence[int]) -> int:
    widths = [min(natural[i], FILL_AT_LEAST) if columns[i].fills else natural[i] for i in shown]
    return sum(widths) + GAP * (len(shown) - 1)


def _padded(text: str, width: int, *, right: bool) -> str:
    text = cut_cell(text, width)
    space = " " * (width - cell_width(text))
    return space + text if right else text + space
