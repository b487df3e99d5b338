"""Reads the code of proposals for a role, by the proposal's tree and without git."""

from collections.abc import Iterable, Mapping

from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import BadInput, ObjectMissing

_KEPT = 64
"""Number of proposals whose files are kept in memory."""


class CodeReader:
    """Reads the files of proposals, and keeps those of the last ones in memory."""

    def __init__(self, store: CodeStore) -> None:
        self._store = store
        self._kept: dict[str, dict[str, bytes]] = {}

    async def files(self, board: Board, tree: str = "") -> dict[str, bytes]:
        """Return the files of a proposal by relative path.

        Args:
            board: the board on which the proposal stands.
            tree: the proposal's tree, its id on the board; "" is the baseline.

        Raises:
            ObjectMissing: no such proposal is on the board, or nobody has shared its files.
            BusError: the log cannot be reached.
        """
        commit, base = commit_of(board, tree), commit_of(board)
        key = tree or commit
        if key not in self._kept:
            files = await self._store.files(commit, base=base)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = files
        return dict(self._kept[key])

    async def at_hand(self, board: Board, trees: Iterable[str]) -> dict[str, dict[str, bytes]]:
        """Return the files of these proposals and their first parents; leave out proposals that nobody has shared."""
        first = [tree for tree in dict.fromkeys(trees) if tree in board.proposals]
        found: dict[str, dict[str, bytes]] = {}
        for tree in dict.fromkeys([*first, *(p for each in first for p in board.proposals[each].event.parents[:1])]):
            try:
                found[tree] = await self.files(board, tree)
            except ObjectMissing:  # an author may post a proposal and never share its code
                continue
        return found

    def tree_of(self, files: Mapping[str, bytes]) -> str:
        """Return the tree hash of these files, which is the id of a proposal with them.

        Args:
            files: contents of all files by relative path.

        Raises:
            BadInput: a path cannot be the name of a file in a commit.
        """
        return self._store.tree_of(files)

    async def real_tree(self, board: Board, tree: str) -> str:
        """Return the tree of a proposal's commit; it differs from `tree` if the author posted a false one.

        Raises: as `files`.
        """
        await self.files(board, tree)
        return self._store.tree(commit_of(board, tree))


def commit_of(board: Board, tree: str = "") -> str:
    """Return the commit of a proposal on the board; "" is the baseline.

    Raises:
        BadInput: the arena was never opened.
        ObjectMissing: no such proposal is on the board.
    """
    if board.opened is None:
        raise BadInput(f"arena {board.arena} was never opened; open it with `mesh open FOLDER`")
    if tree in ("", board.opened.base_tree):
        return board.opened.base_commit
    if tree not in board.proposals:
        raise ObjectMissing(f"proposal {tree[:10]!r} is not on the board of arena {board.arena}")
    return board.proposals[tree].event.commit
