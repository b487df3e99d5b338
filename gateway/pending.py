"""How many proposals of one member may wait for their first score. Pure."""

from collections.abc import Iterator

from mesh.board import Board
from mesh.text import short


def awaited_by(board: Board, author: str, most: int) -> str:
    """Return what an author has to wait for before another proposal, "" if it need not.

    Args:
        board: The board.
        author: The author.
        most: How many of its proposals may wait for their first score.

    Returns:
        The run that is to end first, or the proposal whose run is still to be requested.
    """
    waiting = list(_waiting(board, author))
    if len(waiting) < most:
        return ""
    runs = [run for tree in waiting for run in board.proposals[tree].runs if run in board.unfinished]
    return runs[0] if runs else f"proposal {short(waiting[0])}"


def _waiting(board: Board, author: str) -> Iterator[str]:
    for tree in board.undecided:
        proposal = board.proposals[tree]
        if proposal.author == author and not proposal.ended and not proposal.ruled_out:
            yield tree
