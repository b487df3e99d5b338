"""Finds which of many values are near some, without comparing each: what `mesh.knobs.are_near` says of all of them.

Each knob that is asked for has a column of numbers. Few values are looked through. Of many, the columns together make a
grid, and the few cells that the bounds meet name candidates; the latest values, which have no cells, are looked
through. Where the bounds meet so many cells that one of the first values is probably near, these are looked through
before: mostly, who asks has seen enough then. Where the cells have too many values, the column in which fewest lie
within the bounds names the candidates, and where these are many too, the rest is looked through in parts. A comparison
with the bounds of all columns leaves a few candidates, which are compared exactly.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from agents.search.cells import Cells
from agents.search.samplers.protocol import Values, Where, where
from mesh.events import Scalar
from mesh.knobs import NEAR, Knob, are_near

MOST_ASKED, MOST_KEPT = 6, 64
"""Columns that a question looks at, and columns that are kept."""

TAIL = 4096
"""So many values are looked through, and so many of the latest ones may be in no order."""

_MOST_GRIDS, _MOST_MET, _FEW = 8, 1024, 32
"""Grids that are kept, values in cells beyond which the columns are asked, and those that need no arrays."""

_EXPECTED = 4.0
"""The first values are looked through before the cells, if so many of them are expected in the cells of the bounds."""

_NARROW, _PART = 16, 4096
"""Columns are looked up where at most this part of the values lies within the bounds; else all are looked through."""

_LEAST_SPARE = 1e-9
"""By how much of a range the bounds are wider than the share, because logarithms are rounded."""


class Nearness:
    """Values by their position, in the order in which they were added."""

    def __init__(self, tail: int = TAIL) -> None:
        self._tail = tail
        self._values: list[Values] = []
        self._columns: dict[Where, _Column] = {}
        self._grids: dict[tuple[Where, ...], Cells] = {}
        self._texts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def add(self, values: Values) -> int:
        """Add values and return their position."""
        self._values.append(values)
        return len(self._values) - 1

    def near(self, knobs: Sequence[Knob], values: Values, share: float = NEAR) -> Iterator[int]:
        """Yield the positions of those that `are_near` to some values, in order.

        Args:
            knobs: The knobs to compare, with their ranges.
            values: The values to compare with, by file and name of the knob.
            share: A share of the range, 0 to 1.
        """
        for position in self._candidates(knobs, values, share):
            if are_near(knobs, values, self._values[position], share):
                yield position

    def _candidates(self, knobs: Sequence[Knob], values: Values, share: float) -> Iterator[int]:
        import numpy as np

        knobs, size = knobs[:MOST_ASKED], len(self._values)
        asked = [(self._column(where(k)), *self._bounds(k, values.get(where(k)), share)) for k in knobs]
        cells = self._cells(tuple(map(where, knobs)))
        spans = cells.spans([column.numbers for column, _, _ in asked], size, [(low, high) for _, low, high in asked])
        if spans is None:
            yield from _among(asked, 0, size)
            return
        first = 0
        if cells.share(spans) * self._tail >= _EXPECTED:
            first = min(size, self._tail)
            yield from _among(asked, 0, first)
        met = cells.rows(spans, _MOST_MET)
        if met is not None:
            met = [at for at in met if at >= first] if first else met
            yield from _few_within(asked, met) if len(met) <= _FEW else _within(asked, np.array(met)).tolist()
            yield from _among(asked, max(first, cells.size), size)
            return
        ranges = [(*column.range_of(low, high), column) for column, low, high in asked if not math.isnan(low)]
        begin, end, narrowest = min(ranges, key=lambda each: each[1] - each[0], default=(0, 0, None))
        if narrowest is not None and end - begin <= size // _NARROW:
            found = narrowest.positions(begin, end)
            yield from np.sort(_within(asked, found[found >= first])).tolist()
            return
        for begin in range(first, size, _PART):
            yield from _among(asked, begin, min(begin + _PART, size))

    def _cells(self, places: tuple[Where, ...]) -> Cells:
        if places not in self._grids:
            if len(self._grids) >= _MOST_GRIDS:
                self._grids.clear()
            self._grids[places] = Cells(self._tail)
        return self._grids[places]

    def _bounds(self, knob: Knob, value: Scalar | None, share: float) -> tuple[float, float]:
        """Return the least and the greatest number that may be near a value; not a number where only None is."""
        number = self._number(value)
        if knob.choices or not isinstance(value, int | float) or knob.low >= knob.high:
            return number, number
        low, high = knob.scaled(knob.low), knob.scaled(knob.high)
        at, spare = min(1.0, max(0.0, (knob.scaled(value) - low) / (high - low))), share + _LEAST_SPARE
        least = -math.inf if at - spare <= 0 else knob.unscaled(low + (at - spare) * (high - low))
        most = math.inf if at + spare >= 1 else knob.unscaled(low + (at + spare) * (high - low))
        return min(least, number), max(most, number)

    def _column(self, at: Where) -> "_Column":
        if at not in self._columns:
            if len(self._columns) >= MOST_KEPT:
                self._columns.clear()
            self._columns[at] = _Column(self._tail)
        column = self._columns[at]
        if column.size < len(self._values):
            column.extend([self._number(values.get(at)) for values in self._values[column.size :]])
        return column

    def _number(self, value: Scalar | None) -> float:
        """Return a number that equal values share; not a number for None."""
        if value is None:
            return math.nan
        if isinstance(value, str):
            return -1e300 * (1 + self._texts.setdefault(value, len(self._texts)) * 1e-9)
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)


def _among(asked: Sequence[tuple["_Column", float, float]], begin: int, end: int) -> list[int]:
    """Return the positions in a range whose numbers lie within the bounds of all columns."""
    import numpy as np

    if begin >= end:
        return []
    inside = np.ones(end - begin, dtype=bool)
    for column, low, high in asked:
        numbers = column.numbers[begin:end]
        if math.isnan(low):
            inside &= np.isnan(numbers)
            continue
        if low > -math.inf:
            inside &= numbers >= low
        if high < math.inf or low == -math.inf:
            inside &= numbers <= high
    found: list[int] = (np.flatnonzero(inside) + begin).tolist()
    return found


def _within(asked: Sequence[tuple["_Column", float, float]], found: Any) -> Any:
    """Return those of some positions whose numbers lie within the bounds of all columns."""
    import numpy as np

    for column, low, high in asked:
        numbers = column.numbers[found]
        found = found[np.isnan(numbers) if math.isnan(low) else (numbers >= low) & (numbers <= high)]
    return found


def _few_within(asked: Sequence[tuple["_Column", float, float]], found: list[int]) -> list[int]:
    """Return the same of a few positions, sooner than by arrays."""
    return [
        at
        for at in found
        if all(
            (low <= (number := column.numbers.item(at)) <= high) or (math.isnan(low) and math.isnan(number))
            for column, low, high in asked
        )
    ]


class _Column:
    """Numbers in an array that doubles when it is full; all but the latest ones are also in order."""

    def __init__(self, tail: int) -> None:
        import numpy as np

        self.size, self.numbers = 0, np.empty(64)
        self._tail, self._order, self._sorted = tail, np.empty(0, dtype=int), np.empty(0)

    def extend(self, more: Sequence[float]) -> None:
        """Append numbers."""
        import numpy as np

        end = self.size + len(more)
        if end > len(self.numbers):
            longer = np.empty(max(end, 2 * len(self.numbers)))
            longer[: self.size] = self.numbers[: self.size]
            self.numbers = longer
        self.numbers[self.size : end] = more
        self.size = end

    def range_of(self, low: float, high: float) -> tuple[int, int]:
        """Return where the numbers from `low` to `high` begin and end among those in order."""
        import numpy as np

        if self.size - len(self._order) > max(self._tail, len(self._order) // 16):
            self._order = np.argsort(self.numbers[: self.size], kind="stable")
            self._sorted = self.numbers[self._order]
        return int(np.searchsorted(self._sorted, low, "left")), int(np.searchsorted(self._sorted, high, "right"))

    def positions(self, first: int, last: int) -> Any:
        """Return the positions of a range of those in order, and of all that are not."""
        import numpy as np

        return np.concatenate([self._order[first:last], np.arange(len(self._order), self.size)])
