"""What a trial costs beside its own work: an empty trial with scoring, in the sandbox that the worker chooses.

The arena's `preload` is torch, so every trial has torch imported. So has every trial of the peers, each in a new
process: a fresh `python -c "import torch"`, Optuna with an objective that runs such a process, and Ray Tune with a
function trainable that imports torch and actors that are not reused. No peer scores in a second process or sandboxes
its trial. Our times are from `run.requested` to `run.finished` in the log.

`limit.fork_ms`, a fork of a process with torch and a wait for its end, is the raw limit. It is measured after each of
our trials, and `p50_to_fork` is the median of the ratios of such neighbours: a machine that is busy slows both. Rates
are measured in turns for the same reason. `contain_ms` is what the sandbox costs: the difference to trials without.

Peers that are not installed (`pip install -e '.[bench]'`) have no figure, and a line on standard error says so.
"""

import importlib.util
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.parts.harness import Figures, Goal, in_a_process, percentile, ratio, say
from benchmarks.parts.trials import Run, Trials, trials

ROUNDS = 3
PEERS = ("optuna", "ray")
GOALS: dict[str, Goal] = {"p50_to_fork": ("<=", 4), "ratio_to_best_peer": (">=", 30)}

EMPTY = """
import json, os, pathlib
pathlib.Path(os.environ["MESH_OUT"], "score.json").write_text(json.dumps({"loss": 1.0}))
"""


async def measure(quick: bool) -> Figures:
    """Return milliseconds from request to finish, and trials per second of ours and of the peers."""
    rounds, single, queued, theirs = (1, 100, 60, 4) if quick else (ROUNDS, 200, 200, 10)
    waits, bare, forks = list[float](), list[float](), list[float]()
    rates: dict[str, list[float]] = {}
    async with (
        trials(1, train=EMPTY) as one,
        trials(1, train=EMPTY, options=["--no-sandbox"]) as free,
        _forks() as fork,
    ):
        for _ in range(rounds):
            await one.prepare(single + queued)
            await free.prepare(single)
            for _ in range(single):
                waits += [run.seconds * 1000 for run in await one.ask(1)]
                forks.append(await fork())
                bare += [run.seconds * 1000 for run in await free.ask(1)]
            rates.setdefault("trials_per_s.slots_1", []).append(await _rate(one, queued))
            for name, peer in _peers().items():
                rates.setdefault(name, []).append(await peer(theirs))
    async with trials(2, train=EMPTY) as two:
        for _ in range(rounds):
            await two.prepare(queued)
            rates.setdefault("trials_per_s.slots_2", []).append(await _rate(two, queued))
    figures = {"p50_ms": statistics.median(waits), "p99_ms": percentile(waits, 99)}
    figures |= {"p50_to_fork": ratio(waits, forks), "limit.fork_ms": statistics.median(forks)}
    figures["contain_ms"] = statistics.median(ours - without for ours, without in zip(waits, bare, strict=True))
    figures |= {name: statistics.median(values) for name, values in rates.items()}
    best = max(rate for name, rate in figures.items() if name.startswith("peer."))
    return figures | {"ratio_to_best_peer": figures["trials_per_s.slots_1"] / best}


@asynccontextmanager
async def _forks() -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Run a process that has torch; what is yielded has it fork once and returns the milliseconds."""
    command = [sys.executable, "-m", "benchmarks.parts.peers", "fork"]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, lines = process.stdin, BufferedByteReceiveStream(process.stdout)

        async def fork() -> float:
            await to.send(b"\n")
            return float(await lines.receive_until(b"\n", 100))

        await fork()  # until it has imported torch
        yield fork
        await to.aclose()


def per_second(runs: Sequence[Run]) -> float:
    """Return the rate (1/s) of runs that were requested at once."""
    ends = [run.ended for run in runs if run.ended]
    return len(runs) / (max(ends) - min(run.requested for run in runs)).total_seconds()


async def _rate(ours: Trials, count: int) -> float:
    return per_second(await ours.ask(count))


def _peers() -> dict[str, Callable[[int], Awaitable[float]]]:
    """Return a function per installed peer that measures its rate (1/s)."""
    found: dict[str, Callable[[int], Awaitable[float]]] = {"peer.process_per_s": _fresh_processes}
    for name in PEERS:
        if importlib.util.find_spec(name) is None:
            say(f"{name} is not installed and is left out; install the extra `bench` to measure it")
            continue

        async def rate(count: int, name: str = name) -> float:
            return (await in_a_process("benchmarks.parts.peers", name, str(count)))["per_s"]

        found[f"peer.{name}_per_s"] = rate
    return found


async def _fresh_processes(count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await anyio.run_process([sys.executable, "-c", "import torch"])
    return count / (time.perf_counter() - began)
