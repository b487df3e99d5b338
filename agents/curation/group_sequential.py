"""Group-sequential bounds: the level of a test that is repeated while scores come in. Pure.

A repeated test errs more often than a single one, so the level is spent over the looks. After a share `t` of all seeds,
at most `level * t ** SPENT_AS` is spent. The bounds follow from the joint distribution of the looks, by the recursive
integral over a normal walk with independent steps. They are given as nominal levels, to compare with the p-values of
Student's t. The champion has scores from before the race; they make the looks more alike than assumed here, so the
bounds are on the safe side.

Sources: Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983); Kim and DeMets, "Design and
analysis of group sequential tests based on the type I error spending rate function" (1987); Armitage, McPherson and
Rowe, "Repeated significance tests on accumulating data" (1969); for nominal levels with t, Jennison and Turnbull,
"Group sequential methods" (2000), section 4.4.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from scipy.optimize import brentq
from scipy.special import ndtr

SPENT_AS = 0.9
"""Exponent of the share of seeds: 1 spends evenly, less spends more at the first looks."""

_POINTS, REACH = 400, 8.0
"""Number of points of the integral, and its half-width in standard deviations."""


@lru_cache(maxsize=1024)
def bounds(looks: tuple[int, ...], level: float) -> tuple[float, ...]:
    """Return the nominal one-sided level of each look.

    A challenger that is not better passes any of the looks with a probability of at most `level`.

    Args:
        looks: Seeds per challenger at each look, rising.
        level: Probability of an error over all looks, 0 to 1.
    """
    times = [count / looks[-1] for count in looks]
    found: list[float] = []
    grid, mass, before, spent = None, None, 0.0, 0.0
    for time in times:
        step = math.sqrt(time - before)
        due = level * time**SPENT_AS - spent
        bound = _bound(grid, mass, step, due, reach=REACH * math.sqrt(time))
        found.append(float(ndtr(-bound / math.sqrt(time))))
        grid, mass = _below(grid, mass, step, bound, reach=REACH * math.sqrt(time))
        before, spent = time, level * time**SPENT_AS
    return tuple(found)


def nominal(stages: Sequence[int], seeds: int, level: float) -> float:
    """Return the nominal level of the last complete stage after this many seeds; 0 before the first stage."""
    done = sum(stage <= seeds for stage in stages)
    return bounds(tuple(stages), level)[done - 1] if done else 0.0


def _bound(grid: Any, mass: Any, step: float, due: float, *, reach: float) -> float:
    """Return the bound that the walk passes with probability `due`, if it passed no earlier bound."""

    def excess(bound: float) -> float:
        beyond = ndtr(-bound / step) if grid is None else mass @ ndtr((grid - bound) / step)
        return float(beyond) - due

    return reach if excess(reach) >= 0 else float(brentq(excess, -reach, reach))


def _below(grid: Any, mass: Any, step: float, bound: float, *, reach: float) -> tuple[Any, Any]:
    """Return points below the bound, and the probability of the walk at each."""
    import numpy as np

    points = np.linspace(-reach, bound, _POINTS)
    away = points[:, None] / step if grid is None else (points[:, None] - grid[None, :]) / step
    density = np.exp(-(away**2) / 2) / (step * math.sqrt(2 * math.pi))
    weights = np.full(_POINTS, points[1] - points[0])
    weights[[0, -1]] /= 2
    return points, weights * (density[:, 0] if grid is None else density @ mass)
