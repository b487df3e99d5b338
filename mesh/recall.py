"""Puts texts back on a board that has left them to the log: reasons, critiques, learning curves and the ends of logs.

Whoever shows or reads such texts recalls the proposals first: of all, the board has left the curves to the log. The
texts stay on the board until as many others were retired or recalled (`mesh.lean.FULL`; docs/adr/0018).
"""

from collections.abc import Iterable

from mesh.board import Board
from mesh.bus import Bus
from mesh.lean import put_texts_back, seqs_of_curves, seqs_of_texts


async def recall(bus: Bus, board: Board, trees: Iterable[str]) -> None:
    """Put the texts of some proposals back on the board; do nothing for those that have them.

    Args:
        bus: the log that the board is folded from.
        board: the board.
        trees: the proposals by their tree hashes; what is not on the board is passed over.

    Raises:
        BusUnavailable: the log cannot be reached.
    """
    known = [tree for tree in dict.fromkeys(trees) if tree in board.proposals]
    lean = [tree for tree in known if board.proposals[tree].is_lean]
    seqs = [seq for tree in lean for seq in seqs_of_texts(board.proposals[tree], board.runs)]
    bare = {tree: seqs_of_curves(board.proposals[tree], board.runs) for tree in known if tree not in lean}
    seqs += [seq for of_tree in bare.values() for seq in of_tree]
    entries = await bus.entries(seqs) if seqs else []
    events = {entry.seq: entry.post.event for entry in entries if entry.post}
    for tree in lean:
        board.proposals.take_out(tree)
        board.full[tree] = None
    for tree in (*lean, *(tree for tree, of_tree in bare.items() if of_tree)):
        put_texts_back(board.proposals[tree], board.runs, events)


def proposals_of(board: Board, runs: Iterable[str]) -> list[str]:
    """Return the proposals of some runs, as `recall` takes them."""
    return [board.runs[run].requested.proposal for run in runs if run in board.runs]
