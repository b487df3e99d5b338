"""The fresh scores of a board by proposal and worker class, kept up run by run: their spread, and what seeds share.

Sums are exact fractions, so in whatever order scores come and go, the numbers are those of a calculation from all of
them. What seeds share is estimated from the latest `MOST_SEEDED` scores: so many say it well, and no decision walks
over all that came before. So a question costs what is new, not what is known.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from fractions import Fraction

from mesh.board import Board, Run
from mesh.changes import ChangeReader
from mesh.equal_scores import is_fresh
from mesh.paired import SeedEffect, seed_effect
from mesh.standing import Rule

MOST_SEEDED = 1000
"""Scores of a worker class, the latest, from which it is estimated what seeds share."""

FreshRow = tuple[int, str, int, float]
"""Of a fresh score: the entry of its request, its worker class, its seed, and its value."""


class FreshScores:
    """The fresh scores of one board, all of them and those since the last promotion."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._state: tuple[str, int] = ("", 0)
        self.whole, self.recent = Pool(), Pool()

    def of(self, board: Board, rule: Rule) -> "FreshScores":
        """Return this, as of now; `rule` says which scores count."""
        changes = self._changes.look(board)
        if changes.is_new:
            self.whole = Pool()
        is_other = changes.is_new or self._state != (board.champion, board.promoted_seq)
        self._state = board.champion, board.promoted_seq
        for name in changes.ended:
            run, tree = board.runs[name], board.runs[name].requested.proposal
            if row := _row(board, rule, run):
                self.whole.add(tree, row)
                if not is_other and self._is_recent(tree, row):
                    self.recent.add(tree, row)
        for tree in changes.ruled:
            if board.proposals[tree].ruled_out:
                self.whole.drop(tree)
                self.recent.drop(tree)
        if is_other:
            self.recent = Pool()
            for tree, row in self.whole.since(board.promoted_seq):
                if tree != board.champion:
                    self.recent.add(tree, row)
            champion = board.proposals.get(board.champion)
            for name in champion.runs if champion else ():
                if row := _row(board, rule, board.runs[name]):
                    self.recent.add(board.champion, row)
        return self

    def _is_recent(self, tree: str, row: FreshRow) -> bool:
        return tree == self._state[0] or row[0] >= self._state[1]


class Pool:
    """Fresh scores of proposals.

    `most` is the number of scores from which it is estimated what seeds share.
    """

    def __init__(self, most: int = MOST_SEEDED) -> None:
        self._most = most
        self._rows: dict[str, list[tuple[int, str, int, float]]] = {}
        self._spreads: dict[str, dict[str, float | _Squares]] = {}
        self._sums: dict[str, tuple[Fraction, int]] = {}

    def add(self, tree: str, row: FreshRow) -> None:
        """Add a score of a proposal."""
        seq, name, seed, value = row
        insort(self._rows.setdefault(name, []), (seq, tree, seed, value))
        spreads = self._spreads.setdefault(name, {})
        before = spreads.get(tree)
        if before is None:  # one score has no spread
            spreads[tree] = value
            return
        if isinstance(before, float | int):
            before = spreads[tree] = _Squares(before)
        total, dof = self._sums.get(name, (Fraction(), 0))
        total -= Fraction(before.about_mean)
        before.add(value)
        self._sums[name] = (total + Fraction(before.about_mean), dof + 1)

    def drop(self, tree: str) -> None:
        """Take all scores of a proposal away."""
        for name, spreads in self._spreads.items():
            if (found := spreads.pop(tree, None)) is not None:
                self._rows[name] = [row for row in self._rows[name] if row[1] != tree]
                if isinstance(found, _Squares):
                    self._sums[name] = self._less(name, found)

    def since(self, seq: int) -> Iterable[tuple[str, FreshRow]]:
        """Yield the proposal and the row of each score that was requested from an entry on."""
        for name, rows in self._rows.items():
            for asked, tree, seed, value in rows[bisect_left(rows, (seq,)) :]:
                yield tree, (asked, name, seed, value)

    def spread(self, worker_class: str, without: str) -> tuple[float, int]:
        """Return the pooled standard deviation in a worker class and its degrees of freedom, or those of all classes.

        Args:
            worker_class: The worker class; if no proposal has several scores there, all classes count.
            without: A proposal to leave out; "" for none.
        """
        own = self._pooled([worker_class], without)
        return own if own[1] else self._pooled([*self._sums], without)

    def _pooled(self, classes: Sequence[str], without: str) -> tuple[float, int]:
        whole, count = Fraction(), 0
        for name in classes:
            left_out = self._spreads.get(name, {}).get(without)
            total, dof = self._sums.get(name, (Fraction(), 0))
            if isinstance(left_out, _Squares):
                total, dof = self._less(name, left_out)
            whole, count = whole + total, count + dof
        return (math.sqrt(float(whole) / count) if count else math.inf), count

    def _less(self, name: str, found: "_Squares") -> tuple[Fraction, int]:
        total, dof = self._sums[name]
        return total - Fraction(found.about_mean), dof - found.dof

    def seeds(self, worker_class: str, without: str) -> SeedEffect | None:
        """Return what the seeds share in a worker class, without one proposal; of two scores on a seed, the later."""
        columns: dict[str, dict[int, float]] = {}
        for _, tree, seed, value in self._rows.get(worker_class, [])[-self._most :]:
            if tree != without:
                columns.setdefault(tree, {})[seed] = value
        return seed_effect([column for column in columns.values() if len(column) > 1])


class _Squares:
    """Exact sums of the scores of one proposal; `about_mean` is the sum of their squared distances from their mean."""

    __slots__ = ("_squares", "_total", "about_mean", "dof")

    def __init__(self, first: float) -> None:
        self._total = Fraction(first)
        self._squares = self._total * self._total
        self.about_mean, self.dof = 0.0, 0

    def add(self, value: float) -> None:
        exact = Fraction(value)
        self._total += exact
        self._squares += exact * exact
        self.dof += 1
        self.about_mean = float(self._squares - self._total * self._total / (self.dof + 1))


def squares(values: Sequence[float]) -> tuple[float, int]:
    """Return the sum of the squared distances of scores from their mean, and their degrees of freedom.

    It is calculated exactly and rounded once, so equal values have a spread of exactly 0.
    """
    if not values:
        return 0.0, 0
    found = _Squares(values[0])
    for value in values[1:]:
        found.add(value)
    return found.about_mean, found.dof


def pooled_spread(groups: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """Return the pooled standard deviation of groups by their `squares`, and its degrees of freedom."""
    dof = sum(each for _, each in groups)
    return (math.sqrt(math.fsum(total for total, _ in groups) / dof) if dof else math.inf), dof


def _row(board: Board, rule: Rule, run: Run) -> FreshRow | None:
    """Return the row of a fresh score that counts; None for any other run."""
    if not run.finished or run.value is None or not is_fresh(board, rule, run):
        return None
    return run.seq, run.finished.worker_class, run.requested.seed, run.value
