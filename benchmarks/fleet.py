"""A fleet of virtual workers with the real server, curator and projector, on logs of ten thousand to a million facts.

Each log begins with a settled history: proposals with critiques and runs, all retired but the champion. Then a
thousand workers of one slot execute what the curator requests, and a thousand authors propose
(`benchmarks.parts.virtual_workers` says how they work and die). Samplers and critics are not part of it (`swarm` is
about them).

`start_s` is the time from the start of the curator's process until it joins: it has folded the history.
`verdict_*_ms` is the time from the first end of a proposal's run until its verdict, without those that need a race.
`projector_lag_s` is the time until a query shows what was the latest fact. `idle` is the share of the workers' time in
which they had no run. `finishes_per_offered` compares the finishes with the two hundred a second that the workers can
do. Facts are lost where a requested run has no end, and double where two entries share a key.
"""

import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import chain
from pathlib import Path

import anyio
import psutil
from anyio.abc import Process

from analytics.sql_client import ask
from analytics.sql_protocol import Query
from benchmarks.parts.harness import Figures, Goal, memory_mb, percentile, say, told
from benchmarks.parts.mix import opening, posts
from benchmarks.parts.projecting import projecting
from benchmarks.parts.virtual_workers import VirtualFleet, opening_runs, take_off
from benchmarks.swarm import audit
from mesh import events as e
from mesh.bus import ArenaBus
from mesh.errors import BusUnavailable, QueryError
from mesh.jetstream import connect
from mesh.server import EmbeddedServer, embedded
from mesh.wire import Entry, Pattern, Post

SIZES = (10_000, 100_000, 1_000_000)
WORKERS, AUTHORS, CONNECTIONS = 1000, 1000, 8
MEAN_S = 5.0
"""Mean seconds of a trial: together the workers end two hundred runs a second."""
WARM_S, MEASURE_S, DRAIN_S = 10.0, 60.0, 120.0
FOLDS_WITHIN_S = 1800.0
GOALS: dict[str, Goal] = {
    "lost_facts": ("==", 0),
    "double_facts": ("==", 0),
    "largest.finishes_per_offered": (">=", 0.9),
    "largest.curator_mb": ("<=", 400),
    "largest.start_s": ("<=", 15),
    "verdict_p99_largest_to_smallest": ("<=", 1.5),
}


async def measure(quick: bool) -> Figures:
    """Return the figures of every size, and what was lost or doubled over all of them."""
    sizes, seconds = (SIZES[:1], 20.0) if quick else (SIZES, MEASURE_S)
    found: dict[int, Figures] = {}
    for size in sizes:
        found[size] = await _fleet(size, seconds)
        say(f"{size:,} facts: {told(found[size])}")
    figures = {f"{size}.{name}": value for size, each in found.items() for name, value in each.items()}
    for name in ("lost_facts", "double_facts"):
        figures[name] = sum(each[name] for each in found.values())
    largest, smallest = found[sizes[-1]], found[sizes[0]]
    figures |= {f"largest.{name}": largest[name] for name in ("finishes_per_offered", "curator_mb", "start_s")}
    figures["verdict_p99_largest_to_smallest"] = largest["verdict_p99_ms"] / smallest["verdict_p99_ms"]
    return figures


async def _fleet(size: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with embedded(folder / "server", sync="2m") as server, connect(server.url, patience_s=60) as hub:
            bus = await hub.arena("fleet", create=True)
            head = await _write_history(bus, size)
            await take_off(server.url, bus)
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(embedded(folder / "server"))
            hubs = [await stack.enter_async_context(connect(server.url, patience_s=60)) for _ in range(CONNECTIONS)]
            buses = [await hub.arena("fleet") for hub in hubs]
            fleet = VirtualFleet(buses, WORKERS, [f"explorer-{n:04d}" for n in range(AUTHORS)], MEAN_S)
            await fleet.join()
            began = anyio.current_time()
            curator = await stack.enter_async_context(_curator(server.url, folder))
            await _joined(buses[0], head)
            start_s = anyio.current_time() - began
            projector = await stack.enter_async_context(
                projecting(server.url, folder / "fleet.duckdb", within_s=FOLDS_WITHIN_S)
            )
            figures = await _watch(server, buses, fleet, seconds, {"curator": curator, "projector": projector})
            entries = [entry async for batch in buses[0].read(head) for entry in batch]
        return {"start_s": start_s, **figures, **verdict_times(entries), **audit(entries, agents=1)}


async def _write_history(bus: ArenaBus, size: int) -> int:
    say(f"writing a log of {size:,} facts")
    first = opening("fleet")
    history = posts("history-", size, settled=True)
    await bus.post_all(chain([first], opening_runs(first), history))
    return await bus.head()


async def _watch(
    server: EmbeddedServer, buses: Sequence[ArenaBus], fleet: VirtualFleet, seconds: float, others: dict[str, Process]
) -> Figures:
    """Let the fleet work, drain it, close the arena; return rates, lag, memory and idleness."""
    lags: list[float] = []
    first = await buses[0].head()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fleet.work)
        await anyio.sleep(WARM_S)
        head, finished, busy, began = await buses[0].head(), fleet.finished, fleet.busy_s, anyio.current_time()
        while (took := anyio.current_time() - began) < seconds:
            lags.append(await _projector_lag(buses[0]))
            await anyio.sleep(1)
        ended, facts, busy = fleet.finished - finished, await buses[0].head() - head, fleet.busy_s - busy
        memory = {f"{name}_mb": memory_mb(process.pid)[1] for name, process in others.items()}
        memory["server_mb"] = _server_mb(server.folder)
        fleet.stop_proposing()
        with anyio.move_on_after(DRAIN_S):
            while not await _is_drained(buses[0], first):
                await anyio.sleep(2)
        tasks.cancel_scope.cancel()
    await buses[0].post(Post.new("operator", e.ArenaClosed(version=1, reason="operator")))
    with anyio.fail_after(DRAIN_S):
        await others["curator"].wait()
    offered = WORKERS / MEAN_S
    return {
        "finishes_per_s": ended / took,
        "finishes_per_offered": ended / took / offered,
        "facts_per_s": facts / took,
        "idle": max(0.0, 1 - busy / (WORKERS * took)),
        "projector_lag_s": statistics.median(lags),
        "projector_lag_max_s": max(lags),
        "died": fleet.died,
        "taken": fleet.taken,
        "attempts_again": fleet.again,
        "refused": fleet.refused,
        **memory,
    }


async def _is_drained(bus: ArenaBus, head: int) -> bool:
    """Tell whether every run that was requested after entry `head` has ended."""
    wanted = [Pattern("run.requested"), Pattern("run.finished")]
    entries = [entry async for batch in bus.read(head, only=wanted) for entry in batch]
    return audit(entries, agents=0)["lost_facts"] == 0


async def _projector_lag(bus: ArenaBus) -> float:
    """Return for how many seconds the latest entry has been in the log until a query shows it."""
    began, head = anyio.current_time(), await bus.head()
    query = Query(f"SELECT max(seq) FROM events WHERE arena = '{bus.arena}'", timeout_s=60)
    while True:
        with suppress(QueryError, BusUnavailable):
            answer = await ask(bus, query)
            if answer.rows and (answer.rows[0][0] or 0) >= head:
                return anyio.current_time() - began
        await anyio.sleep(0.02)


def _server_mb(store: Path) -> float:
    """Return the peak memory of the nats-server of a store."""
    found = [
        each.pid for each in psutil.process_iter(["cmdline"]) if str(store) in " ".join(each.info["cmdline"] or ())
    ]
    return max((memory_mb(pid)[1] for pid in found), default=0.0)


@asynccontextmanager
async def _curator(url: str, home: Path) -> AsyncIterator[Process]:
    command = ["-m", "mesh.agent", "curator", "--arena", "fleet", "--nats", url, "--home", str(home / "curator")]
    async with await anyio.open_process([sys.executable, *command], stdout=None, stderr=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def _joined(bus: ArenaBus, head: int) -> None:
    """Wait until an agent has joined."""
    with anyio.fail_after(FOLDS_WITHIN_S):
        async for _ in bus.read(head, follow=True, only=[Pattern("agent.joined")]):
            return


def verdict_times(entries: Sequence[Entry]) -> Figures:
    """Return the times from a proposal's first end to its verdict (ms), and verdicts per second of the busy time."""
    ended: dict[str, Entry] = {}
    took: list[float] = []
    raced = set[str]()
    for entry in entries:
        match entry.post.event if entry.post else None:
            case e.RunRequested(lane="confirm", proposal=tree):
                raced.add(tree)
            case e.RunFinished(proposal=tree):
                ended.setdefault(tree, entry)
            case e.ProposalRetired(proposal=tree) if tree in ended and tree not in raced:
                took.append(1000 * (entry.time - ended[tree].time).total_seconds())
            case _:
                pass
    span = (entries[-1].time - entries[0].time).total_seconds() if entries else 0.0
    if not took or not span:
        return {"verdicts": 0, "verdict_p50_ms": float("inf"), "verdict_p99_ms": float("inf"), "verdicts_per_s": 0}
    return {
        "verdicts": len(took),
        "verdict_p50_ms": percentile(took, 50),
        "verdict_p99_ms": percentile(took, 99),
        "verdicts_per_s": len(took) / span,
    }
