"""Keeps something for each of the boards that were asked about last: a process may serve several arenas. Pure."""

from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")

_BOARDS = 8
"""Boards for which something is kept: the last ones."""


class LastBoards(Generic[_T]):
    """Something that `start` makes for a board, for the last boards."""

    def __init__(self, start: Callable[[], _T]) -> None:
        self._start = start
        self._kept: tuple[tuple[object, _T], ...] = ()

    def of(self, board: object) -> _T:
        """Return what is kept for a board."""
        kept = self._kept  # read once, and written whole, because another thread may ask about another board
        if kept and kept[0][0] is board:
            return kept[0][1]
        found = next((each for each in kept if each[0] is board), None) or (board, self._start())
        self._kept = (found, *(each for each in kept if each[0] is not board))[:_BOARDS]
        return found[1]
