"""Error control over the races of an arena: LOND, an online bound on the share of false promotions. Pure."""

import math

SHARES = (0.7, 0.25)
"""Shares of the arena's error level that the first race gets, and the race or promotion after it."""


def level(family: int, promotions: int, fdr: float) -> float:
    """Return the error level that the challengers of one champion in one race share, by LOND.

    The level is `fdr * beta_family * (promotions + 1)`, and all `beta` sum to 1. The first two families get
    `SHARES`, because the first gains are the largest and the noise is least known. The `n`-th family after them gets
    `6 / (pi * n) ** 2` of the rest.

    The expected share of false promotions over the whole arena stays below `fdr`, however many challengers come. This
    holds if p-values are independent or positively dependent.

    Sources: Javanmard and Montanari, "On online control of false discovery rate" (2015); Zrnic, Ramdas and Jordan,
    "Asynchronous online testing of multiple hypotheses" (2021).

    Args:
        family: The number of this race, counting races and promotions from 1.
        promotions: How many promotions came before it, without the first champion.
        fdr: The allowed share of false promotions, 0 to 1.
    """
    after = family - len(SHARES)
    beta = SHARES[family - 1] if after <= 0 else (1 - sum(SHARES)) * 6 / (math.pi * after) ** 2
    return min(1.0, fdr * beta * (promotions + 1))
