"""Close calls: proposals that a race retired although they are probably better. They get one more race. Pure.

The first race chose them by its scores, so these prove nothing any more. In the second race only its own seeds count,
and the race has a level of its own.
"""

from agents.curation.run_requests import race_of
from agents.curation.settled import close_ones
from mesh.board import Board
from mesh.events import ProposalRetired
from mesh.evidence import fresh, is_close

RACES = 2
"""Races of a proposal at most."""


def close_calls(board: Board, worker_class: str) -> list[str]:
    """Return the close calls that may race against the champion again, the most probable first."""
    found: dict[str, float] = {}
    for tree in close_ones(board):
        last = board.proposals[tree].rulings[-1]
        if not isinstance(last, ProposalRetired) or last.met != board.champion:
            continue
        if len(races_of(board, tree)) < RACES and fresh(board, tree, worker_class):
            found[tree] = last.p_better or 0.0
    return sorted(found, key=lambda tree: -found[tree])


def races_of(board: Board, tree: str) -> set[int]:
    """Return the numbers of the races in which a proposal was a challenger."""
    asked = (run.requested for run in board.current_runs(tree))
    return {race_of(request) for request in asked if request.lane == "confirm"} - {0}


def races_again(board: Board, tree: str, race: int) -> bool:
    """Tell whether a race is the second one of a close call."""
    return is_close(board.proposals[tree]) and min(races_of(board, tree), default=race) < race
