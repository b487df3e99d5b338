"""A grid over columns of numbers, whose cells say which rows they hold: a small box meets few cells.

The edges of a column are quantiles of its numbers, so that rows are spread over the cells wherever they lie. They are
found again when the rows have doubled. The latest rows have no cells: it is as soon to look at each of them.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")

BINS = 16
"""Parts of a column with equally many of its numbers."""

_MOST_RANGES = 256
"""Rows of cells of a box beyond which it is not looked up; the cells of such a row differ in one column alone."""

_LATEST, _LATEST_PART = 1024, 64
"""So many of the latest rows have no cells yet, or this part of the rows that have, whichever is more."""

Box = Sequence[tuple[float, float]]
"""The least and the greatest number in each column; both are not a number where only that is meant."""


class Cells:
    """The rows of some columns by their cells.

    Args:
        least: So many rows have no cells: it is as soon to look at all of them.
    """

    def __init__(self, least: int) -> None:
        self._least, self._built = least, 0
        self._edges: list[list[float]] = []
        self._widest = 0
        self._order: Any = ()
        self._sorted: Any = ()

    def spans(self, columns: Sequence[Any], size: int, box: Box) -> list[range] | None:
        """Return the parts of each column that a box meets; None as long as no row has cells.

        Args:
            columns: Arrays of numbers; all but new rows have the same numbers as before.
            size: How many of their rows count.
            box: The bounds in each column.
        """
        if size <= self._least or not columns:
            return None
        self._extend(columns, size, box)
        return [
            range(_bin(edges, low), _bin(edges, high) + 1) for edges, (low, high) in zip(self._edges, box, strict=True)
        ]

    def share(self, spans: Sequence[range]) -> float:
        """Return the share of all cells that lie in some parts of the columns, 0 to 1."""
        found = 1.0
        for edges, span in zip(self._edges, spans, strict=True):
            found *= len(span) / max(len(span), len(edges) + 1)
        return found

    def rows(self, spans: Sequence[range], most: int) -> list[int] | None:
        """Return in order the rows with cells in some parts of the columns; None where cells or rows are too many.

        Args:
            spans: The parts of each column.
            most: How many rows at most.
        """
        import numpy as np

        *others, widest = self._in_order(spans)
        keys = [0]
        for span in others:
            if len(keys) * len(span) > _MOST_RANGES:
                return None
            keys = [key * (BINS + 1) + at for key in keys for at in span]
        firsts = [key * (BINS + 1) + widest.start for key in keys]
        ends = [key * (BINS + 1) + widest.stop for key in keys]
        found = np.searchsorted(self._sorted, np.array([*firsts, *ends], dtype=self._sorted.dtype)).tolist()
        ranges = [(at, end) for at, end in zip(found[: len(keys)], found[len(keys) :], strict=True) if end > at]
        if sum(end - at for at, end in ranges) > most:
            return None
        return sorted([row for at, end in ranges for row in self._order[at:end].tolist()])

    @property
    def size(self) -> int:
        """How many rows have cells; they are the first ones."""
        return len(self._order)

    def _in_order(self, each: Sequence[_T]) -> list[_T]:
        """Return what belongs to the columns in the order of the digits of a key."""
        return [*each[: self._widest], *each[self._widest + 1 :], each[self._widest]]

    def _extend(self, columns: Sequence[Any], size: int, box: Box) -> None:
        import numpy as np

        if size > 2 * self._built:
            self._built = size
            self._edges = [_edges(column[:size]) for column in columns]
            met = [_bin(edges, high) - _bin(edges, low) for edges, (low, high) in zip(self._edges, box, strict=True)]
            self._widest = met.index(max(met))  # mostly, other boxes are wide there too
            self._order = self._sorted = np.empty(0, dtype=np.int32)
        before = self.size
        if before and size - before <= max(min(self._least, _LATEST), before // _LATEST_PART):
            return
        keys = np.zeros(size - before, dtype=np.int32)
        for edges, column in zip(self._in_order(self._edges), self._in_order(columns), strict=True):
            keys = keys * (BINS + 1) + np.searchsorted(edges, column[before:size]).astype(np.int32)
        order = np.argsort(keys, kind="stable").astype(np.int32)
        keys, rows = keys[order], order + np.int32(before)
        at = np.searchsorted(self._sorted, keys, "right")
        self._sorted, self._order = np.insert(self._sorted, at, keys), np.insert(self._order, at, rows)


def _edges(column: Any) -> list[float]:
    import numpy as np

    numbers = column[~np.isnan(column)]
    if not len(numbers):
        return []
    at = np.linspace(0, len(numbers) - 1, BINS + 1)[1:-1].astype(int)
    edges: list[float] = np.unique(np.partition(numbers, at)[at]).tolist()
    return edges


def _bin(edges: list[float], number: float) -> int:
    return len(edges) if math.isnan(number) else bisect_left(edges, number)
