"""Which sampler is asked next: shares move to the kinds that earn more improvement per second of a worker.

Probability matching (Thierens, "An adaptive pursuit strategy for allocating operator probabilities", 2005) on what the
log says. A result earns if it enters the best ten so far, one over its place there: ranks keep their meaning under any
scale and noise, and the single best improves too rarely to tell kinds apart (Fialho et al., "Toward comparison-based
adaptive operator selection", 2010). What was earned and what it cost fade with a half-life, in results. No kind gets
less than `FLOOR`. Explorers that know the same log have the same shares.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from random import Random

from agents.search.samplers.cmaes import CMA
from agents.search.samplers.crossover import Crossover
from agents.search.samplers.mutate import Mutate
from agents.search.samplers.protocol import Sampler, Trial
from agents.search.samplers.quadratic import Quadratic
from agents.search.samplers.random_sobol import RandomSearch, Sobol
from agents.search.samplers.screened import Screened
from agents.search.samplers.tpe import TPE

SAMPLERS: dict[str, tuple[Callable[[], Sampler], tuple[str, ...]]] = {
    "mutate": (lambda: Screened(Mutate()), ()),
    "random": (RandomSearch, ()),
    "crossover": (lambda: Screened(Crossover()), ()),
    "sobol": (Sobol, ()),
    "quadratic": (Quadratic, ()),
    "cmaes": (lambda: Screened(CMA()), ("cmaes",)),
    "tpe": (TPE, ("optuna",)),
}
"""What makes a sampler, and the packages that it cannot do without."""

LEARNING = ("quadratic", "cmaes", "tpe", "mutate", "crossover")
"""The kinds that share what comes after the first points; `random` is dealt out too where packages are missing."""

RATIONALE = {
    "quadratic": "Quadratic model: the minimum of one model drawn from the posterior, given all results so far.",
    "cmaes": "CMA-ES: a draw from a normal distribution that moves towards the best-ranked results.",
    "tpe": "TPE: a point where good results are denser than bad ones.",
    "mutate": "Mutation: a small random step from one of the best proposals so far.",
    "crossover": "Crossover: each knob is taken from one of two good proposals, to combine what works in each.",
    "sobol": "Sobol point: even coverage of the knob space before anything is learned.",
    "random": "Random point: every knob is drawn uniformly from its range.",
}

PRIOR = {"quadratic": 2.0, "cmaes": 3.0, "tpe": 0.5, "mutate": 3.0, "crossover": 0.5}
"""What a kind is worth beside the others before it has shown anything: tuned on `benchmarks.search`, instances 3, 4."""

DOUBT = 0.3
"""Weight of that against what the log says, in shares of all that was earned of late."""

FLOOR = 0.05
"""Least share of a kind."""

HALF_LIFE = 100.0
"""Results after which what was earned counts half."""

_ELITE = 10
"""A result among so many best earns."""


def installed_samplers() -> tuple[dict[str, Sampler], list[str]]:
    """Return the samplers that can be asked here, by name, and the packages that others lack."""
    needed = {name for _, needs in SAMPLERS.values() for name in needs}
    missing = sorted(name for name in needed if find_spec(name) is None)
    return {kind: make() for kind, (make, needs) in SAMPLERS.items() if not {*needs} & {*missing}}, missing


def first_points(knobs: int) -> int:
    """Return how many Sobol points come before anything is learned from."""
    return max(4, math.ceil(2 * math.sqrt(knobs)))


def shares(kinds: Sequence[str], trials: Sequence[Trial]) -> dict[str, float]:
    """Return the share of each kind, 1 in total."""
    earned, cost = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0)
    fade = 0.5 ** (1 / HALF_LIFE)
    for trial, gain in gains(trials):
        for kind in kinds:
            earned[kind] *= fade
            cost[kind] *= fade
        if trial.by in earned:
            earned[trial.by] += gain
            cost[trial.by] += trial.seconds
    total, spent = sum(earned.values()), sum(cost.values())
    prior = {kind: PRIOR.get(kind, 1.0) for kind in kinds}
    worth = dict(prior)
    if total and spent:
        for kind in kinds:
            doubt = DOUBT * prior[kind] / sum(prior.values())
            worth[kind] *= (earned[kind] / total + doubt) / (cost[kind] / spent + doubt)
    rest = 1 - FLOOR * len(kinds)
    return {kind: FLOOR + rest * worth[kind] / sum(worth.values()) for kind in kinds}


def gains(trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """Return each trial with what it earned: one over its place among the best so far, nothing below tenth place."""
    told: list[tuple[Trial, float]] = []
    best: list[float] = []
    for trial in trials:
        gain = 0.0
        if trial.loss is not None:
            place = bisect_left(best, trial.loss)
            gain = 1 / (place + 1) if best and place < _ELITE else 0.0
            best.insert(place, trial.loss)
            del best[_ELITE:]
        told.append((trial, gain))
    return told


def choose_kind(kinds: Sequence[str], trials: Sequence[Trial], rng: Random) -> tuple[str, float]:
    """Return the kind to ask, and its share."""
    its = shares(kinds, trials)
    kind = rng.choices(list(its), list(its.values()))[0]
    return kind, its[kind]
