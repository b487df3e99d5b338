"""How long the views take that people look at most, on a large log, while the projector folds other posts beside.

A log of a realistic mix of facts (`benchmarks.mix`): of a million events 200,000 are requests of runs, on 100,000
proposals. Each view is asked for its first 50 rows over NATS, as `mesh sql` does, in turns with the others, while posts
are written all the time. `*_p50_ms` is what the projector needed for the answer, `*_asked_p50_ms` what its asker did.
Raw limit: `one_row_p50_ms`, an answer that reads nothing.
"""

import statistics
import tempfile
import time
from itertools import chain
from pathlib import Path

import anyio

from analytics.protocol import Query
from benchmarks.harness import Figures, Goal, say
from benchmarks.mix import opening, posts
from benchmarks.replay import keep_writing, projecting
from mesh.cli.ask import ask
from mesh.jetstream import JetStreamBus, connect
from mesh.server import embedded

VIEWS = ("leaderboard", "lineage", "frontier")
GOALS: dict[str, Goal] = {f"{view}_p50_ms": ("<", 200) for view in VIEWS}


async def measure(quick: bool) -> Figures:
    """Return milliseconds of every view of `VIEWS`, and of an answer that reads nothing."""
    events, rounds = (50_000, 15) if quick else (1_000_000, 60)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with embedded(folder / "server", sync="2m") as server, connect(server.url) as hub:
            say(f"writing a log of {events:,} events")
            bus = await hub.arena("large", create=True)
            await bus.post_all(chain([opening("large")], posts("large-", events - 1)))
            say("folding it")
            began = time.perf_counter()
            async with projecting(server.url, folder / "large.duckdb", within_s=1200):
                say(f"folded in {time.perf_counter() - began:.0f} s; asking")
                return {"events": events, **await _ask_all(bus, rounds)}


async def _ask_all(bus: JetStreamBus, rounds: int) -> Figures:
    questions = {view: f"SELECT * FROM {view} LIMIT 50" for view in VIEWS} | {"one_row": "SELECT 1"}
    needed: dict[str, list[float]] = {name: [] for name in questions}
    waited: dict[str, list[float]] = {name: [] for name in questions}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_writing, bus)
        for _ in range(rounds):
            for name, sql in questions.items():
                began = time.perf_counter()
                answer = await ask(bus, Query(sql, timeout_s=60))
                waited[name].append((time.perf_counter() - began) * 1000)
                needed[name].append(answer.elapsed_s * 1000)
                await anyio.sleep(0.037)  # not in step with the writer
        tasks.cancel_scope.cancel()
    figures: Figures = {}
    for name in questions:
        figures[f"{name}_p50_ms"] = statistics.median(needed[name])
        figures[f"{name}_p95_ms"] = statistics.quantiles(needed[name], n=20)[18]
        figures[f"{name}_asked_p50_ms"] = statistics.median(waited[name])
    return figures
