"""The peers of `benchmarks.search`: each alone, on the same virtual workers, used as its authors intend.

All begin with the baseline, as the mesh does. Optuna's TPE is its default sampler, through `ask` and `tell`; a crash is
a failed trial. CatCMAwM is asked whenever a worker is free, and told whenever a generation of results has arrived, from
whichever generation they were drawn; a crash is worse by 1 than all before. Random draws evenly, Sobol from scipy's
scrambled sequence.
"""

import math
import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from benchmarks.parts.search_crash import Variable
from benchmarks.parts.search_problems import Problem

Given = list[float | str]
Ask = Callable[[], tuple[Any, Given]]
Tell = Callable[[Any, float | None], None]


def search(peer: str, problem: Problem, workers: int, evaluations: int, seed: int) -> list[tuple[Given, float | None]]:
    """Return points and results in the order in which their runs ended; a crash has no result."""
    ask, tell = {"random": _random, "sobol": _sobol, "tpe": _tpe, "catcma": _catcma}[peer](problem, seed)
    durations = problem.durations(seed)
    running: list[tuple[float, int, Any, Given]] = []
    ends: list[tuple[Given, float | None]] = []
    begun, now = 0, 0.0
    while len(ends) < evaluations:
        while len(running) < workers and begun < evaluations:
            token, point = ask() if begun or peer == "tpe" else (None, [knob.start for knob in problem.knobs])
            heappush(running, (now + next(durations), begun, token, point))
            begun += 1
        now, number, token, point = heappop(running)
        ends.append((point, problem.value(point, number)))
        if token is not None:
            tell(token, ends[-1][1])
    return ends


def _value(knob: Variable, place: float) -> float | str:
    """Return the value at a place from 0 to below 1."""
    if knob.choices:
        return knob.choices[int(place * len(knob.choices))]
    if knob.log:
        number = math.exp(math.log(knob.low) + place * math.log(knob.high / knob.low))
        return round(number) if knob.whole else number
    return (
        int(knob.low) + int(place * (knob.high - knob.low + 1))
        if knob.whole
        else knob.low + place * (knob.high - knob.low)
    )


def _random(problem: Problem, seed: int) -> tuple[Ask, Tell]:
    rng, knobs = random.Random(seed), problem.knobs
    return lambda: (None, [_value(knob, rng.random()) for knob in knobs]), lambda token, value: None


def _sobol(problem: Problem, seed: int) -> tuple[Ask, Tell]:
    from scipy.stats import qmc

    knobs = problem.knobs
    rows = iter(qmc.Sobol(len(knobs), rng=seed).random_base2(max(1, problem.evaluations - 1).bit_length()))
    return (
        lambda: (None, [_value(k, min(float(at), 1 - 1e-12)) for k, at in zip(knobs, next(rows), strict=True)]),
        lambda token, value: None,
    )


def _tpe(problem: Problem, seed: int) -> tuple[Ask, Tell]:
    import optuna
    from optuna import distributions as d

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    space: dict[str, d.BaseDistribution] = {}
    for k in problem.knobs:
        if k.choices:
            space[k.name] = d.CategoricalDistribution(k.choices)
        elif k.whole:
            space[k.name] = d.IntDistribution(int(k.low), int(k.high), log=k.log)
        else:
            space[k.name] = d.FloatDistribution(k.low, k.high, log=k.log)
    study.enqueue_trial({k.name: k.start for k in problem.knobs})

    def ask() -> tuple[Any, Given]:
        trial = study.ask(space)
        return trial, [trial.params[name] for name in space]

    def tell(trial: Any, value: float | None) -> None:
        study.tell(trial, value, state=optuna.trial.TrialState.FAIL if value is None else None)

    return ask, tell


def _catcma(problem: Problem, seed: int) -> tuple[Ask, Tell]:
    """Return its functions; a whole knob on a log scale is continuous, and rounded."""
    import numpy as np
    from cmaes import CatCMAwM

    knobs = problem.knobs
    plain = [k for k in knobs if not k.choices and (k.log or not k.whole)]
    steps = [k for k in knobs if k.whole and not k.log]
    choices = [k for k in knobs if k.choices]
    optimizer = CatCMAwM(
        x_space=[[math.log(k.low), math.log(k.high)] if k.log else [k.low, k.high] for k in plain] or None,
        z_space=[list(range(int(k.low), int(k.high) + 1)) for k in steps] or None,
        c_space=[len(k.choices) for k in choices] or None,
        seed=seed,
    )
    results: list[tuple[Any, float]] = []
    told: list[float] = []

    def ask() -> tuple[Any, Given]:
        drawn = optimizer.ask()
        values: dict[str, float | str] = {}
        for k, at in zip(plain, drawn.x if plain else (), strict=True):
            number = math.exp(at) if k.log else float(at)
            values[k.name] = round(number) if k.whole else min(k.high, max(k.low, number))
        values |= {k.name: int(at) for k, at in zip(steps, drawn.z if steps else (), strict=True)}
        values |= {k.name: k.choices[int(r.argmax())] for k, r in zip(choices, drawn.c if choices else (), strict=True)}
        return drawn, [values[k.name] for k in knobs]

    def tell(drawn: Any, value: float | None) -> None:
        if value is None:  # worse than all results so far, and never equal: it cannot learn from equal ones
            value = max(told, default=0.0) + 1.0
        told.append(value)
        results.append((drawn, value))
        if len(results) == optimizer.population_size:
            with np.errstate(all="ignore"):
                optimizer.tell(results[:])
            results.clear()

    return ask, tell
