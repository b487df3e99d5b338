"""The error level of each challenger in a race, so that all challengers together keep the level of the race. Pure.

Dividing the level by the number of challengers is correct, but wastes much of it. Challengers share the champion's
scores, only the best one is tested, and most of them drop out at the first stages. So this module simulates races in
which no challenger is better than the champion, the case with most errors. It raises the level of each challenger
until the race errs as often as allowed.

The simulation tilts one challenger towards winning and corrects by weights (importance sampling), to count rare errors
well. It always uses the same draws. It ignores two rules of real races: claims do not rank challengers, and none drops
out for being behind the best one. Both simplifications overestimate the errors.

Sources: Thall, Simon and Ellenberg, "Two-stage selection and testing designs for comparative clinical trials" (1988);
Stallard and Todd, "Sequential designs for phase III clinical trials incorporating treatment selection" (2003);
Siegmund, "Importance sampling in the Monte Carlo study of sequential tests" (1976).
"""

import math
from functools import lru_cache
from typing import Any

from agents.curation.group_sequential import bounds
from agents.curation.race_log import racers_in

DRAWS = 20_000
"""Number of simulated races."""

RARE = 0.002
"""Below this level it is simply divided: the gain is small, and the simulated count too noisy."""


@lru_cache(maxsize=256)
def each(looks: tuple[int, ...], level: float, size: int, before: int, least: tuple[float, ...]) -> float:
    """Return the level of each challenger in a race that may err with probability `level`.

    Args:
        looks: Seeds per challenger at each look, rising.
        level: Probability that the race promotes a challenger that is not better, 0 to 1.
        size: Number of challengers.
        before: Scores of the champion that are known before the race; it gets more during the race.
        least: A challenger drops out after a look if its probability to be better is below this.
    """
    if size < 2 or level < RARE:
        return level / size
    from scipy.optimize import brentq  # takes most of a second to import
    from scipy.special import ndtri

    steps = _steps(looks, size + 1)
    quantiles = [float(ndtri(chance)) for chance in least]

    def excess(scale: float) -> float:
        return math.log(_errors(steps, looks, scale * level / size, before, quantiles) / level)

    if excess(1.0) >= 0:
        return level / size
    return level if excess(size) <= 0 else float(brentq(excess, 1.0, size, rtol=1e-2)) * level / size


@lru_cache(maxsize=16)
def _steps(looks: tuple[int, ...], size: int) -> Any:
    """Return the increments of the score sums between looks, of variance 1 per seed; shape (draw, look, member)."""
    import numpy as np

    between = np.diff(np.array([0, *looks], dtype=float))
    drawn = np.random.default_rng(1).standard_normal((DRAWS, len(looks), size))
    return drawn * np.sqrt(between)[None, :, None]


def _errors(steps: Any, looks: tuple[int, ...], level: float, before: int, least: list[float]) -> float:
    """Return how often a race of equals promotes a challenger at a level; the last member is the champion."""
    import numpy as np
    from scipy.special import ndtri

    bars = [-float(ndtri(bound)) for bound in bounds(looks, level)]
    tilt = bars[-1] / math.sqrt(looks[-1])
    sums = np.cumsum(steps, axis=1)
    sums[:, :, 0] += tilt * np.array(looks, dtype=float)
    champion = sums[:, :, -1] + math.sqrt(before) * np.random.default_rng(2).standard_normal((len(sums), 1))
    size = sums.shape[2] - 1
    runs, place = np.ones((len(sums), size), dtype=bool), np.arange(len(sums))
    on, weight = np.ones(len(sums), dtype=bool), 0.0
    for number, look in enumerate(looks):
        gain = sums[:, number, :-1] / look - (champion[:, number] / (look + before))[:, None]
        found = np.where(runs, gain / math.sqrt(1 / look + 1 / (look + before)), -np.inf)
        first = found.argmax(axis=1)
        passes = on & (found[place, first] >= bars[number])
        won = sums[passes & (first == 0), number, 0]
        weight += float(np.exp(tilt * tilt * look / 2 - tilt * won).sum())
        keep = racers_in(size, number + 1)
        last = np.partition(found, -keep, axis=1)[:, [-keep]]
        runs &= (found >= last) & (found >= least[number])
        on &= ~passes & runs.any(axis=1)
    return float((sums.shape[2] - 1) * weight / len(sums))
