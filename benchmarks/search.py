"""Does the portfolio find better values than each single method, however many workers run at once?

The problems are those of `search_problems` for judging: COCO's mixed and continuous functions, Hartmann-6 and Branin,
tables of tuned models, and an artifact with regions that crash. Asynchronous workers (1, 8 and 64) run in virtual time
with log-normal durations. `mesh` is the explorer's strategy; the peers are Optuna 5's TPE, CatCMAwM, Sobol points,
random draws, and two of the mesh's samplers alone (`search_virtual`, `search_peers`). All start from the baseline.

| figure | what |
|---|---|
| `iqm.METHOD.W` | interquartile mean of the normalised best value after all trials (`search_figures`) |
| `over.PEER.W` | how far `mesh` is above a peer, with the 95 % interval `.low` and `.high` |
| `worst.W` | the smallest lead of `mesh` over random on one function; with two runs it is mostly noise |
| `ratio.FAMILY.W` | trials to the target, as a share of what the best peer on that family needs |
| `crashed.METHOD.W` | share of crashed trials in the family `crash` |
| `hartmann.METHOD.W` | median number of trials to -3.0 on Hartmann-6 without noise; 400 if never |
| `ms.N` | milliseconds per proposal of ten knobs in a log of N trials |

The prior of the portfolio comes from the other half of the problems. `--quick` takes a few small problems and 60
trials: it shows that everything works.
"""

import os
import statistics
import time
from functools import partial
from random import Random

import anyio
import anyio.to_process

from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Trial, where
from agents.search.strategy import Strategy
from benchmarks.parts.harness import Figures, Goal, say
from benchmarks.parts.search_figures import (
    METHODS,
    Courses,
    difference,
    iqm,
    paired,
    reached,
    scores,
    trials_to_target,
    worst,
)
from benchmarks.parts.search_problems import EVALUATIONS, Problem, problems
from benchmarks.parts.search_virtual import Course, Search, run
from mesh.knobs import Knob

WORKERS = (1, 8, 64)
LOGS = (100, 1000, 10_000)
GOALS: dict[str, Goal] = {
    **{f"over.{peer}.{workers}.low": (">", 0.0) for workers in WORKERS for peer in METHODS[1:]},
    **{f"ratio.{family}.{workers}": ("<=", 1.2) for workers in WORKERS for family in EVALUATIONS},
    "ms.10000": ("<=", 200.0),
}

QUICK = (
    Problem("mixint", "1", 1),
    Problem("bbob2", "8", 1),
    Problem("bbob5", "1", 1),
    Problem("bbob10", "1", 1),
    Problem("classic", "hartmann6", 1),
    Problem("tables", "phoneme noisy", 0),
    Problem("crash", "b", 1),
)


async def measure(quick: bool) -> Figures:
    """Run all searches, one process per core, and return the figures."""
    todo = [
        Search(method, workers, problem, 1, most=60 if quick else 10_000)
        for problem in (QUICK if quick else problems("judge"))
        for workers in WORKERS
        for method in METHODS
    ]
    courses: dict[Search, Course] = {}
    cores = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def search(one: Search) -> None:
        courses[one] = await anyio.to_process.run_sync(partial(run, one), limiter=cores)
        if len(courses) % 50 == 0:
            say(f"{len(courses)} of {len(todo)} searches")

    async with anyio.create_task_group() as tasks:
        for one in todo:
            tasks.start_soon(search, one)
    return figures({one: courses[one] for one in todo}) | {f"ms.{size}": milliseconds(size) for size in LOGS}


def figures(courses: Courses) -> Figures:
    """Return the figures of all searches."""
    found, needed = scores(courses), trials_to_target(courses)
    families = dict.fromkeys(search.problem.family for search in courses)
    result: Figures = {}
    for workers in WORKERS:
        for method in METHODS:
            own = {one: c for one, c in courses.items() if (one.method, one.workers) == (method, workers)}
            result[f"iqm.{method}.{workers}"] = iqm([found[one] for one in own])
            crashing = [c.crashed / len(c.best) for one, c in own.items() if one.problem.family == "crash"]
            if crashing:
                result[f"crashed.{method}.{workers}"] = statistics.fmean(crashing)
            hartmann = [reached(c, -3.0) or 400 for one, c in own.items() if one.problem.name == "hartmann6"]
            if hartmann:
                result[f"hartmann.{method}.{workers}"] = statistics.median(hartmann)
        for peer in METHODS[1:]:
            middle, low, high = difference(*paired(found, peer, workers))
            result |= {f"over.{peer}.{workers}": middle, f"over.{peer}.{workers}.low": low}
            result[f"over.{peer}.{workers}.high"] = high
        for family in families:
            least = min(needed[peer, family, workers] for peer in METHODS[1:])
            result[f"ratio.{family}.{workers}"] = needed["mesh", family, workers] / least
        result[f"worst.{workers}"], function = worst(*paired(found, "random", workers))
        say(f"{workers} workers: the smallest lead over random is on {function}")
    return result


def milliseconds(size: int) -> float:
    """Return the mean milliseconds of a proposal in a log of this size; the first, which fills caches, not counted."""
    space = [Knob(file="train.py", name=f"X{n}", value=0.5, low=0.0, high=1.0) for n in range(10)]
    rng = Random(1)
    trials = []
    for number in range(size):
        values = {where(knob): rng.random() for knob in space}
        loss = sum((each - 0.3) ** 2 for each in values.values()) if number % 10 else None
        by = rng.choice(portfolio.LEARNING) if number > 2 * len(space) else "step" if number % 2 else "sobol"
        trials.append(Trial(tree=f"{number}", seq=number, values=dict(values), loss=loss, by=by, seconds=1.0))
    strategy = Strategy(portfolio.installed_samplers()[0], portfolio.LEARNING)
    for seed in range(40):
        strategy.ask(space, trials[:-20], [], Random(seed))
    began = time.perf_counter()
    for number in range(20):
        strategy.ask(space, trials[: size - 20 + number], [], Random(number))
    return (time.perf_counter() - began) / 20 * 1000
