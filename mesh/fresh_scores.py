"""The fresh scores of a board by proposal and worker class, kept up fact by fact: their spread, and what seeds share.

A proposal with one fresh score says nothing of either. So the cost of a question is that of the proposals with several.
"""

import math
from collections.abc import Sequence

from mesh.board import Board
from mesh.changes import ChangeReader
from mesh.events import PROOF
from mesh.paired import SeedEffect, seed_effect
from mesh.standing import Rule

_Row = tuple[int, str, int, float]
"""Of a fresh score: the entry of its request, its worker class, its seed, and its value."""


class FreshScores:
    """The fresh scores of the board that was asked about last, all of them and those since the last promotion."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._state: tuple[str, int] = ("", 0)
        self._rows: dict[str, list[_Row]] = {}
        self.whole, self.recent = Pool(), Pool()

    def of(self, board: Board, rule: Rule) -> "FreshScores":
        """Return this, as of now; `rule` says which scores count."""
        changes = self._changes.look(board)
        if changes.is_new:
            self._rows, self.whole = {}, Pool()
        touched = [*changes.touched(board)]
        for tree in touched:
            rows = _rows_of(board, rule, tree)
            if rows != self._rows.get(tree, []):
                self._rows[tree] = rows
                self.whole.put(tree, board.proposals[tree].seq, rows)
        if changes.is_new or self._state != (board.champion, board.promoted_seq):
            self._state, self.recent, touched = (board.champion, board.promoted_seq), Pool(), [*self._rows]
        for tree in touched:
            is_champion = tree == board.champion
            later = [row for row in self._rows.get(tree, []) if is_champion or row[0] >= board.promoted_seq]
            self.recent.put(tree, board.proposals[tree].seq, later)
        return self


class Pool:
    """Fresh scores of proposals."""

    def __init__(self) -> None:
        self._spreads: dict[str, dict[str, tuple[float, int]]] = {}
        self._columns: dict[str, dict[str, tuple[int, dict[int, float]]]] = {}

    def put(self, tree: str, seq: int, rows: Sequence[_Row]) -> None:
        """Take the scores of a proposal, which entry `seq` posted, in place of those known before."""
        for spreads in self._spreads.values():
            spreads.pop(tree, None)
        for columns in self._columns.values():
            columns.pop(tree, None)
        for name in dict.fromkeys(row[1] for row in rows):
            of_class = [row for row in rows if row[1] == name]
            if len(of_class) > 1:
                self._spreads.setdefault(name, {})[tree] = squares([row[3] for row in of_class])
            column = {row[2]: row[3] for row in of_class}
            if len(column) > 1:
                self._columns.setdefault(name, {})[tree] = (seq, column)

    def spread(self, worker_class: str, without: str) -> tuple[float, int]:
        """Return the pooled standard deviation in a worker class and its degrees of freedom, or those of all classes.

        Args:
            worker_class: The worker class; if no proposal has several scores there, all classes count.
            without: A proposal to leave out; "" for none.
        """
        own = self._pooled([worker_class], without)
        return own if own[1] else self._pooled([*self._spreads], without)

    def _pooled(self, classes: Sequence[str], without: str) -> tuple[float, int]:
        kept = [self._spreads.get(name, {}) for name in classes]
        found = [spread for each in kept for tree, spread in each.items() if tree != without]
        return pooled_spread(found)

    def seeds(self, worker_class: str, without: str) -> SeedEffect | None:
        """Return what the seeds share in a worker class, without one proposal."""
        columns = self._columns.get(worker_class, {})
        order = sorted((seq, tree) for tree, (seq, _) in columns.items() if tree != without)
        return seed_effect([columns[tree][1] for _, tree in order])


def squares(values: Sequence[float]) -> tuple[float, int]:
    """Return the sum of the squared distances of scores from their mean, and their degrees of freedom.

    Welford's method sums the squares, because the textbook formula finds a spread of 1e-17 in 0.1, 0.1, 0.1. Equal
    values have a spread of exactly 0. Source: B. P. Welford, Technometrics 4(3), 1962.
    """
    total, mean = 0.0, 0.0
    for count, value in enumerate(values, 1):
        off = value - mean
        mean += off / count
        total += off * (value - mean)
    return total, max(0, len(values) - 1)


def pooled_spread(groups: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """Return the pooled standard deviation of groups by their `squares`, and its degrees of freedom."""
    dof = sum(each for _, each in groups)
    return (math.sqrt(math.fsum(total for total, _ in groups) / dof) if dof else math.inf), dof


def _rows_of(board: Board, rule: Rule, tree: str) -> list[_Row]:
    """Return the fresh scores of a proposal that count, in the order of the requests."""
    proposal = board.proposals[tree]
    if proposal.ruled_out:
        return []
    runs = [board.runs[name] for name in proposal.runs]
    if not rule.exact:
        proven = [run for run in runs if run.requested.lane in PROOF]
        claims = [run for run in runs if run.requested.lane not in PROOF] if tree == rule.base_tree else []
        runs = [*proven, *claims]
    return [
        (run.seq, run.finished.worker_class, run.requested.seed, run.value)
        for run in runs
        if run.finished and run.value is not None and run.evaluator in ("", rule.evaluator)
    ]
