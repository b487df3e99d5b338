"""Group-sequential bounds: the level of a test that is repeated while scores come in. Pure.

A repeated test errs more often than a single one, so the level is spent over the looks. Almost nothing is spent on
the first three seeds, which prove large gains all the same, and most on the test after them, when the noise is known
better and one challenger is left. The bounds follow from the joint distribution of the looks, by the recursive
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

SPENT = (0.0, 0.03, 0.75)
"""Share of the level that is spent up to each of the first looks: one seed proves nothing. The last look spends all."""

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
    from scipy.special import ndtr

    times = [count / looks[-1] for count in looks]
    found: list[float] = []
    grid, mass, before, spent = None, None, 0.0, 0.0
    for time, share in zip(times, spent_by(len(looks)), strict=True):
        step = math.sqrt(time - before)
        due = level * share - spent
        bound = _bound(grid, mass, step, due, reach=REACH * math.sqrt(time))
        found.append(float(ndtr(-bound / math.sqrt(time))))
        grid, mass = _below(grid, mass, step, bound, reach=REACH * math.sqrt(time))
        before, spent = time, level * share
    return tuple(found)


def spent_by(count: int) -> list[float]:
    """Return the share of the level that is spent after each of so many looks; from `SPENT` on, evenly up to 1."""
    found = [*SPENT[: count - 1]]
    rest = count - len(found)
    last = found[-1] if found else 0.0
    return [*found, *(last + (1 - last) * (number + 1) / rest for number in range(rest))]


def nominal(stages: Sequence[int], seeds: int, level: float) -> float:
    """Return the nominal level of the last complete stage after this many seeds; 0 before the first stage."""
    done = sum(stage <= seeds for stage in stages)
    return bounds(tuple(stages), level)[done - 1] if done else 0.0


def _bound(grid: Any, mass: Any, step: float, due: float, *, reach: float) -> float:
    """Return the bound that the walk passes with probability `due`, if it passed no earlier bound."""
    from scipy.optimize import brentq  # takes most of a second to import
    from scipy.special import ndtr

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
