"""Points that cover a cube evenly, as `scipy.stats.qmc` draws them: the same ones for the same seed.

A program that starts from `Sobol(d=3, seed=123).random(n=16)` starts from a table of numbers. Only samplers of a few
dimensions that draw the same each time are made; everything else is refused with `ValueError`.
"""

import warnings
from typing import Any

MODULE = "scipy.stats.qmc"
"""The module as programs name it; `QMC_PACKAGES` are the ways to it."""

QMC_PACKAGES = ("scipy", "scipy.stats", MODULE)

QMC_SAMPLERS = ("Sobol", "Halton", "LatinHypercube")
"""The samplers that are known."""

_DIMENSIONS, _POINTS = 64, 4096


def sampler_of(name: str, args: list[Any], words: dict[str, Any]) -> Any:
    """Return what a function of the module gives: a sampler, or points that `scale` has stretched.

    Args:
        name: the function.
        args: its values.
        words: its values with names.

    Raises:
        ValueError: it is not known here, too large, or draws others each time.
        ImportError: there is no scipy.
    """
    from scipy.stats import qmc

    if name == "scale":
        return qmc.scale(*args, **words)
    seed = words.get("seed", words.get("rng"))
    dimensions = args[0] if args else words.get("d", 0)
    is_fixed = words.get("scramble") is False and name != "LatinHypercube"
    if name not in QMC_SAMPLERS or not (type(seed) is int or is_fixed) or not 1 <= dimensions <= _DIMENSIONS:
        raise ValueError(name)
    return getattr(qmc, name)(*args, **words)


def is_sampler(value: object) -> bool:
    """Tell whether a value is a sampler that `sampler_of` has made."""
    return type(value).__name__ in QMC_SAMPLERS


def next_points(sampler: Any, name: str, args: list[Any], words: dict[str, Any]) -> Any:
    """Return the next points of a sampler; arguments and errors as of `sampler_of`."""
    count = [*args, *words.values()][:1] or [1]
    if name not in ("random", "random_base2") or not 0 < count[0] <= (12 if name == "random_base2" else _POINTS):
        raise ValueError(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Sobol wants a power of two
        return getattr(sampler, name)(*args, **words)
