"""What scores prove: the noise of an arena, means with intervals, and whether one proposal beats another. Pure.

Only fresh scores prove anything: those of the lanes `confirm` and `control`, on seeds that played no part in choosing
the proposal, and those of the artifact as it was, which nobody chose. The score that made a proposal interesting is a
claim. Scores are compared inside one worker class.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from mesh.board import Board, Run
from mesh.events import PROOF

INTERVAL = 0.95

_ENOUGH = 10
"""Degrees of freedom with which the noise since the last promotion is known well enough."""


class Noise(msgspec.Struct, frozen=True):
    """Standard deviation between seeds, in units of the metric, and the degrees of freedom it was estimated with."""

    sd: float
    dof: int


class Estimate(msgspec.Struct, frozen=True):
    """A mean with its 95 % interval, and how many scores it is the mean of."""

    mean: float
    low: float
    high: float
    count: int


def fresh(board: Board, tree: str, worker_class: str = "") -> dict[int, float]:
    """Return the scores that prove, by seed, in the order of the requests; of every class, or of one."""
    return {run.requested.seed: run.value for run in proofs(board, tree, worker_class) if run.value is not None}


def proofs(board: Board, tree: str, worker_class: str = "") -> list[Run]:
    """Return the finished runs whose scores, if they have one, prove something about a proposal."""
    unchosen = board.opened is not None and tree == board.opened.base_tree
    return [
        run
        for run in board.current_runs(tree)
        if (unchosen or run.requested.lane in PROOF)
        and run.finished
        and worker_class in ("", run.finished.worker_class)
    ]


def claim(board: Board, tree: str) -> tuple[float, str] | None:
    """Return the mean score by which a proposal was found, and its worker class; None where it has none.

    Of scores of several classes those of the class that was asked last count.
    """
    return _mean([run for run in board.current_runs(tree) if run.requested.lane not in PROOF], "")


def mean_of(board: Board, tree: str, worker_class: str = "") -> tuple[float, str] | None:
    """Return the mean of all scores of a proposal in a class of workers, the one asked last where none is named."""
    return _mean(board.current_runs(tree), worker_class)


def _mean(runs: Iterable[Run], worker_class: str) -> tuple[float, str] | None:
    scored = [(run.value, run.finished.worker_class) for run in runs if run.value is not None and run.finished]
    worker_class = worker_class or (scored[-1][1] if scored else "")
    values = [value for value, its_class in scored if its_class == worker_class]
    return (sum(values) / len(values), worker_class) if values else None


def noise(board: Board, worker_class: str = "", *, without: str = "") -> Noise:
    """Return the noise between seeds, pooled over proposals that were run on several.

    Equal variances are assumed of those that compete: bad proposals are often noisier than good ones. So of a class
    that has `_ENOUGH` of them, only replicates since the last promotion count, else all; without any of the class those
    of all classes; without any at all the noise is infinite, and nothing is proven. A proposal in doubt is left out by
    `without`.
    """
    recent = _noise(board, worker_class, without, since=board.promoted_seq)
    return recent if recent.dof >= _ENOUGH else _noise(board, worker_class, without, since=0)


def _noise(board: Board, worker_class: str, without: str, since: int) -> Noise:
    groups: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for name in board.proofs:
        run = board.runs[name]
        asked = run.requested
        if asked.proposal == without or (run.seq < since and asked.proposal != board.champion):
            continue
        if run.finished and run.value is not None and run.evaluator in ("", _evaluator(board)):
            groups[run.requested.proposal, run.finished.worker_class][run.requested.seed] = run.value
    for (tree, its_class), values in groups.items():
        if board.opened and tree == board.opened.base_tree and (not since or tree == board.champion):
            values.update(fresh(board, tree, its_class))
    own = pooled(list(v.values()) for (_, its), v in groups.items() if its == worker_class)
    return own if own.dof else pooled(list(values.values()) for values in groups.values())


def pooled(groups: Iterable[Sequence[float]]) -> Noise:
    """Return the pooled standard deviation of groups with means of their own."""
    squares, dof = 0.0, 0
    for values in groups:
        if len(values) > 1:
            mean = sum(values) / len(values)
            squares += sum((value - mean) ** 2 for value in values)
            dof += len(values) - 1
    return Noise(math.sqrt(squares / dof) if dof else math.inf, dof)


def estimate(values: Sequence[float], found: Noise) -> Estimate:
    """Return the mean of fresh scores with its interval by Student's t; infinite bounds where the noise is unknown."""
    from scipy.special import stdtrit  # half a second to import: not for those who never ask

    mean = sum(values) / len(values)
    if not found.dof:
        return Estimate(mean, -math.inf, math.inf, len(values))
    half = float(stdtrit(found.dof, (1 + INTERVAL) / 2)) * found.sd / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


def p_better(board: Board, challenger: Sequence[float], champion: Sequence[float], found: Noise) -> float:
    """Return how surely the challenger is better: one less the one-sided p-value of Student's two-sample t-test.

    The variance is the pooled one of `found`. As the many challengers of one champion share its scores, their tests
    are positively dependent (Dunnett, 1955).
    """
    from scipy.special import stdtr

    if not challenger or not champion or not found.dof:
        return 0.5
    gain = board.spec.objective.gain(sum(challenger) / len(challenger), sum(champion) / len(champion))
    error = found.sd * math.sqrt(1 / len(challenger) + 1 / len(champion))
    if error == 0:
        return 1.0 if gain > 0 else 0.0 if gain < 0 else 0.5
    return float(stdtr(found.dof, gain / error))


def _evaluator(board: Board) -> str:
    return board.opened.evaluator if board.opened else ""
