"""Evidence from scores: the noise of an arena, means with intervals, and whether one proposal beats another. Pure.

Only fresh scores prove anything: those of the lanes `confirm` and `control`, on seeds that played no part in choosing
the proposal. All scores of the baseline are fresh, because no score chose it. The score that made a proposal
interesting is a claim. Scores are compared inside one worker class.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mesh.board import Board, Run
from mesh.events import PROOF
from mesh.standing import Rule

INTERVAL = 0.95
"""Coverage of the intervals."""

_ENOUGH = 10
"""With this many degrees of freedom, the noise since the last promotion is known well enough."""


class Noise(msgspec.Struct, frozen=True):
    """Standard deviation between seeds, in units of the metric, and the degrees of freedom of this estimate."""

    sd: float
    dof: int


class Estimate(msgspec.Struct, frozen=True):
    """A mean with its 95 % interval, in units of the metric, and the number of scores."""

    mean: float
    low: float
    high: float
    count: int


def fresh(board: Board, tree: str, worker_class: str = "") -> dict[int, float]:
    """Return the fresh scores of a proposal by seed, in the order of the requests.

    Args:
        board: The board of the arena.
        tree: The proposal, by its tree hash.
        worker_class: Count only this worker class; "" counts all.
    """
    return {run.requested.seed: run.value for run in proofs(board, tree, worker_class) if run.value is not None}


def proofs(board: Board, tree: str, worker_class: str = "") -> list[Run]:
    """Return the finished runs of a proposal that count as evidence; their scores, if any, are fresh."""
    unchosen = board.opened is not None and tree == board.opened.base_tree
    return [
        run
        for run in board.current_runs(tree)
        if (unchosen or run.requested.lane in PROOF)
        and run.finished
        and worker_class in ("", run.finished.worker_class)
    ]


def claim(board: Board, tree: str) -> tuple[float, str] | None:
    """Return the mean score by which search found a proposal, and its worker class; None without such a score.

    If several worker classes have scores, the class of the latest request counts.
    """
    return _mean([run for run in board.current_runs(tree) if run.requested.lane not in PROOF], "")


def mean_of(board: Board, tree: str, worker_class: str = "") -> tuple[float, str] | None:
    """Return the mean of all scores of a proposal in a worker class; without a name, in that of the latest request."""
    return _mean(board.current_runs(tree), worker_class)


def _mean(runs: Iterable[Run], worker_class: str) -> tuple[float, str] | None:
    scored = [(run.value, run.finished.worker_class) for run in runs if run.value is not None and run.finished]
    worker_class = worker_class or (scored[-1][1] if scored else "")
    values = [value for value, measured_on in scored if measured_on == worker_class]
    return (sum(values) / len(values), worker_class) if values else None


def noise(board: Board, worker_class: str = "", *, without: str = "") -> Noise:
    """Return the noise between seeds, pooled over the proposals that ran on several seeds.

    The pooling assumes that competing proposals have equal variances. Bad proposals are often noisier than good ones,
    so only scores since the last promotion count, if they give `_ENOUGH` degrees of freedom; else all scores count.
    A worker class without repeated runs uses those of all classes. Without any repeated run the noise is infinite, and
    nothing is proven. The view `noise_in_force` has the same rule in SQL.

    Args:
        board: The board of the arena.
        worker_class: The worker class whose scores are pooled.
        without: A proposal to leave out; "" for none.
    """
    recent = _noise(board, worker_class, without, since=board.promoted_seq)
    return recent if recent.dof >= _ENOUGH else _noise(board, worker_class, without, since=0)


def _noise(board: Board, worker_class: str, without: str, since: int) -> Noise:
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in _fresh_runs(board):
        tree = run.requested.proposal
        if tree != without and (run.seq >= since or tree == board.champion) and run.finished and run.value is not None:
            groups[tree, run.finished.worker_class].append(run.value)
    of_class = pooled(values for (_, measured_on), values in groups.items() if measured_on == worker_class)
    return of_class if of_class.dof else pooled(groups.values())


def ranking_rule(board: Board) -> Rule:
    """Return which scores count in the ranking, and how. In an arena that was never opened, none does."""
    if (opened := board.opened) is None:
        return Rule("", "", -1, exact=False)
    goal = opened.spec.objective
    return Rule(opened.evaluator, opened.base_tree, 1 if goal.better(1, 0) else -1, exact=goal.noise == "none")


def _fresh_runs(board: Board) -> Iterator[Run]:
    """Yield the runs that count as fresh evidence under the present evaluator."""
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
    """Return the pooled standard deviation of groups of scores, each around its own mean.

    Welford's method sums the squares, because the textbook formula finds a spread of 1e-17 in 0.1, 0.1, 0.1. Groups of
    equal values have a spread of exactly 0. Source: B. P. Welford, Technometrics 4(3), 1962.
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
    """Return the quantile of Student's t for a two-sided 95 % interval with `dof` degrees of freedom."""
    from scipy.special import stdtrit  # takes half a second to import

    return float(stdtrit(dof, (1 + INTERVAL) / 2))


def estimate(values: Sequence[float], found: Noise) -> Estimate:
    """Return the mean of fresh scores with its interval by Student's t; infinite bounds if the noise is unknown."""
    mean = sum(values) / len(values)
    if not found.dof:
        return Estimate(mean, -math.inf, math.inf, len(values))
    half = student_t(found.dof) * found.sd / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


def p_better(board: Board, challenger: Sequence[float], champion: Sequence[float], found: Noise) -> float:
    """Return 1 minus the one-sided p-value of Student's two-sample t-test that the challenger is better.

    Without scores or without a known noise the result is 0.5. Challengers of one champion share its scores, so their
    tests are positively dependent (Dunnett, "A multiple comparison procedure for comparing several treatments with a
    control", 1955).

    Args:
        board: The board of the arena, which says which direction is better.
        challenger: Fresh scores of the challenger.
        champion: Fresh scores of the champion.
        found: The pooled noise of the arena.
    """
    from scipy.special import stdtr

    if not challenger or not champion or not found.dof:
        return 0.5
    gain = board.spec.objective.gain(sum(challenger) / len(challenger), sum(champion) / len(champion))
    error = found.sd * math.sqrt(1 / len(challenger) + 1 / len(champion))
    if error == 0:
        return 1.0 if gain > 0 else 0.0 if gain < 0 else 0.5
    return float(stdtr(found.dof, gain / error))
