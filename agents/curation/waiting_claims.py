"""Says when claims wait for proof because proof has had its share of the workers' time. Pure."""

from agents.curation.proof_share import ProofTime, proof_time
from mesh.board import Board
from mesh.events import PROOF
from mesh.fleet import is_awaited

_SMALLEST_RACE = 2
"""Runs of the smallest race: one claim and the champion, on one seed."""


def waiting_words(board: Board, time: ProofTime | None = None) -> str:
    """Return in a sentence how many claims wait until search has had its share of the workers' time; "" if none do.

    Args:
        board: The board of the arena, or an excerpt that has all proofs and all that is undecided.
        time: The time of proof, where the board is an excerpt that does not know it.
    """
    if not may_wait(board, time or proof_time(board)):
        return ""
    from agents.curation.claims import weigh_claims  # with what they import, a tenth of the start of `mesh status`
    from agents.curation.race_log import current_race, members_of

    _, waiting, _ = weigh_claims(board)
    racing = [tree for tree in members_of(board, current_race(board)) if tree in board.undecided]
    if not (count := len(dict.fromkeys([*waiting, *racing]))):
        return ""
    share = board.spec.selection.proof_share
    return (
        f"{count} {'claim waits' if count == 1 else 'claims wait'} until proof is within its {share:.0%} of the "
        "worker time again; raise selection.proof_share in arena.toml to prove sooner"
    )


def may_wait(board: Board, time: ProofTime) -> bool:
    """Tell whether claims that are there wait: proof has had its share, and no race is under way.

    Args:
        board: A board that has the champion, the members and what is unfinished.
        time: The time of proof.
    """
    if board.opened is None or board.closed or not board.champion or board.spec.objective.noise == "none":
        return False
    if time.is_within(board.spec.selection.proof_share, _SMALLEST_RACE):
        return False
    out = map(board.runs.__getitem__, board.unfinished)
    return not any(run.requested.lane in PROOF and is_awaited(board, run) for run in out)
