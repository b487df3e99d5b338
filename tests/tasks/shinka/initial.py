"""Pack three numbers below one."""

# EVOLVE-BLOCK-START
WIDTH = 0.2


def pack(seed: int) -> list[float]:
    """Return three widths."""
    return [WIDTH] * 3


# EVOLVE-BLOCK-END
