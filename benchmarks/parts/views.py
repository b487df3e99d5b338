"""How long the most-used views take on a large log, while the projector folds other posts.

The log is a realistic mix of facts (`benchmarks.parts.mix`): a million events have 200,000 run requests for 100,000
proposals. Each view is queried for its first 50 rows over NATS, as `mesh sql` does, in turns with the others, while
posts are written all the time. `*_p50_ms` is the time that the projector needed, `*_asked_p50_ms` the time until the
answer was there. The raw limit is `one_row_p50_ms`, a query that reads nothing.
"""

import statistics
import time
from pathlib import Path

import anyio

from benchmarks.parts.harness import Figures, Goal, say
from benchmarks.parts.projecting import keep_writing, projecting
from benchmarks.parts.terminal import measure_commands
from mesh.jetstream import JetStreamBus
from mesh.sql_protocol import Query, ask
from mesh.testing import git_hash

VIEWS = ("leaderboard", "lineage", "frontier")
GOALS: dict[str, Goal] = {f"{view}_p50_ms": ("<", 200) for view in VIEWS}


async def measure_views(bus: JetStreamBus, url: str, folder: Path, rounds: int) -> Figures:
    """Return the time of every view of `VIEWS` on the log of `bus`, and of a query that reads nothing (ms)."""
    say("folding the large log")
    began = time.perf_counter()
    async with projecting(url, folder / "views.duckdb", within_s=1200):
        folded_s = time.perf_counter() - began
        shown = git_hash(f"{bus.arena}-5")  # `benchmarks.parts.mix` has proposed it
        commands = await measure_commands(url, bus.arena, shown, max(3, rounds // 6))
        return {"folding_all_s": folded_s, **commands, **await _ask_all(bus, rounds)}


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
