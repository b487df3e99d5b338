"""The runs of a proposal that count now, kept up run by run: a champion has thousands, and a decision asks again."""

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Protocol

from mesh.events import ArenaOpened
from mesh.kept import KeptProposals, KeptRuns
from mesh.last_boards import LastBoards
from mesh.records import Run

_MOST = 1000
"""Proposals whose runs are kept."""

_State = tuple[int, int, int]
"""The version in force, the entry of the first number in it, and how often the proposal was taken out of its pack.

The first two say which ended runs count; with the third, the runs are other objects.
"""

_seq = attrgetter("seq")


class RunsKept:
    """The current runs of one proposal; nobody else changes its lists.

    `noticed` are those that have ended, in the order in which this noticed it: what is kept up run by run reads on
    there. `ended` are the same in the order of their requests, `scores` their scores in that order, and `missed` those
    that miss a limit.
    """

    def __init__(self) -> None:
        self._taken, self._open = 0, list[Run]()
        self.noticed, self.ended, self.missed = list[Run](), list[Run](), list[Run]()
        self._scored, self.scores = list[int](), list[float]()

    def update(self, names: Sequence[str], runs: Mapping[str, Run], is_current: Callable[[Run], bool]) -> None:
        """Take what has been requested and what has ended since the last call; runs that had ended are not looked at.

        Args:
            names: the names of its runs, in the order of their requests.
            runs: the runs of the board.
            is_current: tells whether a run counts; of one that has ended, always the same.
        """
        still_open = list[Run]()
        for run in chain(self._open, map(runs.__getitem__, names[self._taken :])):
            if not run.finished:
                still_open.append(run)
            elif is_current(run):
                self.noticed.append(run)
                insort(self.ended, run, key=_seq)
                if run.missed:
                    insort(self.missed, run, key=_seq)
                if run.value is not None:
                    self.scores.insert(bisect_left(self._scored, run.seq), run.value)
                    insort(self._scored, run.seq)
        self._taken, self._open = len(names), still_open

    def open(self, is_current: Callable[[Run], bool]) -> list[Run]:
        """Return those that have not ended, in the order of their requests."""
        return [run for run in self._open if is_current(run)]

    def every(self, is_current: Callable[[Run], bool]) -> list[Run]:
        """Return all, in the order of their requests."""
        if not (still_open := self.open(is_current)):
            return self.ended
        if not self.ended or self.ended[-1].seq < still_open[0].seq:
            return [*self.ended, *still_open]
        return sorted([*self.ended, *still_open], key=_seq)


class Keeping(Protocol):
    """The part of a board that this is about; `mesh.board.Board` says what the fields are."""

    opened: ArenaOpened | None
    proposals: KeptProposals
    runs: KeptRuns
    scored_seq: int

    def is_current(self, run: Run) -> bool: ...


def runs_kept(board: Keeping, tree: str) -> RunsKept:
    """Return the current runs of a proposal that is not ruled out, kept for the boards that were asked about last.

    Whether a run that has ended counts changes with the state alone. So each is looked at once after its end.
    """
    kept = _kept.of(board)
    if len(kept) > _MOST:
        kept.clear()
    state = (board.opened.version if board.opened else 0, board.scored_seq, board.proposals.turns.get(tree, 0))
    before, found = kept.get(tree, (state, RunsKept()))
    if before != state:
        found = RunsKept()
    kept[tree] = (state, found)
    found.update(board.proposals[tree].runs, board.runs, board.is_current)
    return found


_kept: LastBoards[dict[str, tuple[_State, RunsKept]]] = LastBoards(dict)
