"""Numbers of one proposal, as every command shows them. Pure."""

import msgspec

from mesh.board import Board
from mesh.events import Cost
from mesh.leaderboard import Ranking


class Gain(msgspec.Struct, frozen=True):
    """By how much a proposal is better than another, in units of the metric, and whether runs side by side say so."""

    value: float
    is_side_by_side: bool


def gain_of(ranking: Ranking, tree: str, over: str) -> float | None:
    """Return the value of `known_gain`."""
    known = known_gain(ranking, tree, over)
    return known.value if known else None


def known_gain(ranking: Ranking, tree: str, over: str) -> Gain | None:
    """Return by how much a proposal is better than another, in units of the metric.

    Where seeds share something, runs side by side are compared: a proposal that met its parent on common seeds is not
    worse because the parent was also run on easier ones. Elsewhere it is the difference of two means. It is None if one
    of them has no score, or if their scores are from different worker classes.

    Args:
        ranking: the ranking of a board.
        tree: the proposal.
        over: the other proposal.
    """
    row, other = ranking.of(tree), ranking.of(over)
    if row is None or other is None or row.worker_class != other.worker_class:
        return None
    beside = None if tree == over else ranking.gain_side_by_side(tree, over, row.worker_class)
    return Gain(ranking.gain(row.mean, other.mean) if beside is None else beside, beside is not None)


def gain_over_parents(ranking: Ranking, tree: str) -> float | None:
    """Return by how much a proposal is better than the best of its parents; None where no two can be compared."""
    parents = ranking.board.proposals[tree].event.parents
    gains = [gain for parent in parents if (gain := gain_of(ranking, tree, parent)) is not None]
    return min(gains) if gains else None


def is_gain_proven(ranking: Ranking, tree: str, over: str) -> bool:
    """Tell whether the gain of a proposal over another rests on fresh scores of both, or on a metric that is exact.

    A candidate score was chosen for being good: beside it, a proposal that is proven to be better may look worse.
    """
    row, other = ranking.of(tree), ranking.of(over)
    is_exact = ranking.board.spec.objective.noise == "none"
    return is_exact or (row is not None and other is not None and bool(row.fresh and other.fresh))


def children_of(board: Board) -> dict[str, list[str]]:
    """Return the children of every proposal that has some, in the order of the log."""
    found: dict[str, list[str]] = {}
    for tree, proposal in board.proposals.items():
        for parent in dict.fromkeys(proposal.event.parents):
            found.setdefault(parent, []).append(tree)
    return found


def cost_of(board: Board, tree: str) -> dict[str, object]:
    """Return the cost of a proposal: worker seconds, tokens and dollars of its model calls and runs (None: unknown)."""
    proposal = board.proposals[tree]
    ended = [finished for name in proposal.runs if (finished := board.runs[name].finished)]
    author_cost = proposal.event.cost
    costs = [cost for cost in (author_cost, *(finished.cost for finished in ended)) if cost]
    known = [cost.usd for cost in costs if cost.usd is not None]
    seconds = [finished.trial_s + finished.score_s for finished in ended]
    return {
        "runs": len(proposal.runs),
        "worker_s": sum(seconds),
        "tokens": _tokens(author_cost),
        "usd": sum(known) if known else None,
    }


def _tokens(cost: Cost | None) -> int | None:
    if cost is None or (cost.tokens_in is None and cost.tokens_out is None):
        return None
    return (cost.tokens_in or 0) + (cost.tokens_out or 0)
