"""What the seeds of an arena with fixed items may be: how often a test at 5 % promotes an equal, and how often a gain.

Each time, items are drawn from a population, and both sides are scored on them. `false` is how often the side that is
not better in the population passes, `power` how often one that is better by `GAIN` does.
"""

from typing import Any

import numpy as np
from scipy.special import stdtr

from benchmarks.parts.item_arenas import DIFFICULTY, OWN

ITEMS, SEEDS, LEVEL, GAIN = 300, 16, 0.05, 0.02
SCHEMES = {
    "bootstrap_unpaired": ("bootstrap", False),
    "bootstrap_paired": ("bootstrap", True),
    "items": ("items", True),
    "folds_unpaired": ("folds", False),
    "folds_paired": ("folds", True),
}


def passes(scheme: str, gain: float, made: int, seed: int = 1) -> float:
    """Return how often the challenger passes.

    Args:
        scheme: one of `SCHEMES`.
        gain: by how much it is better in the population.
        made: how often to draw.
        seed: seed of the draws.
    """
    how, paired = SCHEMES[scheme]
    rng = np.random.default_rng(seed)
    count = 0
    for _ in range(made):
        shared = rng.normal(0, DIFFICULTY, ITEMS)
        champion, challenger = shared + rng.normal(0, OWN, ITEMS), shared + gain + rng.normal(0, OWN, ITEMS)
        if how == "bootstrap":
            drawn = rng.integers(0, ITEMS, (SEEDS, ITEMS))
            champion, challenger = champion[drawn].mean(axis=1), challenger[drawn].mean(axis=1)
        elif how == "folds":
            folds = np.array_split(rng.permutation(ITEMS), SEEDS)
            champion, challenger = (np.array([x[fold].mean() for fold in folds]) for x in (champion, challenger))
        count += _p_value(challenger, champion, paired=paired) <= LEVEL
    return count / made


def _p_value(one: Any, other: Any, *, paired: bool) -> float:
    """Return the one-sided p-value of Student's test that `one` is greater, in pairs or as two samples."""
    count = len(one)
    error = (one - other).std(ddof=1) if paired else np.sqrt(one.var(ddof=1) + other.var(ddof=1))
    statistic = (one - other).mean() / error * np.sqrt(count)
    return float(stdtr(count - 1 if paired else 2 * count - 2, -statistic))
