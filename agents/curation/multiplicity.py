"""What many challengers of one champion cost: the level of each, so that all of a race together keep theirs. Pure.

Dividing the level by their number would be right and waste a third of it: they share the champion's scores, only the
first of them is tested, and half falls out at each stage. So the race itself is played where nobody is better than the
champion, which is where most errs, and the level of each raised until the race errs as often as it may. It is played
with one challenger tilted towards winning and weighted back (importance sampling), so that rare errors are counted as
well as frequent ones; the draws are always the same. That others fall out for being behind the first is left out, and
claims rank nobody: both make errors more frequent than they are.

Sources: Thall, Simon and Ellenberg, "Two-stage selection and testing designs for comparative clinical trials" (1988);
Stallard and Todd, "Sequential designs for phase III clinical trials incorporating treatment selection" (2003);
Siegmund, "Importance sampling in the Monte Carlo study of sequential tests" (1976).
"""

import math
from functools import lru_cache
from typing import Any

from scipy.optimize import brentq
from scipy.special import ndtri

from agents.curation.group_sequential import bounds

DRAWS = 20_000

RARE = 0.002
"""Level below which it is divided after all: there is little to be gained, and too much chance in what is counted."""


@lru_cache(maxsize=256)
def each(looks: tuple[int, ...], level: float, size: int, before: int, hopeless: float, unlikely: float) -> float:
    """Return the level of each of `size` challengers whose race is to err with probability `level`.

    Of the champion `before` scores are known when it begins; it is run along. A challenger falls out whose chance is
    below `hopeless`, from half of the seeds on below `unlikely`.
    """
    if size < 2 or level < RARE:
        return level / size
    steps = _steps(looks, size + 1)
    least = [float(ndtri(hopeless if 2 * look < looks[-1] else unlikely)) for look in looks]

    def excess(scale: float) -> float:
        return math.log(_errors(steps, looks, scale * level / size, before, least) / level)

    if excess(1.0) >= 0:
        return level / size
    return level if excess(size) <= 0 else float(brentq(excess, 1.0, size, rtol=1e-3)) * level / size


@lru_cache(maxsize=16)
def _steps(looks: tuple[int, ...], size: int) -> Any:
    """Return what is added to the sum of each between looks, of variance 1 per seed; by draw, look and member."""
    import numpy as np

    between = np.diff(np.array([0, *looks], dtype=float))
    drawn = np.random.default_rng(1).standard_normal((DRAWS, len(looks), size))
    return drawn * np.sqrt(between)[None, :, None]


def _errors(steps: Any, looks: tuple[int, ...], level: float, before: int, least: list[float]) -> float:
    """Return how often a race of equals promotes somebody, each tested at a level; the last of them is the champion."""
    import numpy as np

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
        size = math.ceil(size / 2)
        last = np.partition(found, -size, axis=1)[:, [-size]]
        runs &= (found >= last) & (found >= least[number])
        on &= ~passes & runs.any(axis=1)
    return float((sums.shape[2] - 1) * weight / len(sums))
