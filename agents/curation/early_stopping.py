"""Early ends: asynchronous successive halving on live curves, in fractions of the budget. Pure.

When a run of search reaches a rung, its curve is compared with all that reached it before, of the same worker class and
evaluator: of `reduction` one goes on, the others are killed. A share of the runs, chosen by their names, is never
killed: for those the rule only says so, as a critique of the run, from which the rate of wrong kills is counted (the
view `halving`). Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), in the form
that stops runs and never resumes them.
"""

import hashlib
from collections.abc import Sequence

from mesh.board import Board, Run
from mesh.events import CritiquePosted, CurvePoint, RunKilled, WorkerJoined
from mesh.spec import Direction, SelectionSpec, gain

FEWEST_AT_RUNG = 6
"""Runs that must have reached a rung before anybody is killed there."""


def judge_curve(board: Board, name: str, curve: Sequence[CurvePoint], rung: float) -> RunKilled | CritiquePosted | None:
    """Return the word on a run that has just reached a rung; None where it may go on."""
    run = board.runs.get(name)
    if run is None or run.finished or run.killed or run.requested.lane != "explore" or board.opened is None:
        return None
    mine, rule = at_rung(curve, rung), board.opened.spec.selection
    others = rivals(board, run, rung)
    if mine is None or len(others) < FEWEST_AT_RUNG:
        return None
    direction = _direction(board)
    better = sum(gain(direction, other, mine) > 0 for other in others)
    kept = max(1, int((len(others) + 1) / rule.reduction))
    if better < kept:
        return None
    text = (
        f"at {rung:.0%} of its budget its curve stood at {mine:.6g}, behind {better} of {len(others)}: {kept} may go on"
    )
    if is_spared(name, rule):
        return CritiquePosted(target=name, verdict="warn", rule="halving", text=f"{text}; never killed, to learn from")
    return RunKilled(run=name, by="rule", text=text, curve=tuple(curve)[-64:])


def rungs_between(rule: SelectionSpec, before: float, now: float) -> list[float]:
    """Return the rungs that lie between two fractions of a budget, the second included."""
    return [rung for rung in sorted(rule.rungs) if before < rung <= now]


def at_rung(curve: Sequence[CurvePoint], rung: float) -> float | None:
    """Return the value with which a curve reached a rung, None where it did not."""
    return next((point.value for point in curve if point.fraction >= rung), None)


def rivals(board: Board, run: Run, rung: float) -> list[float]:
    """Return with what values the finished runs of search reached a rung, of the run's worker class and evaluator."""
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
    """Tell whether a run is one of those that are never killed: the same for everybody who asks."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return drawn < rule.never_killed


def _class_of(board: Board, run: Run) -> str:
    worker = board.workers.get(run.worker)
    return worker.joined.worker_class if worker and isinstance(worker.joined, WorkerJoined) else ""


def _direction(board: Board) -> Direction:
    """Return whether the curves are to fall or to rise."""
    curve = board.spec.selection.curve
    return board.spec.objective.direction if curve == "objective" else curve
