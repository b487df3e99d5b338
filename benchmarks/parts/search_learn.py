"""What the prior of the portfolio is learned from: what each sampler earns where all have equal shares.

`python -m benchmarks.parts.search_learn` searches the problems of `PROBLEMS`, all of the half for learning, with 8
workers, and prints per family, and over all problems, the mean of `rates` of each sampler; their squares are
`portfolio.PRIOR`. It takes about two minutes on one core.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from random import Random

from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Trial
from benchmarks.parts.harness import say
from benchmarks.parts.search_problems import Problem
from benchmarks.parts.search_virtual import Search, mesh_trials

WORKERS = 8

PROBLEMS = (
    *(Problem("mixint", name, instance) for name, instance in (("1", 3), ("7", 4), ("13", 3), ("19", 4))),
    *(Problem("bbob2", name, instance) for name, instance in (("1", 3), ("15", 4), ("17", 3))),
    *(Problem("bbob5", name, instance) for name, instance in (("1", 3), ("8", 4), ("10", 3), ("21", 4))),
    *(Problem("bbob10", name, instance) for name, instance in (("10", 3), ("15", 4), ("17", 3), ("21", 4))),
    *(Problem("classic", f"hartmann6{noise}", 3) for noise in ("", " noisy")),
    *(Problem("classic", f"branin{noise}", 4) for noise in ("", " noisy")),
    *(Problem("crash", name, 3) for name in ("a", "c")),
    *(Problem("tables", f"{name} noisy", 0) for name in ("car", "vehicle", "naval_propulsion")),
    Problem("tables", "protein_structure", 0),
)
"""Problems of every family, of the half for learning; few, so that it takes minutes."""


def rates(trials: Sequence[Trial]) -> dict[str, float]:
    """Return the improvement of each learning sampler per proposal, as a share of the mean of all these samplers."""
    earned: dict[str, float] = defaultdict(float)
    for trial, gain in portfolio.gains(trials):
        earned[trial.by] += gain
    made = Counter(trial.by for trial in trials)
    found = {kind: earned[kind] / max(1, made[kind]) for kind in portfolio.LEARNING}
    middle = statistics.fmean(found.values())
    return {kind: rate / middle if middle else 1.0 for kind, rate in found.items()}


def means(every: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean rate of each sampler."""
    return {kind: round(statistics.fmean(one[kind] for one in every), 2) for kind in portfolio.LEARNING}


def evenly(kinds: Sequence[str], trials: Sequence[Trial], rng: Random) -> tuple[str, float]:
    """Return any sampler, all with the same chance, and its share."""
    return rng.choices(list(kinds), [1 / len(kinds)] * len(kinds))[0], 1 / len(kinds)


def main() -> None:
    """Search, and print the rates."""
    by_family: dict[str, list[dict[str, float]]] = defaultdict(list)
    for problem in PROBLEMS:
        by_family[problem.family].append(rates(mesh_trials(Search("mesh", WORKERS, problem, 1), evenly)))
        say(f"{problem}: {by_family[problem.family][-1]}")
    for family, every in by_family.items():
        print(f"{family:10} {means(every)}")
    print(f"{'all':10} {means([one for every in by_family.values() for one in every])}")


if __name__ == "__main__":
    main()
