"""A grid over columns of numbers, whose cells say which rows they hold: a small box meets few cells.

The edges of a column are quantiles of its numbers, so that rows are spread over the cells wherever they lie. They are
found again when the rows have doubled. Rows that come meanwhile go into the cells that there are.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import product
from typing import Any

BINS = 16
"""Parts of a column with equally many of its numbers."""

_MOST_CELLS = 64
"""Cells of a box beyond which it is not looked up."""

_LATEST = 1024
"""Rows in the latest cells, which are a dictionary, or a sixteenth of all rows, whichever is more."""

Box = Sequence[tuple[float, float]]
"""The least and the greatest number in each column; both are not a number where only that is meant."""


class Cells:
    """The rows of some columns by their cells.

    Args:
        least: So many rows have no cells: it is as soon to look at all of them.
    """

    def __init__(self, least: int) -> None:
        self._least, self._size, self._built = least, 0, 0
        self._edges: list[list[float]] = []
        self._keys = array("q")
        self._order: Any = ()
        self._sorted: Any = ()
        self._latest: dict[int, list[int]] = {}

    def rows(self, columns: Sequence[Any], size: int, box: Box, most: int) -> list[int] | None:
        """Return in order the rows in all cells that a box meets; None where cells or rows are too many.

        Args:
            columns: Arrays of numbers; all but new rows have the same numbers as before.
            size: How many of their rows count.
            box: The bounds in each column.
            most: How many rows at most.
        """
        if size <= self._least or not columns:
            return None
        self._extend(columns, size)
        spans = [
            range(_bin(edges, low), _bin(edges, high) + 1) for edges, (low, high) in zip(self._edges, box, strict=True)
        ]
        count = 1
        for span in spans:
            count *= len(span)
        return None if count > _MOST_CELLS else self._within([_key(place) for place in product(*spans)], most)

    def _within(self, keys: list[int], most: int) -> list[int] | None:
        import numpy as np

        firsts, ends = (np.searchsorted(self._sorted, keys, side).tolist() for side in ("left", "right"))
        latest = [self._latest.get(key, ()) for key in keys]
        if sum(ends) - sum(firsts) + sum(map(len, latest)) > most:
            return None
        found = [row for each in latest for row in each]
        for first, end in zip(firsts, ends, strict=True):
            if end > first:
                found += self._order[first:end].tolist()
        return sorted(found)

    def _extend(self, columns: Sequence[Any], size: int) -> None:
        import numpy as np

        if size > 2 * self._built:
            self._built, self._size, self._keys = size, 0, array("q")
            self._order, self._sorted, self._latest = (), (), {}
            self._edges = [_edges(column[:size]) for column in columns]
        before, self._size = self._size, size
        new = np.zeros(size - before, dtype=np.int64)
        for edges, column in zip(self._edges, columns, strict=True):
            new = new * (BINS + 1) + np.searchsorted(edges, column[before:size])
        self._keys.frombytes(new.tobytes())
        if size - len(self._order) > max(_LATEST, size // 16):
            every = np.array(self._keys)
            self._order = np.argsort(every, kind="stable")
            self._sorted, self._latest = every[self._order], {}
            return
        for row, key in enumerate(new.tolist(), before):
            self._latest.setdefault(key, []).append(row)


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


def _key(place: Sequence[int]) -> int:
    key = 0
    for each in place:
        key = key * (BINS + 1) + each
    return key
