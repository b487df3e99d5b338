"""Paired comparisons: what the common seeds of two proposals say about their difference. Pure.

A seed may be a world, a fold or a batch order, whose difficulty all proposals share. Then the difference of two scores
on one seed varies less than each of them. `seed_effect` finds by an analysis of variance how much of the variance
belongs to the seeds. `difference` estimates the difference by generalised least squares: pairs count by their
difference, and scores on seeds that the other side lacks count by as much as they say. Without an effect of the seeds
this is the difference of two means; where seeds explain all, it is the mean of the differences.

Sources: Searle, Casella and McCulloch, "Variance components" (1992), for the two-way analysis of unbalanced data;
Paull, "On a preliminary test for pooling mean squares in the analysis of variance" (1950); Lin and Stivers, "On
difference of means with incomplete data" (Biometrika 61, 1974), for pairs with scores missing on both sides.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain
from operator import neg
from typing import Any

import msgspec

from mesh.f_test import f_tail

SHOWN_AT = 0.05
"""Level of the test for an effect of the seeds. Where it does not pass, seeds are taken to share nothing."""

_PRIOR = 4
"""Degrees of freedom of the pooled variance beside that of one proposal's own scores."""

_SWEEPS, _NEAR = 100, 1e-7
_EXACT, _MOST_STEPS = 1e-14, 2000
_MOST = 0.999999
"""Largest correlation: with 1, scores without a partner would say nothing, and the equations have no solution."""

Scores = Mapping[int, float]
"""Scores of one proposal by seed, in units of the metric."""


class SeedEffect(msgspec.Struct, frozen=True):
    """What seeds share.

    Attributes:
        correlation: correlation of the scores of two proposals on one seed, above 0 and below 1.
        sd: standard deviation of a score around its proposal and its seed, in units of the metric.
        dof: degrees of freedom of `sd`.
    """

    correlation: float
    sd: float
    dof: int


class SummedScores(dict[int, float]):
    """Scores by seed with their exact sum, so that a comparison with a champion's thousands does not add them up."""

    def __init__(self, rows: Iterable[tuple[int, float]] = ()) -> None:
        super().__init__()
        self.total = Fraction()
        for seed, value in rows:
            self.put(seed, value)

    def put(self, seed: int, value: float) -> None:
        """Set the score on a seed."""
        self.total += Fraction(value) - (Fraction(self[seed]) if seed in self else 0)
        self[seed] = value

    def copy(self) -> "SummedScores":
        """Return a copy."""
        found = SummedScores()
        found.update(self)
        found.total = self.total
        return found


def mean_score(scores: Scores) -> float:
    """Return the mean of scores: their exact sum, rounded, by their number."""
    total = float(scores.total) if isinstance(scores, SummedScores) else math.fsum(scores.values())
    return total / len(scores)


def seed_effect(columns: Iterable[Scores]) -> SeedEffect | None:
    """Return what the seeds of several proposals share, None where no effect of the seeds is shown.

    Args:
        columns: the fresh scores of each proposal by seed; those that belong together have common seeds.
    """
    found = list(columns)
    sizes = [len(scores) for scores in found]
    if len(found) < 2 or len(set().union(*found)) == sum(sizes):
        return None  # no two have a seed in common
    import numpy as np  # takes as long as all else that a command imports

    trees = np.repeat(np.arange(len(found)), sizes)
    names = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=len(trees))
    values = np.fromiter(chain.from_iterable(scores.values() for scores in found), dtype=float, count=len(trees))
    places, seeds = np.unique(names, return_inverse=True)
    within = _centred(values, trees)
    whole = float(within @ within)
    between = len(places) - len(np.unique(_labels(trees, seeds)))
    dof = len(trees) - sum(map(bool, sizes)) - between
    if between < 1 or dof < 1 or whole == 0:
        return None
    rest = within
    for _ in range(_SWEEPS):
        before, rest = rest, _centred(_centred(rest, seeds), trees)
        if np.abs(rest - before).max() <= _NEAR * math.sqrt(whole):
            break
    left = min(whole, float(rest @ rest))
    unexplained, total = left / dof, whole / (dof + between)
    if unexplained >= total or (left and f_tail(between, dof, (whole - left) / between / unexplained) > SHOWN_AT):
        return None
    return SeedEffect(min(_MOST, 1 - unexplained / total), math.sqrt(unexplained), dof)


def difference(one: Scores, other: Scores, correlation: float) -> tuple[float, float]:
    """Return the estimate of `one` minus `other`, and its standard error in standard deviations of a score.

    Args:
        one: scores of a proposal by seed; at least one.
        other: scores of the other proposal by seed; at least one.
        correlation: correlation of two scores on one seed, -1 < `correlation` < 1.
    """
    common = one.keys() & other.keys()
    pairs = len(common) / (1 - correlation**2)
    mine, theirs = (_sums(scores, common) for scores in (one, other))
    info = (pairs + len(one) - len(common), pairs + len(other) - len(common), -correlation * pairs)
    right = [
        (paired - correlation * partner) / (1 - correlation**2) + single
        for (paired, single), partner in ((mine, theirs[0]), (theirs, mine[0]))
    ]
    determinant = info[0] * info[1] - info[2] ** 2
    gap = (right[0] * (info[1] + info[2]) - right[1] * (info[0] + info[2])) / determinant
    return gap, math.sqrt((info[0] + info[1] + 2 * info[2]) / determinant)


def side_by_side(columns: Mapping[str, Scores]) -> list[dict[str, float]]:
    """Return the level of each proposal with the effect of its seeds taken out, by groups that common seeds connect.

    A difference of two levels of one group compares scores on common seeds alone, also where two proposals met only
    others that met each other. So it does not change when one of them gets scores while the machine is slow. This is
    the within-block analysis of an incomplete block design (Cochran and Cox, "Experimental Designs", 1957, chapter 9).
    The equations are sparse: each score has one proposal and one seed.

    Args:
        columns: the fresh scores of each proposal by seed.
    """
    import numpy as np

    cells = [(name, seed, score) for name, scores in columns.items() for seed, score in scores.items()]
    if not cells:
        return [{name: 0.0} for name in columns]
    trees = {name: number for number, name in enumerate(name for name, scores in columns.items() if scores)}
    seeds = {seed: number for number, seed in enumerate(dict.fromkeys(seed for _, seed, _ in cells))}
    of_tree, of_seed = np.array([trees[name] for name, _, _ in cells]), np.array([seeds[seed] for _, seed, _ in cells])
    values = np.array([score for _, _, score in cells])
    found = _least_squares(of_tree, of_seed, values - values.mean())
    group_of = dict(zip(of_tree.tolist(), _labels(of_tree, of_seed).tolist(), strict=True))
    levels: dict[int, dict[str, float]] = {}
    for name, number in trees.items():
        levels.setdefault(group_of[number], {})[name] = float(found[number])
    return [*levels.values(), *({name: 0.0} for name, scores in columns.items() if not scores)]


def _least_squares(trees: Any, seeds: Any, values: Any) -> Any:
    """Return levels of proposals and then of seeds, whose sums are nearest to the scores, by conjugate gradients.

    Unknowns are scaled by how many scores they have. Source: Bjorck, "Numerical Methods for Least Squares
    Problems" (1996), algorithm 7.4.1. SciPy has such a solver too; its import takes longer than a command.

    Args:
        trees: The number of the proposal of each score.
        seeds: The number of its seed.
        values: The scores.
    """
    import numpy as np

    counts = [np.bincount(places) for places in (trees, seeds)]
    scale = 1 / np.sqrt(np.maximum(np.concatenate(counts), 1))
    size = len(counts[0])

    def summed(rest: Any) -> Any:
        return scale * np.concatenate(
            [np.bincount(p, rest, len(n)) for p, n in zip((trees, seeds), counts, strict=True)]
        )

    rest, found = values.astype(float), np.zeros(len(scale))
    slope = step = summed(rest)
    gone = before = float(slope @ slope)
    for _ in range(_MOST_STEPS):
        if before <= _EXACT**2 * gone:
            break
        level = scale * step
        change = level[:size][trees] + level[size:][seeds]
        share = before / float(change @ change)
        found, rest = found + share * step, rest - share * change
        slope = summed(rest)
        after = float(slope @ slope)
        step, before = slope + after / before * step, after
    return scale * found


def moderated(sd: float, one: Scores, other: Scores, correlation: float) -> float:
    """Return the standard deviation of a score by the pooled one and the own spread of `one`; never less than pooled.

    The two variances are averaged by degrees of freedom, where the pooled one has `_PRIOR`. Source: Smyth, "Linear
    models and empirical Bayes methods" (2004).

    Args:
        sd: pooled standard deviation of a score, in units of the metric.
        one: scores of a proposal by seed.
        other: scores of the other proposal by seed; with a correlation, only common seeds count.
        correlation: correlation of two scores on one seed. What it predicts from `other` is no spread of `one`.
    """
    seeds = [seed for seed in one if seed in other] if correlation else list(one)
    rest = [one[seed] - correlation * other.get(seed, 0.0) for seed in seeds]
    if (dof := len(rest) - 1) < 1:
        return sd
    own = statistics.variance(rest) / (1 - correlation**2)
    return max(sd, math.sqrt((_PRIOR * sd**2 + dof * own) / (_PRIOR + dof)))


def _sums(scores: Scores, common: Iterable[int]) -> tuple[float, float]:
    """Return the sum of the scores on the common seeds, and that of the others: `fsum` is exact, in any order."""
    paired = [scores[seed] for seed in common]
    if isinstance(scores, SummedScores):
        return math.fsum(paired), float(scores.total - sum(map(Fraction, paired), Fraction()))
    return math.fsum(paired), math.fsum(chain(scores.values(), map(neg, paired)))


def _centred(values: Any, labels: Any) -> Any:
    """Return values minus the mean of all with the same label."""
    import numpy as np

    counts = np.bincount(labels)
    return values - (np.bincount(labels, weights=values) / np.maximum(counts, 1))[labels]


def _labels(trees: Any, seeds: Any) -> Any:
    """Return a label for each score, the same for all that others connect by their proposals and seeds.

    Each proposal takes the least label of those that it shares a seed with, until no label changes.

    Args:
        trees: the number of the proposal of each score.
        seeds: the number of its seed.
    """
    import numpy as np

    labels, before = trees, None
    while before is None or (labels != before).any():
        before = labels
        for places in (seeds, trees):
            least = np.full(len(labels), len(labels))
            np.minimum.at(least, places, labels)
            labels = least[places]
    return labels
