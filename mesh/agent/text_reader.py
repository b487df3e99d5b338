"""Puts the texts of proposals back on the board for roles that read them: reasons, critiques and the ends of logs."""

from collections.abc import Iterable

from mesh.board import Board
from mesh.bus import Bus
from mesh.recall import recall


class TextReader:
    """Reads texts of proposals from the log; `Context.texts` is one."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def recall(self, board: Board, trees: Iterable[str]) -> None:
        """Put the texts of some proposals back on the board, which leaves those of earlier ones to the log.

        Args:
            board: the board that the role was called with.
            trees: the proposals, by their tree hashes.

        Raises:
            BusError: the log cannot be reached.
        """
        await recall(self._bus, board, trees)
