"""Remembers what was calculated from a board, as long as nothing that it depends on has changed."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Remembered(Generic[_T]):
    """Results of one function of a board and of some arguments, for the board that was asked about last."""

    def __init__(self) -> None:
        self._board: object = None
        self._state: Hashable = None
        self._results: dict[Hashable, _T] = {}

    def of(self, board: object, state: Hashable, arguments: Hashable, calculate: Callable[[], _T]) -> _T:
        """Return the result for some arguments; calculate it where the board or the state is another one than before.

        Args:
            board: The board.
            state: All that the result depends on and that may change on the board.
            arguments: The other arguments.
            calculate: Returns the result.
        """
        if board is not self._board or state != self._state:
            self._board, self._state, self._results = board, state, {}
        if arguments not in self._results:
            self._results[arguments] = calculate()
        return self._results[arguments]
