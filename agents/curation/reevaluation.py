"""Re-evaluation: which proposals are scored again after a change of the evaluator, and which may win by it. Pure.

Scores of an older evaluator no longer count (`Board.scores`). The champion, the past champions and the best few other
proposals are scored again, and so are the latest that failed under it, or before anything was scored. Undecided
proposals are simply admitted again, by `agents.curation.admission`.
"""

from itertools import islice

from agents.curation.settled import failed_in_vain, finished_by_older
from mesh.baseline import is_measured
from mesh.board import Board
from mesh.fleet import is_awaited
from mesh.records import is_aside
from mesh.remembered import Remembered

TOP = 5
"""Number of retired proposals that are scored again: the best by their last scores."""


def due(board: Board) -> list[str]:
    """Return the decided proposals that need a score by the present evaluator, the champion first."""
    wanted = [board.champion] if board.champion else []
    base = board.opened.base_tree if board.opened else ""
    if base in board.proposals and base not in board.undecided and base != board.champion:
        wanted.append(base)
    if board.opened and board.opened.version > 1:
        past = [tree for tree in {*board.champions} if board.proposals[tree].verdict == "past_champion"]
        wanted += sorted(past, key=lambda tree: -board.proposals[tree].seq)
        best = (tree for tree in _by_last_scores(board) if board.proposals[tree].verdict == "retired")
        wanted += islice(best, TOP)
    failed = failed_in_vain(board) if is_measured(board) else []  # the present baseline stands for those of the past
    wanted += [tree for tree in failed if board.proposals[tree].event.origin.how != "baseline"]
    allowed = (tree for tree in dict.fromkeys(wanted) if not board.proposals[tree].ruled_out)
    return [tree for tree in allowed if not board.current_runs(tree)]


def is_champion_awaited(board: Board) -> bool:
    """Tell whether the champion has no score by the present evaluator yet, but may still get one."""
    if not board.champion:
        return False
    if board.scores(board.champion):
        return False
    runs = board.current_runs(board.champion)
    return not runs or any(is_awaited(board, run) for run in runs)


def _by_last_scores(board: Board) -> list[str]:
    """Return the proposals that the evaluator before the present one has scored, the best first."""
    version = board.opened.version if board.opened else 0
    return _ranked.of(board, (version, finished_by_older(board)), (), lambda: _ranked_now(board))


_ranked: Remembered[list[str]] = Remembered()


def _ranked_now(board: Board) -> list[str]:
    last = _last_scores(board)
    return sorted(last, key=lambda tree: -board.spec.objective.gain(last[tree]))


def _last_scores(board: Board) -> dict[str, float]:
    """Return the mean of each proposal by the evaluator before the present one."""
    assert board.opened is not None
    last, found = "", dict[str, list[float]]()
    for run in reversed(board.runs.values()):
        evaluator = run.requested.evaluator
        if (
            run.value is None
            or is_aside(run.requested)
            or evaluator in ("", board.opened.evaluator)
            or evaluator != (last or evaluator)
        ):
            continue
        last = evaluator
        found.setdefault(run.requested.proposal, []).append(run.value)
    return {tree: sum(values) / len(values) for tree, values in found.items() if tree in board.proposals}
