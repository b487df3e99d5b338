"""How much a critic's word weighs: by what came true of its forecasts. Pure.

A word with a confidence is a forecast that the proposal will, or will not, become champion: `endorse` says yes, `warn`
and `block` say no. Its Brier score is the mean squared difference from what came of it (0 is perfect, 0.25 is a coin).
"""

from itertools import islice

from mesh.board import Board, Critique, Proposal
from mesh.fleet import agents_here

FEWEST_FORECASTS = 8
"""Forecasts without which a critic's record says nothing."""

COIN = 0.25

LATEST_WORDS, MOST = 12, 4
"""Of its last words on proposals, how many a critic may block by opinion and be heeded."""

CRITIQUE_WITHIN_S = 5.0
"""How long a proposal waits for a critic's word before it is admitted without one."""

ANSWER_S = 8.0
"""How long a critic waits for its model: for the one question that it may be busy with, and then for this one."""


def patience_s(board: Board) -> float:
    """Return how long a proposal waits for a critic's word: longer where a critic asks a model, 0 without critics."""
    critics = agents_here(board, "critic")
    if not critics:
        return 0.0
    return CRITIQUE_WITHIN_S + (2 * ANSWER_S if any(joined.model for joined in critics.values()) else 0.0)


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
    return sum(errors) / len(errors) if len(errors) >= FEWEST_FORECASTS else None


def holds_back(board: Board, proposal: Proposal) -> bool:
    """Tell whether a critic holds a proposal back: by a rule that is certain, or an opinion that is worth something."""
    return any(word.verdict == "block" and not overruled(board, proposal, word) for word in proposal.critiques)


def overruled(board: Board, proposal: Proposal, word: Critique) -> str:
    """Return why a block does not hold its proposal back, "" where it does.

    It is an opinion of a critic whose forecasts were worse than a coin, or of one that blocks more than `MOST` of
    `LATEST_WORDS`: what it blocks is not run, so that no record could ever tell that it is wrong.
    """
    if word.confidence is None or word.confidence >= 1:
        return ""
    record = brier(board, word.author)
    if record is not None and record > COIN:
        return f"the Brier score of {word.author} is {record:.2f}, worse than a coin flip ({COIN})"
    blocks = sum(map(_is_mere_opinion, _latest(board, word.author, proposal.seq)))
    if _is_mere_opinion(word) and blocks > MOST:
        return f"{word.author} blocked {blocks} of its last {LATEST_WORDS} proposals by opinion, more than {MOST}"
    return ""


def _latest(board: Board, critic: str, until: int) -> list[Critique]:
    """Return the last words of a critic on proposals up to a place in the log."""
    earlier = (proposal for proposal in reversed(board.proposals.values()) if proposal.seq <= until)
    words = (word for proposal in earlier for word in proposal.critiques if word.author == critic)
    return list(islice(words, LATEST_WORDS))


def _is_mere_opinion(word: Critique) -> bool:
    """Tell whether a word blocks for no other reason than an opinion; a dead end has its failures to show."""
    return word.verdict == "block" and word.confidence is not None and word.confidence < 1 and word.rule != "dead_end"


def _won(proposal: Proposal) -> bool | None:
    if proposal.verdict == "open" or proposal.why == "blocked":
        return None
    return proposal.verdict in ("champion", "past_champion") or proposal.why == "demoted"
