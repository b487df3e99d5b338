"""Statistics of `benchmarks.search`: normalised scores, interquartile means, bootstrap intervals, trials to a target.

A score is 0 where a search ends at random's median, and 1 where it ends at the best value that any method of this
benchmark found on the same problem; it is at least -1. The interquartile mean and stratified bootstrap are those of
Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice" (2021). The target of a problem
is the value half way between both; a search that misses it counts as twice its trials.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from benchmarks.parts.search_problems import Problem
from benchmarks.parts.search_virtual import Course, Search

METHODS = ("mesh", "tpe", "catcma", "sobol", "random", "mesh:quadratic", "mesh:gaussian")
"""The mesh, and its peers: each of them a single method."""

DRAWS = 4000

Courses = Mapping[Search, Course]


def levels(courses: Courses) -> dict[Problem, tuple[float, float]]:
    """Return random's median and the best value that any method found, by problem."""
    best: dict[Problem, float] = defaultdict(lambda: float("inf"))
    random: dict[Problem, list[float]] = defaultdict(list)
    for search, course in courses.items():
        best[search.problem] = min(best[search.problem], *course.best)
        if search.method == "random":
            random[search.problem].append(course.best[-1])
    return {problem: (statistics.median(found), best[problem]) for problem, found in random.items()}


def scores(courses: Courses) -> dict[Search, float]:
    """Return the normalised score of each search."""
    found = {}
    at = levels(courses)
    for search, course in courses.items():
        middle, best = at[search.problem]
        found[search] = max(-1.0, (middle - course.best[-1]) / max(middle - best, 1e-12))
    return found


def trials_to_target(courses: Courses) -> dict[tuple[str, str, int], dict[tuple[str, int, int], float]]:
    """Return the trials to the target by method, family and workers, each by function, instance and seed."""
    at = levels(courses)
    needed: dict[tuple[str, str, int], dict[tuple[str, int, int], float]] = defaultdict(dict)
    for search, course in courses.items():
        problem = search.problem
        middle, best = at[problem]
        count = reached(course, (middle + best) / 2) or 2 * len(course.best)
        needed[search.method, problem.family, search.workers][problem.name, problem.instance, search.seed] = count
    return needed


def ratio(
    needed: Mapping[tuple[str, str, int], Mapping[tuple[str, int, int], float]],
    peers: Iterable[str],
    family: str,
    workers: int,
) -> tuple[float, float, float]:
    """Return the mesh's trials to the target as a share of the best peer's, and the 95 % interval.

    Trials are geometric means over what both have run. The interval is of the pairs drawn again, with that same peer.
    """
    mine = needed["mesh", family, workers]
    logs = [
        np.log([mine[each] / theirs[each] for each in sorted(mine.keys() & theirs.keys())])
        for peer in peers
        if (theirs := needed[peer, family, workers])
    ]
    against = max(logs, key=lambda each: float(each.mean()))
    drawn = against[np.random.default_rng(1).integers(len(against), size=(DRAWS, len(against)))].mean(axis=1)
    middle, low, high = np.exp([against.mean(), *np.quantile(drawn, [0.025, 0.975])])
    return float(middle), float(low), float(high)


def reached(course: Course, target: float) -> int | None:
    """Return the number of trials after which a search was at the target; None if it never was."""
    return next((number for number, value in enumerate(course.best, 1) if value <= target), None)


def iqm(values: Sequence[float]) -> float:
    """Return the mean of the middle half."""
    return float(_middles(np.asarray(values, dtype=float)[None, :])[0])


def _middles(rows: Any) -> Any:
    ordered = np.sort(rows, axis=1)
    cut = rows.shape[1] // 4
    return ordered[:, cut : rows.shape[1] - cut].mean(axis=1)


def paired(found: Mapping[Search, float], peer: str, workers: int) -> tuple[list[str], list[float], list[float]]:
    """Return the functions and the scores of the mesh and a peer, of the problems and seeds that both have."""
    mine = [search for search in found if search.method == "mesh" and search.workers == workers]
    mine = [search for search in mine if msgspec.structs.replace(search, method=peer) in found]
    theirs = [msgspec.structs.replace(search, method=peer) for search in mine]
    functions = [f"{search.problem.family} {search.problem.name}" for search in mine]
    return functions, [found[search] for search in mine], [found[search] for search in theirs]


def difference(functions: Sequence[str], ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference of the interquartile means and its 95 % interval; runs are drawn in pairs, by family."""
    rng = np.random.default_rng(1)
    one, two, at = np.asarray(ours), np.asarray(theirs), np.asarray([each.split()[0] for each in functions])
    strata = [np.flatnonzero(at == family) for family in sorted(set(at))]
    chosen = np.concatenate([rows[rng.integers(len(rows), size=(DRAWS, len(rows)))] for rows in strata], axis=1)
    drawn = _middles(one[chosen]) - _middles(two[chosen])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return iqm(ours) - iqm(theirs), float(low), float(high)


def worst(functions: Iterable[str], ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, str]:
    """Return the smallest difference of the mean scores on one function, and that function."""
    by: dict[str, list[float]] = defaultdict(list)
    for function, one, two in zip(functions, ours, theirs, strict=True):
        by[function].append(one - two)
    return min((statistics.fmean(each), function) for function, each in by.items())
