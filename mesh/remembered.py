"""Remembers what was calculated from a board, as long as nothing that it depends on has changed."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from mesh.last_boards import LastBoards

_T = TypeVar("_T")


_MOST = 1000
"""Results that are remembered of one function."""


class Remembered(Generic[_T]):
    """Results of one function of a board and of some arguments, for the boards that were asked about last."""

    def __init__(self) -> None:
        self._kept: LastBoards[dict[Hashable, tuple[Hashable, _T]]] = LastBoards(dict)

    def of(self, board: object, state: Hashable, arguments: Hashable, calculate: Callable[[], _T]) -> _T:
        """Return the result for some arguments; calculate it where the board or the state is another one than before.

        Args:
            board: The board.
            state: All that the result depends on and that may change on the board.
            arguments: The other arguments.
            calculate: Returns the result.
        """
        kept = self._kept.of(board)
        if len(kept) > _MOST:
            kept.clear()
        found = kept.get(arguments)
        if found is None or found[0] != state:
            found = kept[arguments] = (state, calculate())
        return found[1]
