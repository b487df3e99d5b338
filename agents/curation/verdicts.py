"""Verdicts of races as facts: the round, the champion they met, and the scores they rest on. Pure."""

import math

import msgspec

from mesh.board import Board
from mesh.events import ProposalPromoted, ProposalRetired
from mesh.evidence import Estimate


def promoted(
    board: Board, tree: str, value: Estimate, seeds: tuple[int, ...], p: float | None, text: str
) -> ProposalPromoted:
    """Return the promotion of a proposal.

    Args:
        board: The board of the arena.
        tree: The proposal, by its tree hash.
        value: Mean and interval of its fresh scores.
        seeds: The seeds of these scores.
        p: The probability that it is better than the champion it met; None if it met none.
        text: The reason, one sentence.
    """
    return ProposalPromoted(
        proposal=tree,
        round=board.round + 1,
        met=board.champion,
        mean=value.mean,
        low=None if math.isinf(value.low) else value.low,
        high=None if math.isinf(value.high) else value.high,
        seeds=seeds,
        p_better=p,
        text=text,
    )


def retired(
    board: Board,
    tree: str,
    why: str,
    text: str,
    mean: float | None = None,
    *,
    p: float | None = None,
    seeds: tuple[int, ...] = (),
) -> ProposalRetired:
    """Return the retirement of a proposal.

    Args:
        board: The board of the arena.
        tree: The proposal, by its tree hash.
        why: One of the reasons of `ProposalRetired`.
        text: The reason, one sentence.
        mean: The mean of its scores, None if it has none.
        p: The probability that it is better than the champion.
        seeds: The seeds of its fresh scores.
    """
    fields = {"proposal": tree, "round": board.round, "why": why, "met": board.champion, "mean": mean, "text": text}
    return msgspec.convert({**fields, "p_better": p, "seeds": seeds}, ProposalRetired)
