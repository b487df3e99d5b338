"""Decided proposals that may matter again, kept up fact by fact: no decision walks over all that is decided. Pure.

They are those that a new version has brought back, those that a new evaluator has scored again or may score again, and
close calls.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from itertools import islice

from mesh.board import Board
from mesh.changes import ChangeReader
from mesh.events import PROOF
from mesh.evidence import is_close

RETRIED = 20
"""Number of failed proposals that run again after a cure: the latest."""


def is_back(board: Board, tree: str) -> bool:
    """Tell whether the version in force has opened the case of a decided proposal again: it may race once more."""
    proposal = board.proposals[tree]
    return bool(proposal.back_seq) and tree not in board.undecided and tree != board.champion


def is_reevaluated(board: Board, tree: str) -> bool:
    """Tell whether a decided proposal that is not champion has scores by the present and an older evaluator."""
    proposal = board.proposals[tree]
    if board.opened is None or board.opened.version == 1 or proposal.verdict not in ("past_champion", "retired"):
        return False
    return len(board.current_runs(tree)) < len(proposal.runs) and bool(board.scores(tree))


def has_failed_in_vain(board: Board, tree: str) -> bool:
    """Tell whether a proposal failed where nothing could be scored, or without any number under an older evaluator."""
    proposal = board.proposals[tree]
    if proposal.verdict != "retired" or proposal.why != "failed" or not proposal.runs:
        return False
    is_early = proposal.seq < board.scored_seq or (board.opened is not None and board.opened.version > 1)
    return is_early and not any(board.runs[run].has_number for run in proposal.runs)


def is_close_call(board: Board, tree: str) -> bool:
    """Tell whether a proposal was retired as not better, but probably is, and has runs that prove."""
    proposal = board.proposals[tree]
    return is_close(proposal) and any(board.runs[run].requested.lane in PROOF for run in proposal.runs)


class _Those:
    """The proposals that a rule holds for, in the order of the log; none that is ruled out."""

    def __init__(self, rule: Callable[[Board, str], bool]) -> None:
        self._rule = rule
        self._found: list[tuple[int, str]] = []

    def forget(self) -> None:
        self._found = []

    def look(self, board: Board, tree: str) -> None:
        proposal = board.proposals[tree]
        item = (proposal.seq, tree)
        at = bisect_left(self._found, item)
        was = at < len(self._found) and self._found[at] == item
        now = not proposal.ruled_out and self._rule(board, tree)
        if now and not was:
            insort(self._found, item)
        elif was and not now:
            del self._found[at]

    def trees(self) -> list[str]:
        return [tree for _, tree in self._found]

    def latest(self, count: int) -> list[str]:
        return [tree for _, tree in islice(reversed(self._found), count)]


class _Settled:
    """What is kept of the board that was asked about last."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._seen: tuple[Board | None, int] = (None, 0)
        self.back, self.reevaluated = _Those(is_back), _Those(is_reevaluated)
        self.failed, self.close = _Those(has_failed_in_vain), _Those(is_close_call)
        self.stale = 0

    def of(self, board: Board) -> "_Settled":
        if self._seen[0] is board and self._seen[1] == board.seq:
            return self
        changes = self._changes.look(board)
        kinds = (self.back, self.reevaluated, self.failed, self.close)
        if changes.is_new:
            self.stale = 0
            for kind in kinds:
                kind.forget()
        evaluator = board.opened.evaluator if board.opened else ""
        self.stale += sum(board.runs[name].requested.evaluator != evaluator for name in changes.ended)
        for tree in changes.touched(board):
            for kind in kinds:
                kind.look(board, tree)
        self._seen = (board, board.seq)
        return self


_settled = _Settled()


def back(board: Board) -> list[str]:
    """Return the proposals that `is_back` holds for, in the order of the log."""
    return _settled.of(board).back.trees()


def reevaluated(board: Board) -> list[str]:
    """Return the proposals that `is_reevaluated` holds for, in the order of the log."""
    return _settled.of(board).reevaluated.trees()


def failed_in_vain(board: Board) -> list[str]:
    """Return the latest of the proposals that `has_failed_in_vain` holds for, the last one first."""
    return _settled.of(board).failed.latest(RETRIED)


def close_ones(board: Board) -> list[str]:
    """Return the proposals that `is_close_call` holds for, in the order of the log."""
    return _settled.of(board).close.trees()


def finished_by_older(board: Board) -> int:
    """Return how many finished runs were requested under another evaluator than the one in force."""
    return _settled.of(board).stale
