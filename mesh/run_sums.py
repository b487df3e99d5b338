"""What is kept up of the ended runs of a proposal with many: a champion has thousands, and each decision asks again.

A question costs the runs that have ended since the last one. `RunByRun` keeps anything that one run after the other is
added to; `RunSums` are the scores, by worker class and in the order of the requests. Pure: the numbers are those that a
walk over all runs gives, to the last bit.
"""

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mesh.board import Board, Run
from mesh.current_runs import runs_kept
from mesh.events import PROOF
from mesh.last_boards import LastBoards
from mesh.paired import SummedScores
from mesh.records import FEW_RUNS

_MOST = 1000
"""Proposals of which something is kept."""


class Added(Protocol):
    """What runs are added to, in whatever order."""

    def add(self, run: Run) -> None:
        """Add a run that counts and has ended."""


_T = TypeVar("_T", bound=Added)
_V = TypeVar("_V")


class RunByRun(Generic[_T]):
    """Keeps something of the ended current runs of proposals, for the boards that were asked about last.

    `start` makes it for a proposal without runs.
    """

    def __init__(self, start: Callable[[Board, str], _T]) -> None:
        self._start = start
        self._kept: LastBoards[dict[str, tuple[list[Run], int, _T]]] = LastBoards(dict)

    def of(self, board: Board, tree: str) -> _T:
        """Return what is kept of a proposal, with all current runs that have ended."""
        kept = self._kept.of(board)
        if len(kept) > _MOST:
            kept.clear()
        if board.proposals[tree].ruled_out:
            return self._start(board, tree)
        noticed = runs_kept(board, tree).noticed
        before, count, found = kept.get(tree, (noticed, 0, None))
        if found is None or before is not noticed:
            count, found = 0, self._start(board, tree)
        if len(noticed) > count:
            for run in noticed[count:]:
                found.add(run)
        kept[tree] = (noticed, len(noticed), found)
        return found


class InOrder(Generic[_V]):
    """Items in the order of the entries that they belong to; a list of the items is `items`."""

    def __init__(self) -> None:
        self._seqs, self.items = list[int](), list[_V]()

    def put(self, seq: int, item: _V) -> bool:
        """Add the item of an entry; tell whether it is the last one."""
        at = bisect_right(self._seqs, seq)
        self._seqs.insert(at, seq)
        self.items.insert(at, item)
        return at == len(self._seqs) - 1


class BySeed:
    """Scores by seed, in the order of the requests; of several on one seed the last one counts.

    A mapping that was returned never changes.
    """

    def __init__(self) -> None:
        self._rows: InOrder[tuple[int, float]] = InOrder()
        self._scores = SummedScores()
        self._is_given = False

    @property
    def scores(self) -> SummedScores:
        """The scores by seed."""
        self._is_given = True
        return self._scores

    def put(self, seq: int, seed: int, value: float) -> None:
        """Add the score of the run that entry `seq` requested."""
        if not self._rows.put(seq, (seed, value)):
            self._scores = SummedScores(self._rows.items)
        else:
            self._scores = self._scores.copy() if self._is_given else self._scores
            self._scores.put(seed, value)
        self._is_given = False


class RunSums:
    """The scores of one proposal; worker class "" is all of them. Baselines have proofs of every lane.

    `scores` are all scores, `fresh` those that prove, by seed, and `controls` those of control runs, by seed; `proofs`
    are the runs that prove, and `claims` the runs that do not. `classes` are those of the scores.
    """

    def __init__(self, *, unchosen: bool) -> None:
        self._unchosen = unchosen
        self.counts: Counter[str] = Counter()
        self.scores: defaultdict[str, InOrder[float]] = defaultdict(InOrder)
        self.classes: InOrder[str] = InOrder()
        self.proofs: defaultdict[str, InOrder[Run]] = defaultdict(InOrder)
        self.fresh: defaultdict[str, BySeed] = defaultdict(BySeed)
        self.controls: defaultdict[str, BySeed] = defaultdict(BySeed)
        self.claims: InOrder[Run] = InOrder()
        self.explore_s: InOrder[float] = InOrder()
        self.seeds: list[int] = []
        self.seeds_of: defaultdict[str, set[int]] = defaultdict(set)
        self.own_seeds = 0
        self.stages: defaultdict[str, InOrder[float]] = defaultdict(InOrder)

    def add(self, run: Run) -> None:
        """Add a run that counts and has ended."""
        assert run.finished
        seq, seed, lane, value = run.seq, run.requested.seed, run.requested.lane, run.value
        own = run.finished.worker_class
        classes = dict.fromkeys(("", own))
        if value is not None:
            self.counts[own] += 1
            self.classes.put(seq, own)
            for name in classes:
                self.scores[name].put(seq, value)
        if self._unchosen or lane in PROOF:
            for name in classes:
                self.proofs[name].put(seq, run)
                if value is not None:
                    self.fresh[name].put(seq, seed, value)
        if lane == "control" and value is not None:
            for name in classes:
                self.controls[name].put(seq, seed, value)
        if lane not in PROOF:
            self.claims.put(seq, run)
        else:
            self.own_seeds += run.finished.own_seeds > 0
        if lane == "explore":
            self.explore_s.put(seq, run.finished.trial_s)
        insort(self.seeds, seed)
        for name in {*classes, run.requested.worker_class}:
            self.seeds_of[name].add(seed)
        for end in run.finished.stages:
            if end.value is not None:
                self.stages[end.stage].put(run.finished_seq, end.value)


def _start(board: Board, tree: str) -> RunSums:
    opened = board.opened
    has_items = opened is not None and opened.spec.objective.noise == "items"
    return RunSums(unchosen=opened is not None and tree == opened.base_tree and not has_items)


_sums: RunByRun[RunSums] = RunByRun(_start)


def run_sums(board: Board, tree: str) -> RunSums:
    """Return the sums of a proposal."""
    return _sums.of(board, tree)


def has_many(board: Board, tree: str) -> bool:
    """Tell whether a proposal has so many runs that sums are kept; of fewer, a look at each costs less."""
    return len(board.proposals[tree].runs) > FEW_RUNS


def open_runs(board: Board, tree: str) -> list[Run]:
    """Return the current runs of a proposal that have not ended, in the order of their requests."""
    if board.proposals[tree].ruled_out:
        return []
    return runs_kept(board, tree).open(board.is_current)
