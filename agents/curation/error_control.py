"""Error control over the races of an arena: LORD++, an online bound on the share of false promotions. Pure."""

from collections.abc import Sequence

SHARES = (0.7, 0.25)
"""Shares of the arena's error level that the first race gets, and the race or promotion after it."""

_DECAY, _ZETA = 1.5, 2.6123753486854883
"""Later shares fall with this power of their number; their sum, Riemann's zeta function of it."""


def level(family: int, proven: Sequence[int], fdr: float) -> float:
    """Return the error level that the challengers of one champion in one race share, by LORD++.

    The arena begins with a level of `fdr`. The first two families get `SHARES` of it, because the first gains are the
    largest, and later ones the rest, by falling shares. Every promotion by proof, but for the first, earns a further
    `fdr`, which the families after it share. So all levels so far sum to at most `fdr` times the number of promotions
    so far, or to `fdr` before the first one. No family gets more than the first.

    Until the first promotion this is a union bound: an arena of equals promotes anybody with a probability of at most
    `fdr`, however scores depend on each other. After it, the expected share of false promotions stays below `fdr` if
    p-values are independent. Challengers share the champion's scores; these are high by selection, which errs on the
    safe side.

    Source: Ramdas, Yang, Wainwright and Jordan, "Online control of the false discovery rate with decaying memory"
    (2017).

    Args:
        family: The number of this race, counting races and promotions from 1.
        proven: The families in which earlier promotions were proven, rising.
        fdr: The allowed share of false promotions, 0 to 1.
    """
    after = family - len(SHARES)
    share = SHARES[family - 1] if after <= 0 else (1 - sum(SHARES)) * _falling(after)
    share += sum(_falling(family - earlier) for earlier in proven[1:] if earlier < family)
    return fdr * min(SHARES[0], share)


def _falling(number: int) -> float:
    """Return the share of the `number`-th family, from 1; all shares sum to 1."""
    return float(number**-_DECAY) / _ZETA
