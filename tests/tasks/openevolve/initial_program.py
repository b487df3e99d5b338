"""Approximate a root by Newton's method."""

# EVOLVE-BLOCK-START
STEPS = 3


def root(x: float) -> float:
    """Return about the square root of x."""
    guess = x
    for _ in range(STEPS):
        guess = (guess + x / guess) / 2
    return guess


# EVOLVE-BLOCK-END
