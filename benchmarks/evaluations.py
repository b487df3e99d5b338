"""How many evaluations of an OpenEvolve task a slot makes in a second, and what each costs every process.

`worker` figures: one real worker with one slot on the real server, in the sandbox that it chooses, with all requests
waiting. `evaluate()` returns at once. `raw_per_s` is the limit, measured in turns: a process forks, and the fork
imports the evaluator, evaluates and ends. `queue_share` is for an `evaluate()` that takes 100 ms: the time between two
of them that is none of theirs, divided by 100 ms.

`swarm` figures: the same task in a whole swarm (explorer, critic, curator, projector), which proposes what it runs.

`cpu_ms.*` are milliseconds of CPU time per evaluation, of each process with its children.
"""

import itertools
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from anyio.abc import Process

from benchmarks.parts.cpu_share import cpu_ms
from benchmarks.parts.evaluation_task import task
from benchmarks.parts.harness import Figures, Goal, stepwise
from benchmarks.parts.trials import Trials, per_second, trials

GOALS: dict[str, Goal] = {"worker.per_s": (">=", 20), "worker.queue_share": ("<=", 0.2), "swarm.per_s": (">=", 20)}

SLOW_S = 0.1


async def measure(quick: bool) -> Figures:
    """Return evaluations per second, CPU milliseconds per evaluation, and shares."""
    turns, count, slow, swarm_s = (3, 30, 40, 10.0) if quick else (10, 60, 200, 40.0)
    figures: Figures = {"load": os.getloadavg()[0]}
    async with trials(1, task=task(0)) as fast, stepwise("evaluation") as raw:
        rates, raws, spent = list[float](), list[float](), dict[str, float]()
        await fast.prepare(turns * count)
        for _ in range(turns):
            raws.append(1000 / await raw())
            before = cpu_ms(fast.pids)
            rates.append(per_second(await fast.ask(count)))
            for name, ms in cpu_ms(fast.pids).items():
                spent[name] = spent.get(name, 0.0) + ms - before[name]
        figures |= {"worker.per_s": statistics.median(rates), "raw_per_s": statistics.median(raws)}
        figures["worker.ratio_to_raw"] = statistics.median(a / b for a, b in zip(rates, raws, strict=True))
        figures |= {f"worker.cpu_ms.{name}": ms / turns / count for name, ms in spent.items()}
        figures["worker.cpu_ms"] = sum(spent.values()) / turns / count
    async with trials(1, task=task(SLOW_S)) as ours:
        await ours.prepare(slow)
        runs = sorted(await ours.ask(slow), key=lambda run: run.metrics["begin"])
        gaps = [b.metrics["begin"] - a.metrics["end"] for a, b in itertools.pairwise(runs)]
        figures["worker.between_ms"] = statistics.mean(gaps) * 1000
        figures["worker.queue_share"] = statistics.mean(gaps) / SLOW_S
    async with trials(1, task=task(0)) as arena, _swarm(arena):
        figures |= {f"swarm.{name}": value for name, value in (await _watched(arena, swarm_s)).items()}
    return figures


async def _watched(arena: Trials, seconds: float) -> Figures:
    """Return what a swarm does in some seconds, once its worker has done some runs."""
    await arena.until_finished(40)
    before, began, first = cpu_ms(arena.pids), time.monotonic(), arena.finished
    await anyio.sleep(seconds)
    count, took_s, after = arena.finished - first, time.monotonic() - began, cpu_ms(arena.pids)
    spent = {name: (ms - before[name]) / max(1, count) for name, ms in after.items()}
    return {
        "per_s": count / took_s,
        "cpu_ms": sum(spent.values()),
        **{f"cpu_ms.{name}": ms for name, ms in spent.items()},
    }


@asynccontextmanager
async def _swarm(arena: Trials) -> AsyncIterator[None]:
    """Run the other processes of a swarm on an arena."""
    here = ["--home", str(arena.home)]
    roles = {role: ["mesh.agent", role, "--arena", arena.name, *here] for role in ("curator", "critic", "explorer")}
    roles["explorer"] += ["--count", "2"]
    running = list[Process]()
    async with AsyncExitStack() as stack:
        for name, words in {**roles, "projector": ["analytics", *here]}.items():
            env = {**os.environ, "MESH_NATS": arena.url}
            command = [sys.executable, "-m", *words]
            running.append(await stack.enter_async_context(await anyio.open_process(command, stdout=None, env=env)))
            arena.pids[name] = running[-1].pid
        try:
            yield
        finally:
            for process in running:
                if process.returncode is None:
                    process.terminate()
