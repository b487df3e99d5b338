"""Does the portfolio find better values than each of its samplers alone, however many workers run at once?

The problems are every other one of the 24 functions of COCO's `bbob-mixint` in ten dimensions (eight integer knobs, two
continuous), two instances, three seeds (one for a single worker), 400 evaluations by 1, 8 and 64 asynchronous workers
in virtual time with log-normal durations. `mesh` is the real explorer, which proposes commits on the in-memory bus
(`search_swarm` says what stands in for the rest). The peers are Optuna 5's TPE, CatCMAwM and random draws
(`search_peers`), on the same workers with the same durations.

Figures: `iqm.METHOD.W` is the interquartile mean of the normalised best value after all evaluations (0: random's
median, 1: the best that any method found; `search_figures`). `over.PEER.W` is how far `mesh` is above a peer, `.low`
the lower end of the 95 % interval by a stratified bootstrap. `worst.W` is the smallest difference to random of the mean
on one function, with its interval `.low` and `.high`: with six pairs of runs, on a function where nothing helps
(Katsuura's, f23), equal methods differ by 0.3 and more. `--quick` takes four functions, one instance, one seed and 150
evaluations: it shows that everything works.

The samplers were tuned on instances 3 and 4 of the same functions; 1 and 2 were left for this.
"""

import os
from functools import partial

import anyio
import anyio.to_process

from benchmarks.parts import search_peers, search_swarm
from benchmarks.parts.harness import Figures, Goal, say
from benchmarks.parts.search_figures import METHODS, Search, difference, interval_on, iqm, paired, scores, worst
from benchmarks.parts.search_problems import FUNCTIONS, Problem

WORKERS = (1, 8, 64)
GOALS: dict[str, Goal] = {
    **{f"over.{peer}.{workers}.low": (">", 0.0) for workers in (8, 64) for peer in METHODS[1:]},
    **{f"worst.{workers}": (">=", 0.0) for workers in WORKERS},
}


async def measure(quick: bool) -> Figures:
    """Run all searches, one process per core, and return the figures."""
    functions, instances, seeds = ((1, 8, 15, 20), (1,), (1,)) if quick else (FUNCTIONS, (1, 2), (1, 2, 3))
    evaluations = 150 if quick else 400
    todo = [
        Search(method, workers, function, instance, seed)
        for workers in WORKERS
        for function in functions
        for instance in instances
        for seed in (seeds if workers > 1 else seeds[:1])
        for method in METHODS
    ]
    ends: dict[Search, float] = {}
    cores = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def run(search: Search) -> None:
        found = await anyio.to_process.run_sync(partial(best, search, evaluations), limiter=cores)
        ends[search] = found
        if len(ends) % 50 == 0:
            say(f"{len(ends)} of {len(todo)} searches")

    async with anyio.create_task_group() as tasks:
        for search in todo:
            tasks.start_soon(run, search)
    return figures({search: ends[search] for search in todo})


def best(search: Search, evaluations: int) -> float:
    """Run one search and return the best value that it found."""
    problem = Problem(search.function, search.instance)
    if search.method == "mesh":
        return min(anyio.run(search_swarm.search, problem, search.workers, evaluations, search.seed))
    return min(search_peers.search(search.method, problem, search.workers, evaluations, search.seed))


def figures(ends: dict[Search, float]) -> Figures:
    """Return the figures from the best values of all searches."""
    found = scores(ends)
    result: Figures = {}
    for workers in WORKERS:
        for method in METHODS:
            of_method = [
                score for search, score in found.items() if (search.method, search.workers) == (method, workers)
            ]
            result[f"iqm.{method}.{workers}"] = iqm(of_method)
        for peer in METHODS[1:]:
            middle, low, high = difference(*paired(found, "mesh", peer, workers))
            result |= {f"over.{peer}.{workers}": middle, f"over.{peer}.{workers}.low": low}
            result[f"over.{peer}.{workers}.high"] = high
        beside = paired(found, "mesh", "random", workers)
        result[f"worst.{workers}"], function = worst(*beside)
        result[f"worst.{workers}.low"], result[f"worst.{workers}.high"] = interval_on(function, *beside)
        say(f"{workers} workers: the smallest lead over random is on f{function}")
    return result
