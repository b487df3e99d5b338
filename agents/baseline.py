"""The first proposal of an arena: the artifact as it is. Whoever comes first posts it. Pure."""

from mesh.board import Board
from mesh.events import AnyEvent, Origin, ProposalPosted


def baseline(board: Board) -> list[AnyEvent]:
    """Return the artifact as it is as a proposal, nothing where somebody has posted it or no arena is open."""
    opened = board.opened
    if opened is None or board.closed or opened.base_tree in board.proposals:
        return []
    origin = Origin(how="baseline")
    return [ProposalPosted(tree=opened.base_tree, commit=opened.base_commit, title="as it is", origin=origin)]
