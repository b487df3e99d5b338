"""Early stopping: asynchronous successive halving on live curves, in fractions of the budget. Pure.

When an explore run reaches a rung, its curve is compared with earlier runs of the same worker class and evaluator. One
run of `reduction` continues; the others are killed. A share of the runs, chosen by a hash of their names, is never
killed. For those a critique records what the rule would have done, and the view `halving` counts the wrong kills.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), in the form that stops runs and
never resumes them.
"""

import hashlib
from collections.abc import Sequence

from mesh.board import Board, Run
from mesh.events import CritiquePosted, CurvePoint, RunKilled, WorkerJoined
from mesh.spec import Direction, SelectionSpec, gain

FEWEST_AT_RUNG = 6
"""Number of runs that must have reached a rung before a run is killed there."""


def judge_curve(board: Board, name: str, curve: Sequence[CurvePoint], rung: float) -> RunKilled | CritiquePosted | None:
    """Return the kill or the warning for a run that has just reached a rung; None if it may continue.

    Args:
        board: The board to compare on.
        name: The name of the run.
        curve: Its learning curve so far, in units of the curve, not of the objective.
        rung: A fraction of the budget, 0 to 1.
    """
    run = board.runs.get(name)
    if run is None or run.finished or run.killed or run.requested.lane != "explore" or board.opened is None:
        return None
    value, rule = at_rung(curve, rung), board.opened.spec.selection
    others = rivals(board, run, rung)
    if value is None or len(others) < FEWEST_AT_RUNG:
        return None
    direction = _direction(board)
    better = sum(gain(direction, other, value) > 0 for other in others)
    kept = max(1, int((len(others) + 1) / rule.reduction))
    if better < kept:
        return None
    text = (
        f"at {rung:.0%} of its budget its curve was at {value:.6g}, worse than {better} of {len(others)} other runs; "
        f"only the best {kept} continue"
    )
    if is_spared(name, rule):
        return CritiquePosted(
            target=name, verdict="warn", rule="halving", text=f"{text}; not killed, so that the rule can be checked"
        )
    return RunKilled(run=name, by="rule", text=text, curve=tuple(curve)[-64:])


def rungs_between(rule: SelectionSpec, before: float, now: float) -> list[float]:
    """Return the rungs above the fraction `before` of the budget, up to and including the fraction `now`."""
    return [rung for rung in sorted(rule.rungs) if before < rung <= now]


def at_rung(curve: Sequence[CurvePoint], rung: float) -> float | None:
    """Return the value at which a curve reached a rung; None if it has not reached it."""
    return next((point.value for point in curve if point.fraction >= rung), None)


def rivals(board: Board, run: Run, rung: float) -> list[float]:
    """Return the values at which finished explore runs of the same worker class and evaluator reached a rung."""
    worker_class = _class_of(board, run)
    found = []
    for other in board.runs.values():
        done = other.finished
        if done is None or other.requested.lane != "explore" or other.requested.evaluator != run.requested.evaluator:
            continue
        value = at_rung(done.curve, rung)
        if value is not None and worker_class in ("", done.worker_class):
            found.append(value)
    return found


def is_spared(name: str, rule: SelectionSpec) -> bool:
    """Tell whether a run is never killed. It depends on the name alone, so all curators agree."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return drawn < rule.never_killed


def _class_of(board: Board, run: Run) -> str:
    worker = board.workers.get(run.worker)
    return worker.joined.worker_class if worker and isinstance(worker.joined, WorkerJoined) else ""


def _direction(board: Board) -> Direction:
    """Return whether a lower or a higher curve is better."""
    curve = board.spec.selection.curve
    return board.spec.objective.direction if curve == "objective" else curve
