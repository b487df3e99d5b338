"""Remembers what was calculated from a board, as long as nothing that it depends on has changed."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Remembered(Generic[_T]):
    """Results of one function of a board and of some arguments, for the board that was asked about last."""

    def __init__(self) -> None:
        self._kept: tuple[object, Hashable, dict[Hashable, _T]] = (None, None, {})

    def of(self, board: object, state: Hashable, arguments: Hashable, calculate: Callable[[], _T]) -> _T:
        """Return the result for some arguments; calculate it where the board or the state is another one than before.

        Args:
            board: The board.
            state: All that the result depends on and that may change on the board.
            arguments: The other arguments.
            calculate: Returns the result.
        """
        kept = self._kept  # one name for all three, because another thread may ask about another board
        if board is not kept[0] or state != kept[1]:
            kept = self._kept = (board, state, {})
        if arguments not in kept[2]:
            kept[2][arguments] = calculate()
        return kept[2][arguments]
