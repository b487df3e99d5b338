"""How sure a challenger must be at each look, where it is looked at several times: group-sequential bounds. Pure.

A test that is repeated as scores come in errs more often than once. So its level is spent: after a share `t` of all
seeds at most `level * t ** SPENT_AS` may have been spent. The bounds follow from the joint distribution of the looks,
by the recursive integral over a normal walk of independent steps, and are told as nominal levels, so that Student's t
can be held against them. That the champion has more scores than those of the race makes the looks more alike than is
assumed here, which errs to the safe side.

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
"""Points of the integral, and how far it reaches in standard deviations."""


@lru_cache(maxsize=1024)
def bounds(looks: tuple[int, ...], level: float) -> tuple[float, ...]:
    """Return the nominal one-sided level of each look; `looks` are how many seeds there are by then, rising.

    Whoever is not better passes any of them with probability `level` at most.
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


def nominal(stages: Sequence[int], asked: int, level: float) -> float:
    """Return the nominal level after so many seeds, that of the last stage that is complete; 0 before the first."""
    done = sum(stage <= asked for stage in stages)
    return bounds(tuple(stages), level)[done - 1] if done else 0.0


def _bound(grid: Any, mass: Any, step: float, due: float, *, reach: float) -> float:
    """Return where the walk must stand so that it is beyond with probability `due`, having passed no bound before."""

    def excess(bound: float) -> float:
        beyond = ndtr(-bound / step) if grid is None else mass @ ndtr((grid - bound) / step)
        return float(beyond) - due

    return reach if excess(reach) >= 0 else float(brentq(excess, -reach, reach))


def _below(grid: Any, mass: Any, step: float, bound: float, *, reach: float) -> tuple[Any, Any]:
    """Return points below the bound, and the probabilities with which the walk stands at them."""
    import numpy as np

    points = np.linspace(-reach, bound, _POINTS)
    away = points[:, None] / step if grid is None else (points[:, None] - grid[None, :]) / step
    density = np.exp(-(away**2) / 2) / (step * math.sqrt(2 * math.pi))
    weights = np.full(_POINTS, points[1] - points[0])
    weights[[0, -1]] /= 2
    return points, weights * (density[:, 0] if grid is None else density @ mass)
