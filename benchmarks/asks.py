"""What one idea of each sampler costs (ms of CPU time) after 1,000, 10,000 and 100,000 trials.

The trials are made up: eight knobs, results that are better near one point, one in twenty failed. Then, again and
again, one more result comes in and each sampler is asked, and so is the whole search, which also chooses the sampler
and screens its ideas. `p99_ms.*` are from the longest log, and `first_ms.*` is the first idea of an explorer that
begins there: it learns from all trials at once. As in a process of agents, matrices have one thread.
"""

import json
import os
import sys

import anyio

from benchmarks.parts.asking import KINDS, SEARCH
from benchmarks.parts.harness import Figures, Goal
from mesh.agent.__main__ import THREADS

GOALS: dict[str, Goal] = {f"p99_ms.{kind}": ("<=", 60) for kind in (*KINDS, SEARCH)}
SIZES = (1000, 10_000, 100_000)


async def measure(quick: bool) -> Figures:
    """Return CPU milliseconds per idea of each sampler, by the number of trials."""
    sizes, asks = (SIZES[:2], 10) if quick else (SIZES, 150)
    command = [sys.executable, "-m", "benchmarks.parts.asking", str(asks), *map(str, sizes)]
    done = await anyio.run_process(command, env={**os.environ, **dict.fromkeys(THREADS, "1")}, stderr=None)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures
