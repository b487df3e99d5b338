"""Re-evaluation: which proposals are scored again after a change of the evaluator, and which may win by it. Pure.

Scores of an older evaluator no longer count (`Board.scores`). The champion, the past champions and the best few other
proposals are scored again, and so are the latest that failed under it, or before anything was scored. Undecided
proposals are simply admitted again, by `agents.curation.admission`.
"""

from itertools import takewhile

from mesh.baseline import is_measured
from mesh.board import Board
from mesh.fleet import is_awaited

TOP = 5
"""Number of retired proposals that are scored again: the best by their last scores."""

RETRIED = 20
"""Number of failed proposals that run again after a cure: the latest."""


def due(board: Board) -> list[str]:
    """Return the decided proposals that need a score by the present evaluator, the champion first."""
    wanted = [board.champion] if board.champion else []
    base = board.opened.base_tree if board.opened else ""
    if base in board.proposals and base not in board.undecided and base != board.champion:
        wanted.append(base)
    if board.opened and board.opened.version > 1:
        last = _last_scores(board)
        rest = [tree for tree in last if board.proposals[tree].verdict == "retired"]
        wanted += reversed([tree for tree, p in board.proposals.items() if p.verdict == "past_champion"])
        wanted += sorted(rest, key=lambda tree: -board.spec.objective.gain(last[tree]))[:TOP]
    wanted += _failed_in_vain(board)
    allowed = (tree for tree in dict.fromkeys(wanted) if not board.proposals[tree].ruled_out)
    return [tree for tree in allowed if not board.current_runs(tree)]


def _failed_in_vain(board: Board) -> list[str]:
    """Return the latest proposals that failed where nothing could be scored, or under an older evaluator alone."""
    if not is_measured(board):
        return []
    assert board.opened is not None
    early = takewhile(lambda tree: board.proposals[tree].seq < board.scored_seq, board.proposals)
    trees = list(early if board.opened.version == 1 else board.proposals)
    failed = [tree for tree in reversed(trees) if _has_failed(board, tree)]
    return failed[:RETRIED]


def _has_failed(board: Board, tree: str) -> bool:
    """Tell whether a proposal was retired as failed, although no evaluator ever gave it a number."""
    proposal = board.proposals[tree]
    if proposal.verdict != "retired" or proposal.why != "failed" or not proposal.runs:
        return False
    return not any(board.runs[run].has_number for run in proposal.runs)


def is_champion_awaited(board: Board) -> bool:
    """Tell whether the champion has no score by the present evaluator yet, but may still get one."""
    if not board.champion or board.scores(board.champion):
        return False
    runs = board.current_runs(board.champion)
    return not runs or any(is_awaited(board, run) for run in runs)


def reevaluated(board: Board) -> list[str]:
    """Return the decided proposals, except the champion, with scores by the present and an older evaluator."""
    if board.opened is None or board.opened.version == 1:
        return []
    return [
        tree
        for tree, proposal in board.proposals.items()
        if proposal.verdict in ("past_champion", "retired")
        and len(board.current_runs(tree)) < len(proposal.runs)
        and board.scores(tree)
    ]


def _last_scores(board: Board) -> dict[str, float]:
    """Return the mean of each proposal by the evaluator before the present one."""
    assert board.opened is not None
    last, found = "", dict[str, list[float]]()
    for run in reversed(board.runs.values()):
        evaluator = run.requested.evaluator
        if (
            run.value is None
            or run.requested.lane == "sealed"
            or evaluator in ("", board.opened.evaluator)
            or evaluator != (last or evaluator)
        ):
            continue
        last = evaluator
        found.setdefault(run.requested.proposal, []).append(run.value)
    return {tree: sum(values) / len(values) for tree, values in found.items() if tree in board.proposals}
