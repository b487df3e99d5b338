"""The first rows of the leaderboard, kept up without a walk over all proposals. Pure.

The order is that of `mesh.leaderboard`: within a group (a worker class, fresh scores or claims) a proposal cannot stand
before one whose mean is better than its own, since an interval only makes the worse bound worse. So each group is kept
in the order of the means, and only its beginning is looked at.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Generator, Iterator
from itertools import islice

import msgspec

from mesh.board import Board
from mesh.changes import ChangeReader
from mesh.last_boards import LastBoards
from mesh.leaderboard import LeaderboardRow, Ranking

_AT_ONCE = 200
"""Proposals that are looked at between two chances for others to work."""

_Key = tuple[float, int, str]
"""What orders a group: how much worse it is, the entry that posted it, the proposal."""

_Group = tuple[int, str, bool]
"""How far behind a group of rows is that miss a limit, 0 for the others; their worker class; whether they are fresh."""


class LeadingRows:
    """The proposals of a board that have a score, in the order of their means; `update` it before it is read."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._worker_class, self._todo = "", dict[str, None]()
        self._groups: dict[_Group, list[_Key]] = {}
        self._places: dict[str, tuple[_Group, _Key]] = {}

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._places)

    def update(self, board: Board) -> Generator[None]:
        """Take what has changed on the board; others may work, and the board go on, where this yields."""
        while True:
            changes, ranking = self._changes.look(board), Ranking(board)
            if changes.is_new or ranking.worker_class != self._worker_class:
                self._groups, self._places, self._worker_class = {}, {}, ranking.worker_class
                self._todo = dict.fromkeys(board.proposals)
            else:
                self._todo |= changes.touched(board)
            for tree in list(islice(reversed(self._todo), _AT_ONCE)):
                self._put(ranking, tree)
                del self._todo[tree]
            if not self._todo:
                return
            yield

    def first(self, ranking: Ranking, count: int) -> list[LeaderboardRow]:
        """Return the first rows, as `Ranking.rows` gives them.

        Args:
            ranking: A ranking of the board as of the last `update`.
            count: How many rows at most.
        """
        champion, known = ranking.board.champion, self._any_interval(ranking)
        good = {group: keys for group, keys in self._groups.items() if not group[0]}
        found: list[str] = []
        if not known:
            found = [tree for _, _, tree in islice(heapq.merge(*good.values()), count)]
        else:
            found = [champion] if champion in self._places else []
            own = self._worker_class
            parts = [
                heapq.merge(*(keys for (_, name, is_fresh), keys in good.items() if (name == own, is_fresh) == part))
                for part in ((True, True), (True, False), (False, True), (False, False))
            ]
            for part in parts:
                if len(found) < count:
                    found += self._best(ranking, (key for key in part if key[2] != champion), count - len(found))
        for group in sorted(group for group in self._groups if group[0]):
            found += [tree for _, _, tree in islice(self._groups[group], max(0, count - len(found)))]
        rows = [row for tree in found[:count] if (row := ranking.of(tree))]
        return [msgspec.structs.replace(row, rank=rank) for rank, row in enumerate(rows, 1)]

    def _put(self, ranking: Ranking, tree: str) -> None:
        """Put a proposal at its place, or take it out if it has no score."""
        if before := self._places.pop(tree, None):
            group, key = before
            keys = self._groups[group]
            del keys[bisect_left(keys, key)]
            if not keys:
                del self._groups[group]
        if (row := ranking.of(tree)) is None:
            return
        seq, board = ranking.board.proposals[tree].seq, ranking.board
        if row.violation is not None and tree != board.champion:
            place = 1 if row.stages_left is None else row.stages_left + 2
            group, key = (place, "", False), (row.violation, seq, tree)
        else:
            group, key = (0, row.worker_class, row.fresh > 0), (-ranking.gain(row.mean), seq, tree)
        insort(self._groups.setdefault(group, []), key)
        self._places[tree] = group, key

    def _any_interval(self, ranking: Ranking) -> bool:
        """Tell whether a row has an interval: whether the noise of a class with fresh scores is known."""
        firsts = [keys[0][2] for (place, _, is_fresh), keys in self._groups.items() if not place and is_fresh]
        return any((row := ranking.of(tree)) is not None and row.low is not None for tree in firsts)

    def _best(self, ranking: Ranking, keys: Iterator[_Key], count: int) -> list[str]:
        """Return the first proposals of a group by the worse bounds of their intervals."""
        found: list[_Key] = []
        for mean, seq, tree in keys:
            if len(found) == count and mean > found[-1][0]:
                break
            row = ranking.of(tree)
            assert row is not None
            worst = min(ranking.gain(bound) for bound in (row.low, row.high, row.mean) if bound is not None)
            insort(found, (-worst, seq, tree))
            del found[count:]
        return [tree for _, _, tree in found]


class LeadingRanking(Ranking):
    """The ranking of a board whose first rows are kept up; `update` of its `leading` rows costs most of it."""

    def __init__(self, board: Board) -> None:
        """Rank a board as it is now."""
        super().__init__(board)
        self.leading = leading_rows(board)
        for _ in self.leading.update(board):
            pass

    def first(self, count: int) -> list[LeaderboardRow]:
        """Return the first rows, best first."""
        return self.leading.first(self, count)

    def count(self) -> int:
        """Return how many rows there are."""
        return len(self.leading)


def leading_rows(board: Board) -> LeadingRows:
    """Return what is kept up of a board; `update` it before it is read."""
    return _kept.of(board)


_kept = LastBoards(LeadingRows)
