"""How the verdicts of races are worded: of which round they are, whom they met, what they rest on. Pure."""

import math

import msgspec

from mesh.board import Board
from mesh.events import ProposalPromoted, ProposalRetired
from mesh.evidence import Estimate


def promoted(
    board: Board, tree: str, value: Estimate, seeds: tuple[int, ...], p: float | None, text: str
) -> ProposalPromoted:
    """Return that a proposal is champion from now on, of this value on these seeds."""
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
    """Return that a proposal is given up, and why."""
    fields = {"proposal": tree, "round": board.round, "why": why, "met": board.champion, "mean": mean, "text": text}
    return msgspec.convert({**fields, "p_better": p, "seeds": seeds}, ProposalRetired)
