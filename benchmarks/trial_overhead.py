"""What a trial costs beside its own work: an empty trial with scoring, in the sandbox that the worker chooses.

The arena's `preload` is torch, so every trial has torch imported. So has every trial of the peers, each in a new
process: a fresh `python -c "import torch"`, Optuna with an objective that runs such a process, and Ray Tune with a
function trainable that imports torch and actors that are not reused. No peer scores in a second process or sandboxes
its trial. Our times are from `run.requested` to `run.finished` in the log.

`limit.fork_ms`, a fork of a process with torch and a wait for its end, is the raw limit. It is measured after each of
our trials, and `p50_to_fork` is the median of the ratios of such neighbours: a machine that is busy slows both. For the
same reason a trial of each peer alternates with a queue of ours, except Ray Tune's. `contain_ms` is what the sandbox
costs: the difference to trials without.

Peers that are not installed (`pip install -e '.[bench]'`) have no figure, and a line on standard error says so.
"""

import importlib.util
import statistics
from contextlib import AsyncExitStack

from benchmarks.parts.harness import Figures, Goal, in_a_process, percentile, ratio, say, stepwise
from benchmarks.parts.trials import per_second, trials

GOALS: dict[str, Goal] = {"p50_to_fork": ("<=", 4), "ratio_to_best_peer": (">=", 30)}

EMPTY = """
import json, os, pathlib
pathlib.Path(os.environ["MESH_OUT"], "score.json").write_text(json.dumps({"loss": 1.0}))
"""


async def measure(quick: bool) -> Figures:
    """Return milliseconds from request to finish, and trials per second of ours and of the peers."""
    single, turns, queued = (100, 6, 15) if quick else (600, 30, 25)
    waits, bare, forks, ratios = list[float](), list[float](), list[float](), list[float]()
    rates: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(trials(1, train=EMPTY))
        free = await stack.enter_async_context(trials(1, train=EMPTY, options=["--no-sandbox"]))
        fork = await stack.enter_async_context(stepwise("fork"))
        peers = {name: await stack.enter_async_context(stepwise(name)) for name in ("process", *_installed("optuna"))}
        await one.prepare(single + turns * queued)
        await free.prepare(single)
        for _ in range(single):
            waits += [run.seconds * 1000 for run in await one.ask(1)]
            forks.append(await fork())
            bare += [run.seconds * 1000 for run in await free.ask(1)]
        for _ in range(turns):
            turn = {f"peer.{name}_per_s": 1000 / await peer() for name, peer in peers.items()}
            turn["trials_per_s.slots_1"] = ours = per_second(await one.ask(queued))
            ratios.append(ours / max(rate for name, rate in turn.items() if name.startswith("peer.")))
            for name, rate in turn.items():
                rates.setdefault(name, []).append(rate)
        for _ in _installed("ray"):
            found = await in_a_process("benchmarks.parts.peers", "ray", str(turns))
            rates["peer.ray_per_s"] = [found["per_s"]]
    async with trials(2, train=EMPTY) as two:
        await two.prepare(turns * queued)
        rates["trials_per_s.slots_2"] = [per_second(await two.ask(turns * queued))]
    figures = {"p50_ms": statistics.median(waits), "p99_ms": percentile(waits, 99)}
    figures |= {"p50_to_fork": ratio(waits, forks), "limit.fork_ms": statistics.median(forks)}
    figures["contain_ms"] = statistics.median(ours - without for ours, without in zip(waits, bare, strict=True))
    figures |= {name: statistics.median(values) for name, values in rates.items()}
    ray = figures["trials_per_s.slots_1"] / figures.get("peer.ray_per_s", 1e-9)
    return figures | {"ratio_to_best_peer": min(statistics.median(ratios), ray)}


def _installed(name: str) -> list[str]:
    """Return the name of a peer if it is installed, else say that it is left out."""
    if importlib.util.find_spec(name) is None:
        say(f"{name} is not installed and is left out; install the extra `bench` to measure it")
        return []
    return [name]
