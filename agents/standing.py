"""How much a critic's word weighs: by what came true of its forecasts. Pure.

A word with a confidence is a forecast that the proposal will, or will not, become champion: `endorse` says yes, `warn`
and `block` say no. Its Brier score is the mean squared difference from what came of it (0 is perfect, 0.25 is a coin).
"""

from mesh.board import Board, Critique, Proposal

FEWEST = 8
"""Forecasts without which a critic's record says nothing."""

COIN = 0.25


def forecast(word: Critique) -> float | None:
    """Return the probability, by a critic's word, that the proposal becomes champion; None where it gives none."""
    if word.confidence is None:
        return None
    return word.confidence if word.verdict == "endorse" else 1 - word.confidence


def brier(board: Board, critic: str) -> float | None:
    """Return the Brier score of a critic's forecasts that were decided, None where there are too few."""
    errors = [
        (p - won) ** 2
        for proposal in board.proposals.values()
        if (won := _won(proposal)) is not None
        for word in [*proposal.critiques, *(w for run in proposal.runs for w in board.runs[run].critiques)]
        if word.author == critic and (p := forecast(word)) is not None
    ]
    return sum(errors) / len(errors) if len(errors) >= FEWEST else None


def holds_back(board: Board, proposal: Proposal) -> bool:
    """Tell whether a critic holds a proposal back: by a rule that is certain, or an opinion that is worth something."""
    blocks = [word for word in proposal.critiques if word.verdict == "block"]
    return any(not is_overruled(board, word) for word in blocks)


def is_overruled(board: Board, word: Critique) -> bool:
    """Tell whether a block is an opinion of a critic whose forecasts were worse than a coin."""
    if word.confidence is None or word.confidence >= 1:
        return False
    record = brier(board, word.author)
    return record is not None and record > COIN


def _won(proposal: Proposal) -> bool | None:
    if proposal.verdict == "open" or proposal.why == "blocked":
        return None
    return proposal.verdict in ("champion", "past_champion") or proposal.why == "demoted"
