"""The files of proposals, kept for a while: what a role reads again and again is fetched once."""

from collections.abc import Iterable

from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import ObjectMissing

KEPT = 64
"""Proposals whose files are kept."""


class Sources:
    """Reads the code store; `base_commit` is what most proposals differ from in little."""

    def __init__(self, code: CodeStore) -> None:
        self._code = code
        self._kept: dict[str, dict[str, bytes]] = {}
        self.base_commit = ""

    async def files(self, tree: str, commit: str) -> dict[str, bytes]:
        """Return the files of a proposal.

        Raises:
            ObjectMissing: nobody has shared them.
            BusError: the log is out of reach.
        """
        if tree not in self._kept:
            files = await self._code.files(commit, base=self.base_commit)
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[tree] = files
        return self._kept[tree]

    async def of(self, board: Board, tree: str) -> dict[str, bytes]:
        """Return the files of a proposal that is on the board; see `files`."""
        return await self.files(tree, board.proposals[tree].event.commit)

    async def at_hand(self, board: Board, trees: Iterable[str]) -> dict[str, dict[str, bytes]]:
        """Return the files of those proposals, and of their first parents, that can be had."""
        first = [tree for tree in dict.fromkeys(trees) if tree in board.proposals]
        found: dict[str, dict[str, bytes]] = {}
        for tree in dict.fromkeys([*first, *(p for each in first for p in board.proposals[each].event.parents[:1])]):
            try:
                found[tree] = await self.of(board, tree)
            except (ObjectMissing, KeyError):  # a stranger may post what it never shares
                continue
        return found
