"""Runs that nobody needs any more are withdrawn: those of proposals that the version in force rules out. Pure.

No score of such a proposal counts. A run of it that waits ends before it begins, and one that is under way is killed.
If a later version brings the proposal back, what was withdrawn says nothing of it, and it runs again.
"""

from mesh.board import Board
from mesh.events import RunKilled


def withdrawals(board: Board) -> list[RunKilled]:
    """Return the kills of unfinished runs whose proposals are ruled out."""
    found = []
    for name in board.unfinished:
        run = board.runs[name]
        proposal = board.proposals.get(run.requested.proposal)
        if proposal and proposal.ruled_out and not run.killed:
            text = f"withdrawn: its proposal {proposal.ruled_out}"
            found.append(RunKilled(run=name, by="rule", text=text))
    return found
