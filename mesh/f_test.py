"""The upper tail of Fisher's F distribution. Pure.

The same as `scipy.special.fdtrc`, whose import takes longer than most commands: `mesh leaderboard` needs one value.
"""

import math

_STEPS, _NEAR, _TINY = 10_000, 1e-15, 1e-300


def f_tail(dof: int, dof_within: int, ratio: float) -> float:
    """Return the probability that a ratio of two mean squares is greater by chance alone.

    It is a regularised incomplete beta function, whose continued fraction converges fast below its mean. Source: Press,
    Teukolsky, Vetterling and Flannery, "Numerical Recipes" (2007), section 6.4.

    Args:
        dof: Degrees of freedom of the numerator; at least 1.
        dof_within: Degrees of freedom of the denominator; at least 1.
        ratio: The ratio; at least 0.
    """
    if ratio <= 0:
        return 1.0
    if math.isinf(ratio):
        return 0.0
    part = dof_within / (dof_within + dof * ratio)
    one, two = dof_within / 2, dof / 2
    if part <= (one + 1) / (one + two + 2):
        return _beta(one, two, part)
    return 1 - _beta(two, one, 1 - part)


def _beta(one: float, two: float, x: float) -> float:
    """Return the regularised incomplete beta function by Lentz's method."""
    if x <= 0:
        return 0.0
    scale = math.exp(
        math.lgamma(one + two) - math.lgamma(one) - math.lgamma(two) + one * math.log(x) + two * math.log1p(-x)
    )
    above, below = 1.0, 1 / _away(1 - (one + two) * x / (one + 1))
    found = below
    for step in range(1, _STEPS):
        even = step * (two - step) * x / ((one + 2 * step - 1) * (one + 2 * step))
        odd = -(one + step) * (one + two + step) * x / ((one + 2 * step) * (one + 2 * step + 1))
        for each in (even, odd):
            below, above = 1 / _away(1 + each * below), _away(1 + each / above)
            change = below * above
            found *= change
        if abs(change - 1) < _NEAR:
            break
    return scale * found / one


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
