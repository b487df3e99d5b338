"""How fast the projector folds a log into DuckDB, how much memory it uses, and how soon a post can be queried.

The log is a realistic mix of facts (`benchmarks.parts.mix`). The raw limit is a nats-py pull consumer that fetches and
acknowledges the same entries in batches of the same size, and decodes none. Every reading happens in a new process, the
two ways in turns; opening the DuckDB file is `opening_s` and not part of a rate. `visible_*` is the time from calling
`post` until the projector answers a query over NATS (as `mesh sql` does) with that post's row, while it folds a steady
stream of other posts. `beside_runaway.*` is the same while an endless cross join uses all of DuckDB's threads.
`slowest_view_s` is the longest time that any view needs for a thousand rows of the large log; `views_refused` is how
many views cannot answer within the projector's memory.
"""

import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import chain
from pathlib import Path

import anyio

from analytics.projection import view_sources
from benchmarks.parts.harness import Figures, Goal, in_a_process, memory_mb, ratio, say
from benchmarks.parts.mix import opening, posts
from benchmarks.parts.projecting import keep_writing, projecting
from mesh.errors import QueryError
from mesh.events import NotePosted
from mesh.jetstream import JetStreamBus, connect
from mesh.server import embedded
from mesh.sql_protocol import Query, ask
from mesh.wire import Post

SMALL = 10_000
GOALS: dict[str, Goal] = {
    "small.ratio": (">=", 0.5),
    "large.ratio": (">=", 0.5),
    "rate_large_to_small": ("within", (0.85, 1.15)),
    "large.peak_mb": ("<", 500),
    "views_refused": ("==", 0),
    "visible_p50_ms": ("<", 100),
    "beside_runaway.visible_p50_ms": ("<", 1000),
}
RUNAWAY = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"


async def measure(quick: bool) -> Figures:
    """Return events per second of both ways on a small and a large log, memory (MB), and times to visible (ms)."""
    large, rounds, probes = (50_000, 3, 40) if quick else (1_000_000, 4, 300)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with embedded(folder / "server", sync="2m") as server:
            await _write(server.url, {"small": SMALL, "large": large})
            figures = await _compare(server.url, folder, large, rounds, 2 if quick else 1)
        async with (
            embedded(folder / "server", sync="always") as server,
            connect(server.url) as hub,
            projecting(server.url, folder / "large.duckdb") as projector,
        ):
            bus = await hub.arena("large")
            figures |= await _views(bus)
            figures |= await _visible(bus, probes)
            async with _runaway(bus):
                beside = await _visible(bus, max(probes // 4, 20))
            figures |= {f"beside_runaway.{name}": value for name, value in beside.items()}
            figures["visible_peak_mb"] = memory_mb(projector.pid)[1]
    return {"small.events": SMALL, "large.events": large, **figures}


async def _write(url: str, sizes: dict[str, int]) -> None:
    async with connect(url) as hub:
        for name, count in sizes.items():
            say(f"writing a log of {count:,} events")
            bus = await hub.arena(name, create=True)
            await bus.post_all(chain([opening(name)], posts(f"{name}-", count - 1)))
            assert await bus.head() == count


async def _compare(url: str, folder: Path, large: int, small_rounds: int, large_rounds: int) -> Figures:
    """Read both logs both ways in turns, the small one before and after every reading of the large one."""
    sizes = {"small": SMALL, "large": large}
    took: dict[tuple[str, str], list[float]] = {(size, how): [] for size in sizes for how in ("project", "fetch")}
    opening_s: list[float] = []
    peak_mb = 0.0
    for size in ["small", *["large", "small"] * large_rounds]:
        for number in range(small_rounds if size == "small" else 1):
            for how in ("project", "fetch")[:: -1 if number % 2 else 1]:
                path = folder / f"{size}.duckdb"
                if how == "project":
                    path.unlink(missing_ok=True)
                found = await in_a_process("benchmarks.parts.fold", how, url, size, str(sizes[size]), str(path))
                say(f"{how} {sizes[size]:,} events: {found['seconds']:.2f} s, {found['peak_mb']:.0f} MB")
                took[size, how].append(found["seconds"])
                if how == "project":
                    opening_s.append(found["opening_s"])
                    peak_mb = max(peak_mb, found["peak_mb"])
    figures: Figures = {}
    for size, count in sizes.items():
        for how in ("project", "fetch"):
            figures[f"{size}.{how}_per_s"] = count / statistics.median(took[size, how])
        figures[f"{size}.ratio"] = ratio(took[size, "fetch"], took[size, "project"])
    for how, name in (("project", "rate_large_to_small"), ("fetch", "raw_rate_large_to_small")):
        figures[name] = figures[f"large.{how}_per_s"] / figures[f"small.{how}_per_s"]
    return figures | {"opening_s": statistics.median(opening_s), "large.peak_mb": peak_mb}


async def _views(bus: JetStreamBus) -> Figures:
    """Query a thousand rows of every view; return how many are refused, and how long the slowest takes (s)."""
    took_s: list[float] = []
    names = [name for name, _ in view_sources()]
    for name in names:
        with suppress(QueryError):
            answer = await ask(bus, Query(f"SELECT * FROM {name} LIMIT 1000", timeout_s=60))
            took_s.append(answer.elapsed_s)
            say(f"{name}: {len(answer.rows)} rows in {answer.elapsed_s:.2f} s")
    return {"views_refused": len(names) - len(took_s), "slowest_view_s": max(took_s, default=0.0)}


async def _visible(bus: JetStreamBus, probes: int) -> Figures:
    """Post and query until the row is there, `probes` times, while other posts are written."""
    took_ms: list[float] = []
    head = await bus.head()
    say(f"querying {probes} posts while others are written")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_writing, bus)
        began = time.perf_counter()
        for number in range(probes):
            took_ms.append(await _one_probe(bus, number))
            await anyio.sleep(0.037)  # not in step with the writer
        seconds = time.perf_counter() - began
        tasks.cancel_scope.cancel()
    quantiles = statistics.quantiles(took_ms, n=100)
    written_per_s = (await bus.head() - head) / seconds
    return {
        "visible_p50_ms": quantiles[49],
        "visible_p95_ms": quantiles[94],
        "visible_beside_posts_per_s": written_per_s,
    }


@asynccontextmanager
async def _runaway(bus: JetStreamBus) -> AsyncIterator[None]:
    """Keep the projector busy with an endless query, which is sent again whenever it is interrupted."""

    async def ask_again() -> None:
        while True:
            with suppress(QueryError):
                await ask(bus, Query(RUNAWAY, timeout_s=30))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_again)
        yield
        tasks.cancel_scope.cancel()


async def _one_probe(bus: JetStreamBus, number: int) -> float:
    post = Post.new("probe", NotePosted(channel="general", text=f"probe {number}"))
    began = time.perf_counter()
    seq = await bus.post(post)
    query = Query(f"SELECT id FROM events WHERE arena = '{bus.arena}' AND seq = {seq}")
    while not (answer := await ask(bus, query)).rows:
        await anyio.sleep(0.001)
    took_s = time.perf_counter() - began
    assert answer.rows == [[post.id]]
    return took_s * 1000
