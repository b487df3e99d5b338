"""The reliability of critics: how often their forecasts came true, and when a block is overruled. Pure.

A critique with a confidence is a forecast that the proposal will become champion (`endorse`) or not (`warn`, `block`).
A critic's Brier score is the mean squared error of its forecasts: 0 is perfect, 0.25 is a coin flip. Source: Brier,
"Verification of forecasts expressed in terms of probability" (1950).
"""

from itertools import islice

from mesh.board import Board, Critique, Proposal
from mesh.fleet import agents_here
from mesh.remembered import Remembered

FEWEST_FORECASTS = 8
"""Fewest forecasts for a Brier score."""

COIN = 0.25
"""Brier score of a coin flip."""

LOOK_BACK, MOST = 12, 4
"""A critic that blocks more than `MOST` of its `LOOK_BACK` proposals by opinion is overruled."""

RECORD = 300
"""Whether a critic is overruled is judged by its forecasts of so many proposals, the latest."""

CRITIQUE_WITHIN_S = 5.0
"""Longest wait of a proposal for its critique; after that it is admitted without one."""

ANSWER_S = 8.0
"""Longest wait of a critic for an answer of its model. A proposal waits for two answers: the model may be busy."""


def patience_s(board: Board) -> float:
    """Return the longest wait for a critique, in seconds: longer if a critic asks a model, 0 without critics."""
    critics = agents_here(board, "critic")
    if not critics:
        return 0.0
    return CRITIQUE_WITHIN_S + (2 * ANSWER_S if any(joined.model for joined in critics.values()) else 0.0)


def forecast(critique: Critique) -> float | None:
    """Return the probability that the proposal becomes champion by this critique; None if it gives none."""
    if critique.confidence is None:
        return None
    return critique.confidence if critique.verdict == "endorse" else 1 - critique.confidence


def brier(board: Board, critic: str, latest: int | None = None) -> float | None:
    """Return the Brier score of a critic's decided forecasts; None if they are too few.

    Args:
        board: The board of the arena.
        critic: The name of the critic.
        latest: Only forecasts of so many proposals count, the latest; None counts all.
    """
    errors = [
        (p - won) ** 2
        for proposal in islice(reversed(board.proposals.values()), latest)
        if (won := _won(proposal)) is not None
        for critique in [*proposal.critiques, *(c for run in proposal.runs for c in board.runs[run].critiques)]
        if critique.author == critic and (p := forecast(critique)) is not None
    ]
    return sum(errors) / len(errors) if len(errors) >= FEWEST_FORECASTS else None


def holds_back(board: Board, proposal: Proposal) -> bool:
    """Tell whether a critique blocks a proposal and is not overruled."""
    return any(c.verdict == "block" and not overruled(board, proposal, c) for c in proposal.critiques)


def overruled(board: Board, proposal: Proposal, block: Critique) -> str:
    """Return why a block is overruled; "" if it remains in force.

    Only opinions are overruled, never certain rules. A critic is overruled if its forecasts were worse than a coin
    flip, or if it blocks more than `MOST` of its `LOOK_BACK` proposals. Blocked proposals do not run, so no score would
    ever show that such a critic is wrong.
    """
    if block.confidence is None or block.confidence >= 1:
        return ""
    record = _records.of(board, board.seq, block.author, lambda: brier(board, block.author, RECORD))
    if record is not None and record > COIN:
        return f"the Brier score of {block.author} is {record:.2f}, worse than a coin flip ({COIN})"
    blocks = sum(map(_is_mere_opinion, _latest(board, block.author, proposal.seq)))
    if _is_mere_opinion(block) and blocks > MOST:
        return f"{block.author} blocked {blocks} of its last {LOOK_BACK} proposals by opinion, more than {MOST}"
    return ""


_records: Remembered[float | None] = Remembered()


def _latest(board: Board, critic: str, until: int) -> list[Critique]:
    """Return the latest critiques of proposals by a critic, of `RECORD` proposals up to an entry of the log."""
    earlier = islice((proposal for proposal in reversed(board.proposals.values()) if proposal.seq <= until), RECORD)
    critiques = (c for proposal in earlier for c in proposal.critiques if c.author == critic)
    return list(islice(critiques, LOOK_BACK))


def _is_mere_opinion(critique: Critique) -> bool:
    """Tell whether a critique blocks by opinion alone; a dead end is backed by failed runs."""
    confidence = critique.confidence
    return critique.verdict == "block" and confidence is not None and confidence < 1 and critique.rule != "dead_end"


def _won(proposal: Proposal) -> bool | None:
    if proposal.verdict == "open" or proposal.why == "blocked":
        return None
    return proposal.verdict in ("champion", "past_champion") or proposal.why == "demoted"
