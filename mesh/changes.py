"""What has changed on a board since it was last looked at, found without a walk over all that it keeps. Pure.

A process that keeps something per proposal or run asks after each fact, and updates what is named. The cost is that of
the changes and of the unfinished runs.
"""

from itertools import takewhile

import msgspec

from mesh.board import Board, Verdict
from mesh.kept import KeptProposals, KeptRuns


class Changes(msgspec.Struct, frozen=True):
    """Proposals and runs by their ids, in the order of the log.

    `is_new` says that nothing known before counts any more: this is another board, or one with another version or
    evaluator. Then all are named. `requested` are new runs, `ended` those whose finish is new. `ruled` are
    the proposals whose verdict is another one, and those that critics have ruled out since.
    """

    is_new: bool
    proposals: list[str]
    requested: list[str]
    ended: list[str]
    ruled: list[str]

    def touched(self, board: Board) -> dict[str, None]:
        """Return all proposals that are named, or have a run that is named."""
        asked = (board.runs[name].requested.proposal for name in (*self.requested, *self.ended))
        with_runs = (tree for tree in asked if tree in board.proposals)
        return dict.fromkeys([*self.proposals, *with_runs, *self.ruled])


class ChangeReader:
    """Tells what has changed on a board since the last call of `look`."""

    def __init__(self) -> None:
        self._board: Board | None = None
        self._key: object = None
        self._proposal, self._run, self._ruled_out = 0, 0, 0
        self._undecided = set[str]()
        self._champions: dict[str, Verdict] = {}
        self._unfinished: dict[str, None] = {}

    def look(self, board: Board) -> Changes:
        """Return the changes since the last call."""
        opened = board.opened
        version, evaluator = (opened.version, opened.evaluator) if opened else (0, "")
        key = version, evaluator, board.scored_seq
        is_new = board is not self._board or key != self._key
        if is_new:
            self._board, self._key, self._unfinished = board, key, {}
            self._proposal, self._run, self._ruled_out = 0, 0, 0
            self._undecided, self._champions = set(), {}
        proposals = _since(board.proposals, self._proposal)
        requested = _since(board.runs, self._run)
        open_ones = dict.fromkeys([*self._unfinished, *requested])
        replaced = board.doubts.replaced
        ended = [name for name in open_ones if name not in board.unfinished and name not in replaced]
        self._unfinished = {name: None for name in open_ones if name in board.unfinished or name in replaced}
        if proposals:
            self._proposal = board.proposals[proposals[-1]].seq
        if requested:
            self._run = board.runs[requested[-1]].seq
        return Changes(is_new, proposals, requested, ended, self._ruled(board, proposals))

    def _ruled(self, board: Board, proposals: list[str]) -> list[str]:
        """Return proposals that were undecided and are not, champions with another verdict, and what is ruled out."""
        decided: list[str] = []
        if proposals or len(self._undecided) != len(board.undecided):  # else none was decided: it only shrinks
            decided = [tree for tree in (*self._undecided, *proposals) if tree not in board.undecided]
            self._undecided = {*board.undecided}
        champions = {tree: board.proposals[tree].verdict for tree in board.champions}
        changed = [tree for tree, verdict in champions.items() if self._champions.get(tree) != verdict]
        ruled_out = board.ruled_out_late[self._ruled_out :]
        self._champions = champions
        self._ruled_out = len(board.ruled_out_late)
        return [*decided, *changed, *ruled_out]


def _since(known: KeptProposals | KeptRuns, seq: int) -> list[str]:
    """Return the keys of what came after an entry of the log, in its order."""
    if not seq:
        return list(known)  # without a look at each: what is settled would be unpacked
    return list(takewhile(lambda name: known[name].seq > seq, reversed(known)))[::-1]
