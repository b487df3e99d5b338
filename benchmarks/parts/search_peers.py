"""The peers of `benchmarks.search`: each alone, on the same virtual workers, used as its authors intend.

Optuna's TPE is its default sampler, through `ask` and `tell`. CatCMAwM is asked whenever a worker is free, and told
whenever a generation of results has arrived, from whichever generation they were drawn. Random draws evenly.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from benchmarks.parts.search_problems import Problem

Ask = Callable[[], tuple[Any, list[float]]]
Tell = Callable[[Any, float], None]


def search(peer: str, problem: Problem, workers: int, evaluations: int, seed: int) -> list[float]:
    """Return the values in the order in which their runs ended."""
    ask, tell = {"random": _random, "tpe": _tpe, "catcma": _catcma}[peer](problem, seed)
    durations = problem.durations(seed)
    running: list[tuple[float, int, Any, list[float]]] = []
    values: list[float] = []
    begun, now = 0, 0.0
    while len(values) < evaluations:
        while len(running) < workers and begun < evaluations:
            token, point = ask()
            heappush(running, (now + next(durations), begun, token, point))
            begun += 1
        now, _, token, point = heappop(running)
        values.append(problem.value(point))
        tell(token, values[-1])
    return values


def _random(problem: Problem, seed: int) -> tuple[Ask, Tell]:
    rng, knobs = random.Random(seed), problem.knobs

    def ask() -> tuple[None, list[float]]:
        return None, [rng.randint(int(k.low), int(k.high)) if k.whole else rng.uniform(k.low, k.high) for k in knobs]

    return ask, lambda token, value: None


def _tpe(problem: Problem, seed: int) -> tuple[Ask, Tell]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    ints, floats = optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution
    space = {k.name: ints(int(k.low), int(k.high)) if k.whole else floats(k.low, k.high) for k in problem.knobs}

    def ask() -> tuple[Any, list[float]]:
        trial = study.ask(space)
        return trial, [float(trial.params[name]) for name in space]

    return ask, lambda trial, value: study.tell(trial, value)


def _catcma(problem: Problem, seed: int) -> tuple[Ask, Tell]:
    from cmaes import CatCMAwM

    knobs = problem.knobs
    optimizer = CatCMAwM(
        x_space=[[k.low, k.high] for k in knobs if not k.whole],
        z_space=[list(range(int(k.low), int(k.high) + 1)) for k in knobs if k.whole],
        seed=seed,
    )
    results: list[tuple[Any, float]] = []

    def ask() -> tuple[Any, list[float]]:
        drawn = optimizer.ask()
        return drawn, [float(number) for number in (*drawn.z, *drawn.x)]  # the whole ones come first in the suite

    def tell(drawn: Any, value: float) -> None:
        results.append((drawn, value))
        if len(results) == optimizer.population_size:
            optimizer.tell(results[:])
            results.clear()

    return ask, tell
