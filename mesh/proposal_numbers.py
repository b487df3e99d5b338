"""Numbers of one proposal, as every command shows them. Pure."""

from mesh.board import Board
from mesh.events import Cost
from mesh.leaderboard import proven, state_of


def shown_mean(board: Board, tree: str) -> float | None:
    """Return the mean of the fresh scores of a proposal, else of its claims; None where it has no score."""
    if tree not in board.proposals:
        return None
    values = proven(board, tree) or board.scores(tree)
    return sum(values) / len(values) if values else None


def gain_of(board: Board, tree: str, over: str) -> float | None:
    """Return by how much a proposal is better than another, in units of the metric; None where one has no score."""
    mine, other = shown_mean(board, tree), shown_mean(board, over)
    if mine is None or other is None:
        return None
    return board.spec.objective.gain(mine, other)


def state(board: Board, tree: str) -> str:
    """Return where a proposal stands, in the words of the leaderboard; `open` without any score."""
    proposal = board.proposals[tree]
    if proposal.verdict == "open" and not board.scores(tree):
        return "open"
    return state_of(proposal, proven=bool(proven(board, tree)))


def children_of(board: Board) -> dict[str, list[str]]:
    """Return for every proposal that was built on who did, in the order of the log."""
    found: dict[str, list[str]] = {}
    for tree, proposal in board.proposals.items():
        for parent in dict.fromkeys(proposal.event.parents):
            found.setdefault(parent, []).append(tree)
    return found


def cost_of(board: Board, tree: str) -> dict[str, object]:
    """Return what a proposal took: seconds of workers, tokens, dollars (None: unknown) of its thinking and its runs."""
    proposal = board.proposals[tree]
    ended = [finished for name in proposal.runs if (finished := board.runs[name].finished)]
    thought = proposal.event.cost
    costs = [cost for cost in (thought, *(finished.cost for finished in ended)) if cost]
    known = [cost.usd for cost in costs if cost.usd is not None]
    seconds = [finished.trial_s + finished.score_s for finished in ended]
    return {
        "runs": len(proposal.runs),
        "worker_s": sum(seconds),
        "tokens": _tokens(thought),
        "usd": sum(known) if known else None,
    }


def _tokens(cost: Cost | None) -> int | None:
    if cost is None or (cost.tokens_in is None and cost.tokens_out is None):
        return None
    return (cost.tokens_in or 0) + (cost.tokens_out or 0)
