"""Finds which of many values are near some, without comparing each: what `mesh.knobs.are_near` says of all of them.

Each knob that is asked for has a column of numbers. The columns together make a grid, and the few cells that the bounds
meet name candidates. Where they meet many cells, or these have many values, the column in which fewest lie within the
bounds names the candidates. A comparison with the bounds of all columns leaves a few, which are compared exactly.
Where each column has many within the bounds, the values are looked through in parts, as far as they are asked for.
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

TAIL = 1024
"""So many of the latest values are looked at each time; those before them are in order."""

_MOST_GRIDS, _MOST_MET, _FEW = 8, 1024, 16
"""Grids that are kept, values in cells beyond which the columns are asked, and those that need no arrays."""

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

        knobs = knobs[:MOST_ASKED]
        asked = [(self._column(where(k)), *self._bounds(k, values.get(where(k)), share)) for k in knobs]
        met = self._met(tuple(map(where, knobs)), asked)
        if met is not None:
            yield from _few_within(asked, met) if len(met) <= _FEW else _within(asked, np.array(met)).tolist()
            return
        ranges = [(*column.range_of(low, high), column) for column, low, high in asked if not math.isnan(low)]
        first, last, narrowest = min(ranges, key=lambda each: each[1] - each[0], default=(0, 0, None))
        if narrowest is not None and last - first <= len(self._values) // _NARROW:
            yield from np.sort(_within(asked, narrowest.positions(first, last))).tolist()
            return
        for begin in range(0, len(self._values), _PART):  # mostly, who asks has seen enough in the first part
            yield from _within(asked, np.arange(begin, min(begin + _PART, len(self._values)))).tolist()

    def _met(self, places: tuple[Where, ...], asked: Sequence[tuple["_Column", float, float]]) -> list[int] | None:
        """Return the positions in the cells of a grid that the bounds meet; None where they are many."""
        if places not in self._grids:
            if len(self._grids) >= _MOST_GRIDS:
                self._grids.clear()
            self._grids[places] = Cells(self._tail)
        box = [(low, high) for _, low, high in asked]
        return self._grids[places].rows([column.numbers for column, _, _ in asked], len(self._values), box, _MOST_MET)

    def _bounds(self, knob: Knob, value: Scalar | None, share: float) -> tuple[float, float]:
        """Return the least and the greatest number that may be near a value; not a number where only None is."""
        number = self._number(value)
        if knob.choices or not isinstance(value, int | float) or knob.low >= knob.high:
            return number, number
        low, high = (knob.scaled(end) for end in (knob.low, knob.high))
        at, spare = knob.place(value), share + _LEAST_SPARE
        least = -math.inf if at - spare <= 0 else knob.unscaled(low + (at - spare) * (high - low))
        most = math.inf if at + spare >= 1 else knob.unscaled(low + (at + spare) * (high - low))
        return min(least, number), max(most, number)

    def _column(self, at: Where) -> "_Column":
        if at not in self._columns:
            if len(self._columns) >= MOST_KEPT:
                self._columns.clear()
            self._columns[at] = _Column(self._tail)
        column = self._columns[at]
        column.extend(self._number(values.get(at)) for values in self._values[column.size :])
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

    def extend(self, more: Iterator[float]) -> None:
        """Append numbers."""
        import numpy as np

        for number in more:
            if self.size == len(self.numbers):
                self.numbers = np.concatenate([self.numbers, np.empty(self.size)])
            self.numbers[self.size] = number
            self.size += 1

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
