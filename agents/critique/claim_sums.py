"""The claims of an arena by worker class, kept up fact by fact: how many, their mean and their variance.

Sums are exact fractions, so the results are those of the module `statistics` to the last bit, in whatever order the
claims came and went.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

import msgspec

from mesh.board import Board
from mesh.changes import ChangeReader
from mesh.evidence import claim


class ClaimSpread(msgspec.Struct, frozen=True):
    """How claims are spread: their number, mean and variance; the variance is 0 for fewer than two."""

    count: int
    mean: float
    variance: float


def spread_of(claims: Sequence[float]) -> ClaimSpread:
    """Return how claims are spread."""
    if not claims:
        return ClaimSpread(0, 0.0, 0.0)
    variance = statistics.variance(claims) if len(claims) > 1 else 0.0
    return ClaimSpread(len(claims), statistics.fmean(claims), variance)


class ClaimSums:
    """The spread of the claims of a board, from sums that change with its runs."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._forget()

    def _forget(self) -> None:
        self._claims: dict[str, tuple[float, str]] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._sums: defaultdict[str, Fraction] = defaultdict(Fraction)
        self._squares: defaultdict[str, Fraction] = defaultdict(Fraction)

    def of(self, board: Board, worker_class: str) -> ClaimSpread:
        """Return how the claims of a worker class are spread."""
        changes = self._changes.look(board)
        if changes.is_new:
            self._forget()
        for tree in changes.touched(board):
            if old := self._claims.pop(tree, None):
                self._add(*old, -1)
            if new := claim(board, tree):
                self._claims[tree] = new
                self._add(*new, 1)
        count, total, squares = self._counts[worker_class], self._sums[worker_class], self._squares[worker_class]
        if not count:
            return ClaimSpread(0, 0.0, 0.0)
        variance = float((squares - total * total / count) / (count - 1)) if count > 1 else 0.0
        return ClaimSpread(count, float(total) / count, variance)

    def _add(self, value: float, worker_class: str, times: int) -> None:
        exact = Fraction(value)
        self._counts[worker_class] += times
        self._sums[worker_class] += times * exact
        self._squares[worker_class] += times * exact * exact
