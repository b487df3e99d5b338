"""Error control over the races of an arena: LOND, an online bound on the share of false promotions. Pure."""

import math

FIRST_SHARE = 0.9
"""Of the level of a whole run, what the challengers of its first race get."""


def level(family: int, promotions: int, fdr: float) -> float:
    """Return the level that the challengers of one champion in one race share: LOND.

    `family` counts races and promotions, from 1. `fdr * beta_family * (D + 1)`, `D` the promotions before it, `beta`
    summing to 1: `FIRST_SHARE` for the first, where the most is to be gained and the least known of the noise, and
    `6 / (pi * n) ** 2` of the rest for the `n`-th after it. The expected share of false promotions over the whole run
    stays below `fdr`, however many challengers come, where p-values are independent or positively dependent. Source:
    Javanmard and Montanari, "On online control of false discovery rate" (2015); Zrnic, Ramdas and Jordan,
    "Asynchronous online testing of multiple hypotheses" (2021).
    """
    beta = FIRST_SHARE if family == 1 else (1 - FIRST_SHARE) * 6 / (math.pi * (family - 1)) ** 2
    return min(1.0, fdr * beta * (promotions + 1))
