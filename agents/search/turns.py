"""Which explorers may propose now, kept up fact by fact: a thousand explorers are not woken for one free place.

Each explorer keeps a bounded number of proposals waiting (`share`), and all explorers together do so too: with more
explorers than the workers can serve, the next proposals would be made long before they run, with less knowledge. An
explorer that is about to propose holds its places until it has done so, so that its neighbours do not take them.
"""

import math
from collections import Counter

import anyio

from mesh.agent.protocol import Wakes
from mesh.board import Board
from mesh.changes import ChangeReader
from mesh.fleet import agents_here, queue_depth
from mesh.run_sums import has_many, open_runs, run_sums

UNDECIDED = 2
"""Limit of waiting proposals per explorer, unless its share of the work for busy workers is more."""

AHEAD_S = 5.0
"""Seconds of work prepared per worker beyond its present run. More would be proposed with less knowledge."""

LEAST_IN_ALL = 64
"""Waiting proposals of all explorers together that are always allowed; else twice as many as runs may wait."""

BEGINNERS = 3
"""Explorers of a process that propose the baseline, in case one fails."""

_MEMBERS = 64
"""With more agents and workers than this, they are counted every so many entries."""

_FORGOTTEN = 1000
"""After so many entries an explorer that was woken and has not proposed holds no place any more."""


class Turns:
    """The waiting proposals of the board that was asked about last, by author.

    An explorer holds `lock` while it drafts: so each draws on all that is known by then, and its drafts are posted
    while the next one draws.
    """

    def __init__(self) -> None:
        self._changes, self.lock = ChangeReader(), anyio.Lock()
        self._seen: tuple[Board | None, int] = (None, -1)
        self._by: dict[str, tuple[str, bool]] = {}
        self._waiting: Counter[str] = Counter()
        self._in_all = 0
        self._held: dict[str, tuple[int, int]] = {}
        self._places_held, self._oldest, self._counted = 0, 0, -_MEMBERS
        self._beginners: set[str] = set()
        self._share, self._most = UNDECIDED, LEAST_IN_ALL

    def wakes(self, name: str, board: Board) -> Wakes:
        """Tell whether to wake an explorer, and hold places for it if so; "nobody" if no place is free for any."""
        self._look(board)
        if self._most - self._in_all - self._places_held <= 0 and name not in self._held:
            return "nobody"
        return "yes" if self.take(name, board) else "no"

    def take(self, name: str, board: Board) -> int:
        """Return how many proposals an explorer may make now, and hold so many places for it."""
        self._look(board)
        self.leave(name)
        room = min(self._share - self._waiting[name], self._most - self._in_all - self._places_held)
        if room > 0:
            self._held[name] = (room, board.seq)
            self._places_held += room
        return max(0, room)

    def may_begin(self, name: str) -> bool:
        """Tell whether an explorer may propose the baseline: it is among the first `BEGINNERS` that ask."""
        if len(self._beginners) < BEGINNERS:
            self._beginners.add(name)
        return name in self._beginners

    def leave(self, name: str) -> None:
        """Hold no place for an explorer any more."""
        self._places_held -= self._held.pop(name, (0, 0))[0]

    def waiting(self, name: str, board: Board) -> int:
        """Return how many proposals of an author wait for a result."""
        self._look(board)
        return self._waiting[name]

    def _look(self, board: Board) -> None:
        if self._seen[0] is board and self._seen[1] == board.seq:
            return
        self._seen = (board, board.seq)
        changes = self._changes.look(board)
        if changes.is_new:
            self._by, self._waiting, self._in_all = {}, Counter(), 0
        for tree in changes.proposals:
            self.leave(board.proposals[tree].author)  # what it held its places for is posted
        for tree in changes.touched(board):
            if old := self._by.pop(tree, None):
                self._count(*old, -1)
            if awaits_result(board, tree):
                proposal = board.proposals[tree]
                new = self._by[tree] = (proposal.author, proposal.event.origin.how == "sampler")
                self._count(*new, 1)
        if self._held and self._oldest + _FORGOTTEN <= board.seq:
            self._forget(board)
        is_small = len(board.agents) + len(board.workers) < _MEMBERS
        if board.opened and (is_small or board.seq >= self._counted + _MEMBERS):
            self._counted = board.seq
            self._share = share(board)
            self._most = max(LEAST_IN_ALL, 2 * queue_depth(board))

    def _forget(self, board: Board) -> None:
        for name in [name for name, (_, since) in self._held.items() if since + _FORGOTTEN <= board.seq]:
            self.leave(name)
        self._oldest = min((since for _, since in self._held.values()), default=board.seq)

    def _count(self, author: str, is_sampler: bool, times: int) -> None:
        self._waiting[author] += times
        self._in_all += times * is_sampler


def share(board: Board) -> int:
    """Return how many proposals one explorer may keep waiting, so that all explorers together keep workers busy."""
    ahead = min(1.0, AHEAD_S / board.spec.trial.budget_s)
    wanted = queue_depth(board) / 2 * (1 + ahead)
    return max(UNDECIDED, math.ceil(wanted / max(1, len(agents_here(board, "explorer")))))


def awaits_result(board: Board, tree: str) -> bool:
    """Tell whether a proposal is undecided and has no result yet."""
    proposal = board.proposals[tree]
    return proposal.verdict == "open" and not proposal.ruled_out and not has_result(board, tree)


def has_result(board: Board, tree: str) -> bool:
    """Tell whether a proposal has a score, or runs that have all ended."""
    if has_many(board, tree):
        sums = run_sums(board, tree)
        return bool(sums.counts) or (bool(sums.seeds) and not open_runs(board, tree))
    runs = board.current_runs(tree)
    return any(run.value is not None for run in runs) or (bool(runs) and all(run.finished for run in runs))
