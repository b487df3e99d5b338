"""Statistics of `benchmarks.search`: normalised scores, interquartile means, bootstrap intervals.

A score is 0 where a search ends at random's median, and 1 where it ends at the best value that any method of this
benchmark found on the same function and instance; it is at least -1. The interquartile mean and stratified bootstrap
are those of Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice" (2021).
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

METHODS = ("mesh", "tpe", "catcma", "random")
DRAWS = 4000


class Search(msgspec.Struct, frozen=True):
    """One search by one method."""

    method: str
    workers: int
    function: int
    instance: int
    seed: int


Ends = Mapping[Search, float]


def scores(ends: Ends) -> dict[Search, float]:
    """Return the normalised score of each search."""
    best: dict[tuple[int, int], float] = defaultdict(lambda: float("inf"))
    random: dict[tuple[int, int], list[float]] = defaultdict(list)
    for search, end in ends.items():
        at = search.function, search.instance
        best[at] = min(best[at], end)
        if search.method == "random":
            random[at].append(end)
    middle = {at: statistics.median(found) for at, found in random.items()}
    found = {}
    for search, end in ends.items():
        at = search.function, search.instance
        found[search] = max(-1.0, (middle[at] - end) / max(middle[at] - best[at], 1e-12))
    return found


def iqm(values: Sequence[float]) -> float:
    """Return the mean of the middle half."""
    ordered = np.sort(np.asarray(values, dtype=float))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def paired(
    found: Mapping[Search, float], ours: str, peer: str, workers: int
) -> tuple[list[int], list[float], list[float]]:
    """Return the functions and scores of two methods on the same problems with the same seeds."""
    mine = [search for search in found if search.method == ours and search.workers == workers]
    theirs = [msgspec.structs.replace(search, method=peer) for search in mine]
    return [s.function for s in mine], [found[s] for s in mine], [found[s] for s in theirs]


def difference(functions: Sequence[int], ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference of the interquartile means and its 95 % interval; runs are drawn in pairs, by function."""
    rng = np.random.default_rng(1)
    one, two, at = np.asarray(ours), np.asarray(theirs), np.asarray(functions)
    strata = [np.flatnonzero(at == function) for function in sorted(set(functions))]
    drawn = []
    for _ in range(DRAWS):
        chosen = np.concatenate([rng.choice(rows, len(rows)) for rows in strata])
        drawn.append(iqm(one[chosen]) - iqm(two[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return iqm(ours) - iqm(theirs), float(low), float(high)


def worst(functions: Iterable[int], ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, int]:
    """Return the smallest difference of the mean scores on one function, and that function."""
    by: dict[int, list[float]] = defaultdict(list)
    for function, one, two in zip(functions, ours, theirs, strict=True):
        by[function].append(one - two)
    return min((statistics.fmean(each), function) for function, each in by.items())


def interval_on(
    function: int, functions: Sequence[int], ours: Sequence[float], theirs: Sequence[float]
) -> tuple[float, float]:
    """Return the 95 % interval of the difference of mean scores on one function; runs are drawn in pairs."""
    pairs = zip(functions, ours, theirs, strict=True)
    each = np.asarray([one - two for at, one, two in pairs if at == function])
    drawn = np.random.default_rng(1).choice(each, (DRAWS, len(each))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
