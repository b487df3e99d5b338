"""The portfolio of samplers: samplers that earn more improvement per worker-second get a larger share of the proposals.

The method is probability matching (Thierens, "An adaptive pursuit strategy for allocating operator probabilities",
2005). A result among the best ten so far counts 1 / rank as its improvement. Ranks mean the same under any scale and
noise, and the single best improves too rarely to compare samplers (Fialho et al., "Toward comparison-based adaptive
operator selection", 2010). Improvements and costs fade with a half-life, counted in results. No sampler gets less than
`FLOOR`. Explorers with the same log compute the same shares.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from random import Random

from agents.search.samplers.cmaes import CMA
from agents.search.samplers.crossover import Crossover
from agents.search.samplers.gaussian import LEAST_SCORED, Gaussian
from agents.search.samplers.mutate import Mutate
from agents.search.samplers.protocol import Sampler, Trial
from agents.search.samplers.quadratic import Quadratic
from agents.search.samplers.random_sobol import RandomSearch, Sobol
from agents.search.samplers.screened import Screened, Windowed
from agents.search.samplers.step import StepSampler
from agents.search.samplers.tpe import TPE
from agents.search.samplers.trial_log import TrialLog, best_before, count_made, scored_of
from agents.search.samplers.walk import LiteralWalk

SAMPLERS: dict[str, tuple[Callable[[], Sampler], tuple[str, ...]]] = {
    "mutate": (lambda: Windowed(Screened(Mutate())), ()),
    "random": (RandomSearch, ()),
    "crossover": (lambda: Windowed(Screened(Crossover())), ()),
    "sobol": (Sobol, ()),
    "step": (StepSampler, ()),
    "gaussian": (Gaussian, ()),
    "quadratic": (lambda: Windowed(Quadratic()), ()),
    "cmaes": (lambda: Screened(CMA()), ("cmaes",)),
    "tpe": (TPE, ("optuna",)),
    "walk": (LiteralWalk, ()),
}
"""The constructor of each built-in sampler, and the packages it needs."""

LEARNING = ("gaussian", "quadratic", "cmaes", "tpe", "mutate", "crossover")
"""Samplers that share the proposals after the first points; `random` joins them if packages are missing."""

RATIONALE = {
    "step": "Step: one knob of the best proposal, or a few by a little, to see what each does.",
    "gaussian": "Gaussian process: the largest expected improvement over the best result so far.",
    "quadratic": "Quadratic model: the minimum of one model drawn from the posterior, given all results so far.",
    "cmaes": "CMA-ES: a draw from a normal distribution that moves towards the best-ranked results.",
    "tpe": "TPE: a point where good results are denser than bad ones.",
    "mutate": "Mutation: a small random step from one of the best proposals so far.",
    "crossover": "Crossover: each knob is taken from one of two good proposals, to combine what works in each.",
    "walk": "Walk: one literal, or equal ones together, a step further; then what gained together, then longer steps.",
    "tables": "Tables: an array that code builds is written out as numbers, a few of which then move at a time.",
    "ties": "Ties: numbers that belong together move together: equal ones, a column, neighbours, or give and take.",
    "factors": "Factors: an expression without a number of its own is multiplied by one, or gets one added.",
    "put back": "Put back: a change of a claim returns to the champion's value, to see whether it matters.",
    "sobol": "Sobol point: even coverage of the knob space before anything is learned.",
    "random": "Random point: every knob is drawn uniformly from its range.",
}

PRIOR = {"gaussian": 2.79, "quadratic": 0.13, "cmaes": 0.46, "tpe": 0.86, "mutate": 1.42, "crossover": 1.37}
"""Relative worth of a sampler before it has results.

Squares of what `python -m benchmarks.parts.search_learn` prints: the mean improvement per proposal where all samplers
have equal shares. No problem that `benchmarks.search` judges by is among those it learns from.
"""

PRIOR_WEIGHT = 0.3
"""Weight of the prior against the results of the log, as a share of all recent improvements."""

FLOOR = 0.05
"""Smallest share of a sampler."""

HALF_LIFE = 100.0
"""Number of results after which an improvement counts half."""

_FADED = 2000
"""Older results count less than a millionth."""

_ELITE = 10
"""Only a result among this many best ones counts as an improvement."""


def installed_samplers() -> tuple[dict[str, Sampler], list[str]]:
    """Return the usable samplers by name, and the missing packages that the others need."""
    needed = {name for _, needs in SAMPLERS.values() for name in needs}
    missing = sorted(name for name in needed if find_spec(name) is None)
    return {kind: make() for kind, (make, needs) in SAMPLERS.items() if not {*needs} & {*missing}}, missing


def first_points(knobs: int) -> int:
    """Return the number of Sobol points before the learning samplers take over.

    Args:
        knobs: The number of knobs.
    """
    return max(4, math.ceil(2 * math.sqrt(knobs)))


def first_kind(knobs: int, trials: Sequence[Trial], pending: Sequence[Trial]) -> str:
    """Return the sampler of the first points that is next, "" once they are made.

    Steps near the baseline and Sobol points take turns. Sobol ends where its first points have crashed.

    Args:
        knobs: The number of knobs.
        trials: The finished trials.
        pending: The unfinished trials.
    """
    made = {kind: count_made(kind, trials, pending) for kind in ("sobol", "step")}
    points = first_points(knobs)
    wanted = {"sobol": points if covers(trials) else made["sobol"], "step": first_steps(knobs)}
    todo = [kind for kind in ("sobol", "step") if made[kind] < wanted[kind]]
    return min(todo, key=lambda kind: made[kind] / wanted[kind], default="")


def covers(trials: Sequence[Trial]) -> bool:
    """Tell whether Sobol points are of use: not if the first ones have all crashed."""
    if isinstance(trials, TrialLog):
        made, crashed = trials.made["sobol"], trials.crashed["sobol"]
    else:
        made = count_made("sobol", trials)
        crashed = sum(trial.by == "sobol" and trial.loss is None for trial in trials)
    return made < 2 or crashed < made


def has_model(kind: str, knobs: int, trials: Sequence[Trial]) -> bool:
    """Tell whether a sampler learns from as many results as there are, or would draw evenly by chance.

    Args:
        kind: The name of the sampler.
        knobs: The number of knobs.
        trials: The finished trials.
    """
    needed = {"gaussian": LEAST_SCORED, "quadratic": knobs + 2, "tpe": 10}.get(kind, 0)
    return needed <= len(scored_of(trials))


def first_steps(knobs: int) -> int:
    """Return the number of steps near the baseline before the learning samplers take over."""
    return max(2, math.ceil(math.sqrt(knobs)))


def shares(kinds: Sequence[str], trials: Sequence[Trial]) -> dict[str, float]:
    """Return the share of each sampler in the next proposals; all shares sum to 1.

    Args:
        kinds: The names of the samplers.
        trials: The finished trials, in the order of the log.
    """
    earned, cost = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0)
    fade = 0.5 ** (1 / HALF_LIFE)
    for trial, gain in recent_gains(trials, _FADED):
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
            weight = PRIOR_WEIGHT * prior[kind] / sum(prior.values())
            worth[kind] *= (earned[kind] / total + weight) / (cost[kind] / spent + weight)
    rest = 1 - FLOOR * len(kinds)
    return {kind: FLOOR + rest * worth[kind] / sum(worth.values()) for kind in kinds}


def gains(trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """Return each trial with its improvement: 1 / rank among the best ten so far, else 0."""
    return recent_gains(trials, len(trials))


def recent_gains(trials: Sequence[Trial], count: int) -> list[tuple[Trial, float]]:
    """Return the latest trials, so many, with their improvements over all before them."""
    found: list[tuple[Trial, float]] = []
    latest = trials[max(0, len(trials) - count) :]
    older = best_before(trials, latest[0].seq, _ELITE) if len(trials) > count else []
    best = [trial.loss for trial in older if trial.loss is not None]
    for trial in latest:
        gain = 0.0
        if trial.loss is not None:
            place = bisect_right(best, trial.loss)  # what is only as good comes after it
            gain = 1 / (place + 1) if best and place < _ELITE else 0.0
            best.insert(place, trial.loss)
            del best[_ELITE:]
        found.append((trial, gain))
    return found


def choose_kind(kinds: Sequence[str], trials: Sequence[Trial], rng: Random) -> tuple[str, float]:
    """Return the name of the sampler to ask, and its share."""
    if isinstance(trials, TrialLog):
        share_of = trials.now(("shares", *kinds), lambda: shares(kinds, trials))
    else:
        share_of = shares(kinds, trials)
    kind = rng.choices(list(share_of), list(share_of.values()))[0]
    return kind, share_of[kind]
