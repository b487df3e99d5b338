"""Results that every run of the baseline gave, such as a checksum, and the proposals that give another. Pure.

A candidate that does less work is faster. Its checksum or its count of rows shows it, also where no constraint asks.
"""

from mesh.board import Board
from mesh.events import Scored
from mesh.records import Run
from mesh.size_names import changed_results, steady_numbers
from mesh.text import printable, short

_MOST_RUNS = 8


def other_results(board: Board, run: Run) -> str:
    """Return which results of the baseline a scored run does not repeat, "" if none.

    Args:
        board: the board of the arena.
        run: a run of it.
    """
    if board.opened is None or not run.finished or not isinstance(run.finished.outcome, Scored):
        return ""
    base = board.opened.base_tree
    if run.requested.proposal == base or base not in board.proposals:
        return ""
    scores = [each.finished.outcome.metrics for each in board.current_runs(base)[:_MOST_RUNS]
              if each.finished and isinstance(each.finished.outcome, Scored)]  # fmt: skip
    if len(scores) < (1 if board.spec.objective.noise == "none" else 2):
        return ""
    goal = board.spec.objective
    changed = changed_results(
        steady_numbers(scores, but=(goal.metric, *goal.constraints)), run.finished.outcome.metrics
    )
    return f"{printable(changed, 300)} as in every run of the baseline" if changed else ""


def odd_results(board: Board, tree: str) -> str:
    """Return which results of the baseline a proposal does not repeat, by its last score; "" if none."""
    if tree not in board.proposals:
        return ""
    runs = [run for run in board.current_runs(tree) if run.value is not None]
    return other_results(board, runs[-1]) if runs else ""


def odd_champion(board: Board) -> str:
    """Return a sentence about a champion whose results are not the baseline's, with what to do; "" if they are."""
    if not board.opened or not (odd := odd_results(board, board.champion)):
        return ""
    where = f"mesh diff {short(board.opened.base_tree)} champion"
    return (
        f"look at the champion: {odd}. Does it still do all of the work? `{where}` shows its code; a constraint such "
        'as "== NUMBER" refuses others like it'
    )
