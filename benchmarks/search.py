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
| `ratio.FAMILY.W` | trials to the target, as a share of what the best peer on that family needs, `.low` and `.high` |
| `crashed.METHOD.W` | share of crashed trials in the family `crash` |
| `hartmann.METHOD.W` | median number of trials to -3.0 on Hartmann-6 without noise; 400 if never |
| `ms.N` | milliseconds per proposal of ten knobs in a log of N trials |
| `missing` | searches that were not run |

It takes one instance of each function, and each table either exact or with noise (`sample`), some 900 searches.
`MESH_BENCH_ALL=1` takes all problems, twice as many, and `MESH_BENCH_SEEDS=3` three seeds of each, one after the
other. The mesh's samplers alone come last: a search by one takes some 5 s, one by a peer 1 s. Courses are
kept in `.cache/search` (or `MESH_BENCH_CACHE`) as they end: what was cut off goes on there, and only what depends on
changed sources runs again. With `MESH_BENCH_MINUTES=N` no search begins after N minutes, and the figures are of what is
there. The best peer of a ratio is chosen after the fact, and a family has few problems: the interval of a ratio says
how much of it is luck.

The prior of the portfolio comes from the other half of the problems. `--quick` takes a few small problems and 60
trials: it shows that everything works.
"""

import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import anyio
import anyio.to_process

from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Trial, where
from agents.search.strategy import Strategy
from benchmarks.parts.harness import Figures, Goal, say
from benchmarks.parts.search_cache import CourseFile, folder, line_of
from benchmarks.parts.search_figures import (
    METHODS,
    Courses,
    difference,
    iqm,
    paired,
    ratio,
    reached,
    scores,
    trials_to_target,
    worst,
)
from benchmarks.parts.search_problems import EVALUATIONS, Problem, problems, sample
from benchmarks.parts.search_virtual import Course, Search, run
from mesh.knobs import Knob

WORKERS = (1, 8, 64)
LOGS = (100, 1000, 10_000)
GOALS: dict[str, Goal] = {
    **{f"over.{peer}.{workers}.low": (">", 0.0) for workers in WORKERS for peer in METHODS[1:]},
    **{f"ratio.{family}.{workers}": ("<=", 1.2) for workers in WORKERS for family in EVALUATIONS},
    "ms.10000": ("<=", 200.0),
    "missing": ("==", 0.0),
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
    """Run all searches that are not on disk yet, one process per core, and return the figures."""
    chosen = QUICK if quick else (problems if os.environ.get("MESH_BENCH_ALL") else sample)("judge")
    most = 60 if quick else 10_000
    todo = [
        Search(method, w, problem, seed, most)
        for is_alone in (False, True)
        for seed in range(1, 1 + seeds())
        for problem in chosen
        for w in WORKERS
        for method in METHODS
        if method.startswith("mesh:") == is_alone
    ]
    with tempfile.TemporaryDirectory(prefix="mesh-search-") as fresh:
        courses = await run_all(todo, CourseFile(Path(fresh) if quick else folder()), minutes())
    missing = Counter((one.method, one.workers) for one in todo if one not in courses)
    for (method, workers), count in missing.items():
        say(f"not run: {method}, {workers} workers: {count} of {len(chosen) * seeds()} searches")
    found = figures({one: courses[one] for one in todo if one in courses})
    return found | {"missing": float(missing.total())} | {f"ms.{size}": milliseconds(size) for size in LOGS}


def minutes() -> float:
    """Return after how many minutes no more searches begin: `MESH_BENCH_MINUTES`, else any number."""
    return float(os.environ.get("MESH_BENCH_MINUTES") or "inf")


def seeds() -> int:
    """Return how many seeds each search has: `MESH_BENCH_SEEDS`, else 1."""
    return int(os.environ.get("MESH_BENCH_SEEDS") or 1)


async def run_all(todo: Sequence[Search], file: CourseFile, minutes: float) -> dict[Search, Course]:
    """Return the courses of the searches, of the file or new ones, which are added to it as they end."""
    courses = {one: line.course() for one, line in file.read(todo).items()}
    if courses:
        say(f"{len(courses)} of {len(todo)} searches are on disk")
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # of the processes: one core each
    cores = anyio.CapacityLimiter(os.cpu_count() or 1)
    ends = time.monotonic() + minutes * 60

    async def search(one: Search) -> None:
        async with cores:
            if time.monotonic() > ends:
                return
            courses[one], cpu_s = await anyio.to_process.run_sync(partial(timed, one))
        file.add(line_of(one, courses[one], cpu_s))
        if len(courses) % 50 == 0:
            say(f"{len(courses)} of {len(todo)} searches")

    async with anyio.create_task_group() as tasks:
        for one in todo:
            if one not in courses:
                tasks.start_soon(search, one)
    return courses


def timed(search: Search) -> tuple[Course, float]:
    """Run a search; return its course and the seconds of processor time."""
    began = time.process_time()
    course = run(search)
    return course, time.process_time() - began


def figures(courses: Courses) -> Figures:
    """Return the figures of all searches; what needs searches that are not there is left out."""
    found, needed = scores(courses), trials_to_target(courses)
    families = dict.fromkeys(search.problem.family for search in courses)
    count = Counter((one.method, one.problem.family, one.workers) for one in courses)
    result: Figures = {}
    for workers in WORKERS:
        for method in METHODS:
            own = {one: c for one, c in courses.items() if (one.method, one.workers) == (method, workers)}
            if not own:
                continue
            result[f"iqm.{method}.{workers}"] = iqm([found[one] for one in own])
            crashing = [c.crashed / len(c.best) for one, c in own.items() if one.problem.family == "crash"]
            if crashing:
                result[f"crashed.{method}.{workers}"] = statistics.fmean(crashing)
            hartmann = [reached(c, -3.0) or 400 for one, c in own.items() if one.problem.name == "hartmann6"]
            if hartmann:
                result[f"hartmann.{method}.{workers}"] = statistics.median(hartmann)
        for peer in METHODS[1:]:
            both = paired(found, peer, workers)
            if both[0]:
                middle, low, high = difference(*both)
                result |= {f"over.{peer}.{workers}": middle, f"over.{peer}.{workers}.low": low}
                result[f"over.{peer}.{workers}.high"] = high
        for family in families:
            of = [peer for peer in METHODS[1:] if count[peer, family, workers] >= count["mesh", family, workers] > 0]
            if of:
                name = f"ratio.{family}.{workers}"
                result[name], low, high = ratio(needed, of, family, workers)
                result |= {f"{name}.low": low, f"{name}.high": high}
        if (both := paired(found, "random", workers))[0]:
            result[f"worst.{workers}"], function = worst(*both)
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
