"""What a race can still prove after many races: the chance that a real gain passes, by the number of races before.

A single challenger is better by one standard deviation of a score. The champion has many scores, and the noise is
known. The level is that of the arena's next race.
"""

import math

import numpy as np
from scipy.special import ndtri

from agents.curation.error_control import level
from agents.curation.group_sequential import bounds
from agents.curation.race_log import stages

KNOWN, DRAWS = 50, 20_000
"""Scores of the champion, and simulated races."""


def power_after(races: int, every: int = 0, *, gain: float = 1.0, seeds: int = 16, fdr: float = 0.1) -> float:
    """Return the chance that a gain is proven in the next race.

    Args:
        races: races before it.
        every: every so many races promoted somebody; 0 for none.
        gain: in standard deviations of a score.
        seeds: seeds of the challenger at the last look.
        fdr: the error level of the arena.
    """
    promoted = range(every, races + 1, every) if every else ()
    proven = [race + number for number, race in enumerate(promoted)]
    looks = tuple(stages(seeds))
    bars = -ndtri(np.array(bounds(looks, level(races + 1 + len(proven), proven, fdr))))
    rng = np.random.default_rng(1)
    champion = rng.standard_normal((DRAWS, 1)) / math.sqrt(KNOWN)
    at = np.array(looks)
    means = gain + rng.standard_normal((DRAWS, seeds)).cumsum(axis=1)[:, at - 1] / at
    return float(((means - champion) / np.sqrt(1 / at + 1 / KNOWN) > bars).any(axis=1).mean())
