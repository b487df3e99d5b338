"""Does the portfolio find better values than each of its parts alone, however many workers ask at once?

COCO's `bbob-mixint`, every other one of its 24 functions in ten dimensions (eight whole knobs, two continuous), two
instances, three seeds (one for a single worker), 400 evaluations by 1, 8 and 64 asynchronous workers in virtual
time with log-normal durations. `mesh` is the real explorer proposing commits on the bus in memory (`search_swarm` says
what stands in for the rest); the peers are Optuna 5's TPE, CatCMAwM and random draws (`search_peers`), on the same
workers with the same durations.

Figures: `iqm.METHOD.W` is the interquartile mean of the normalised best value after all evaluations (0 random's median,
1 the best seen, `search_figures`); `over.PEER.W` is how far `mesh` is above, `.low` the lower end of the 95 % interval
by a stratified bootstrap; `worst.W` is the smallest difference to random of the mean on one function, `.low` and
`.high` its interval there: with six pairs of runs, on a function that nothing learns from (Katsuura's, f23), equals
differ by 0.3 and more. With `--quick` there are four functions, one instance, one seed and 150 evaluations: it shows
that all works.

The samplers were tuned on instances 3 and 4 of the same functions; 1 and 2 were left for this.
"""

import os
from functools import partial

import anyio
import anyio.to_process

from benchmarks import search_peers, search_swarm
from benchmarks.harness import Figures, Goal, say
from benchmarks.search_figures import METHODS, Search, difference, interval_on, iqm, paired, scores, worst
from benchmarks.search_problems import FUNCTIONS, Problem

WORKERS = (1, 8, 64)
GOALS: dict[str, Goal] = {
    **{f"over.{peer}.{workers}.low": (">", 0.0) for workers in (8, 64) for peer in METHODS[1:]},
    **{f"worst.{workers}": (">=", 0.0) for workers in WORKERS},
}


async def measure(quick: bool) -> Figures:
    """Run all searches, in as many processes as there are cores."""
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
    """Return the figures of the ends of all searches."""
    found = scores(ends)
    told: Figures = {}
    for workers in WORKERS:
        for method in METHODS:
            its = [score for search, score in found.items() if (search.method, search.workers) == (method, workers)]
            told[f"iqm.{method}.{workers}"] = iqm(its)
        for peer in METHODS[1:]:
            middle, low, high = difference(*paired(found, "mesh", peer, workers))
            told |= {f"over.{peer}.{workers}": middle, f"over.{peer}.{workers}.low": low}
            told[f"over.{peer}.{workers}.high"] = high
        beside = paired(found, "mesh", "random", workers)
        told[f"worst.{workers}"], function = worst(*beside)
        told[f"worst.{workers}.low"], told[f"worst.{workers}.high"] = interval_on(function, *beside)
        say(f"{workers} workers: least above random on f{function}")
    return told
