"""What scores prove: the noise of an arena, means with intervals, and whether one proposal beats another. Pure.

Only fresh scores prove anything: those of the lanes `confirm` and `control`, on seeds that played no part in choosing
the proposal, and those of the artifact as it was, which nobody chose. The score that made a proposal interesting is a
claim. Scores are compared inside one worker class.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mesh.board import Board, Run
from mesh.events import PROOF
from mesh.standing import Rule

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
    `without`. The view `noise_in_force` says the same in SQL.
    """
    recent = _noise(board, worker_class, without, since=board.promoted_seq)
    return recent if recent.dof >= _ENOUGH else _noise(board, worker_class, without, since=0)


def _noise(board: Board, worker_class: str, without: str, since: int) -> Noise:
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in _fresh_runs(board):
        tree = run.requested.proposal
        if tree != without and (run.seq >= since or tree == board.champion) and run.finished and run.value is not None:
            groups[tree, run.finished.worker_class].append(run.value)
    own = pooled(values for (_, its_class), values in groups.items() if its_class == worker_class)
    return own if own.dof else pooled(groups.values())


def ranking_rule(board: Board) -> Rule:
    """Return which scores rank in the arena, and how; an arena that was never opened ranks nothing."""
    if (opened := board.opened) is None:
        return Rule("", "", -1, exact=False)
    goal = opened.spec.objective
    return Rule(opened.evaluator, opened.base_tree, 1 if goal.better(1, 0) else -1, exact=goal.noise == "none")


def _fresh_runs(board: Board) -> Iterator[Run]:
    """Yield the runs whose scores, if they have one, are fresh and of the evaluator in force."""
    rule = ranking_rule(board)
    names: Iterable[str] = board.proofs
    if rule.exact:
        names = board.runs
    elif base := board.proposals.get(rule.base_tree):
        names = [*names, *(name for name in base.runs if board.runs[name].requested.lane not in PROOF)]
    for name in names:
        run = board.runs[name]
        known = board.proposals.get(run.requested.proposal)
        if known and known.seq < run.seq and run.evaluator in ("", rule.evaluator):
            yield run


def pooled(groups: Iterable[Sequence[float]]) -> Noise:
    """Return the pooled standard deviation of groups with means of their own; groups of equal values have none at all.

    The squares are summed up as Welford does: the usual way finds a spread of 1e-17 in 0.1, 0.1, 0.1.
    """
    squares, dof = 0.0, 0
    for values in groups:
        mean = 0.0
        for count, value in enumerate(values, 1):
            off = value - mean
            mean += off / count
            squares += off * (value - mean)
        dof += max(0, len(values) - 1)
    return Noise(math.sqrt(squares / dof) if dof else math.inf, dof)


def student_t(dof: int) -> float:
    """Return the quantile of Student's t that bounds a two-sided 95 % interval."""
    from scipy.special import stdtrit  # half a second to import: not for those who never ask

    return float(stdtrit(dof, (1 + INTERVAL) / 2))


def estimate(values: Sequence[float], found: Noise) -> Estimate:
    """Return the mean of fresh scores with its interval by Student's t; infinite bounds where the noise is unknown."""
    mean = sum(values) / len(values)
    if not found.dof:
        return Estimate(mean, -math.inf, math.inf, len(values))
    half = student_t(found.dof) * found.sd / math.sqrt(len(values))
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
