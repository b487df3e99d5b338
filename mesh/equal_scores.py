"""Whether fresh scores show that a metric is exact, kept up run by run: by worker class, what differs or repeats."""

import math
from collections.abc import Callable

from mesh.board import Board, Run
from mesh.changes import ChangeReader
from mesh.events import PROOF
from mesh.records import is_aside
from mesh.standing import Rule

ROUNDING = 1e-12
"""Means of equal scores differ by rounding, by less than this share of the scores."""

FindClaim = Callable[[Board, str], tuple[float, str] | None]
"""Returns the mean of the scores that found a proposal, and their worker class."""


def is_fresh(board: Board, rule: Rule, run: Run) -> bool:
    """Tell whether a run counts as fresh evidence under the present evaluator, if it has a score."""
    known, lane = board.proposals.get(run.requested.proposal), run.requested.lane
    if known is None or known.seq >= run.seq or known.ruled_out or is_aside(run.requested):
        return False
    counts = rule.exact or lane in PROOF or run.requested.proposal == rule.base_tree
    return counts and run.evaluator in ("", rule.evaluator)


class EqualScores:
    """What differs among the fresh scores of one board."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._classes: dict[str, _OfClass] = {}

    def of(self, board: Board, rule: Rule, worker_class: str, claim: FindClaim) -> "_OfClass":
        """Return what is known of a worker class."""
        changes = self._changes.look(board)
        if changes.is_new:
            self._classes = {}
        touched = dict[str, None]()
        for name in changes.ended:
            run = board.runs[name]
            touched[run.requested.proposal] = None
            if run.finished and is_fresh(board, rule, run):
                self._classes.setdefault(run.finished.worker_class, _OfClass()).add(run)
        for tree in (*touched, *changes.ruled):
            for name, each in self._classes.items():
                if tree not in board.proposals or board.proposals[tree].ruled_out:
                    each.drop(tree)
                elif tree in each:
                    own = claim(board, tree)
                    each.compare(tree, own[0] if own and own[1] == name else None)
        return self._classes.get(worker_class) or _OfClass()


class _OfClass:
    """The fresh scores of a worker class."""

    def __init__(self) -> None:
        self._scores: dict[str, tuple[int, float, float, float]] = {}
        self._different: set[str] = set()
        self._items: dict[str, tuple[str, set[int]]] = {}
        self._changed: set[str] = set()
        self._several: set[str] = set()

    def __contains__(self, tree: str) -> bool:
        return tree in self._scores

    @property
    def are_equal(self) -> bool:
        """Whether each proposal has one score."""
        return not self._different

    @property
    def repeats(self) -> bool:
        """Whether another seed changes no item: some proposal ran on several seeds, and no two runs of one differ."""
        return bool(self._several) and not self._changed

    def add(self, run: Run) -> None:
        assert run.finished
        tree, value = run.requested.proposal, run.value
        if value is not None:
            seq, first, least, most = self._scores.get(tree, (run.seq, value, value, value))
            first = value if run.seq < seq else first
            self._scores[tree] = (min(seq, run.seq), first, min(least, value), max(most, value))
        if run.finished.items:
            name, seeds = self._items.setdefault(tree, (run.finished.items.sha256, set()))
            seeds.add(run.requested.seed)
            if name != run.finished.items.sha256:
                self._changed.add(tree)
            if len(seeds) > 1:
                self._several.add(tree)

    def drop(self, tree: str) -> None:
        self._scores.pop(tree, None)
        self._items.pop(tree, None)
        for those in (self._different, self._changed, self._several):
            those.discard(tree)

    def compare(self, tree: str, claimed: float | None) -> None:
        _, first, least, most = self._scores[tree]
        seen = first if claimed is None else claimed
        if all(math.isclose(seen, value, rel_tol=ROUNDING) for value in (least, most)):
            self._different.discard(tree)
        else:
            self._different.add(tree)
