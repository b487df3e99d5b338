"""The leaderboard: one row for each proposal that has scores, with its mean, interval and state. Pure."""

from mesh import events as e
from mesh.board import Board, Proposal
from mesh.evidence import estimate, fresh, noise

MARKED = "* self-reported: the candidate's own code ran in the process that said this number"


def is_self_reported(board: Board, tree: str) -> bool:
    """Tell whether any counted score of a proposal is its own word."""
    outcomes = (run.finished.outcome for run in board.current_runs(tree) if run.finished)
    return any(isinstance(outcome, e.Scored) and outcome.self_reported for outcome in outcomes)


def score_of(board: Board, tree: str) -> str:
    """Return the mean score of a proposal, marked where it is the proposal's own word; '-' where there is none.

    It is the mean of fresh scores where there are some, else the claim by which the proposal was found.
    """
    values = proven(board, tree) or board.scores(tree)
    mark = "*" if is_self_reported(board, tree) else ""
    return f"{sum(values) / len(values):.4f}{mark}" if values else "-"


def proven(board: Board, tree: str) -> list[float]:
    """Return the scores that prove something about a proposal: the fresh ones, all of an exact metric."""
    if board.spec.objective.noise == "none":
        return board.scores(tree)
    return list(fresh(board, tree).values())


def standing(board: Board) -> list[dict[str, object]]:
    """Return the proposals that have scores as rows for a table or JSON.

    The champion comes first, then what has fresh scores by the bound of its interval, then claims.
    """
    rows: list[dict[str, object]] = []
    found = noise(board)
    for tree, proposal in board.proposals.items():
        if not (scores := board.scores(tree)):
            continue
        proof = proven(board, tree)
        value = estimate(proof or scores, found)
        bounded = bool(proof) and found.dof > 0
        rows.append(
            {
                "proposal": tree,
                "mean": value.mean,
                "low": value.low if bounded else None,
                "high": value.high if bounded else None,
                "seeds": value.count,
                "fresh": len(proof),
                "self_reported": is_self_reported(board, tree),
                "state": state_of(proposal, proven=bool(proof)),
                "author": proposal.author,
                "title": proposal.event.title,
            }
        )

    def place(row: dict[str, object]) -> tuple[object, ...]:
        bounds = [row["low"], row["high"], row["mean"]]
        worst = min(board.spec.objective.gain(bound) for bound in bounds if isinstance(bound, float))
        return row["state"] != "champion", not row["fresh"], -worst, row["proposal"]

    rows.sort(key=place)
    return [{"rank": place + 1, **row} for place, row in enumerate(rows)]


def interval(row: dict[str, object]) -> str:
    """Return the 95 % interval of a row of `standing`, in units of the metric; "a claim" where nothing is proven."""
    low, high = row["low"], row["high"]
    return f"{low:.4f} … {high:.4f}" if isinstance(low, float) and isinstance(high, float) else "a claim"


def state_of(proposal: Proposal, *, proven: bool) -> str:
    """Return where a proposal stands, as in the view `leaderboard`."""
    if proposal.verdict == "open":
        return "confirming" if proven else "claimed"
    return "demoted" if proposal.why == "demoted" else proposal.verdict.replace("_", " ")
