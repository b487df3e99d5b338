"""A fleet of virtual workers with the real server, curator and projector, on logs of ten thousand to a million facts.

Each log begins with a settled history: proposals with critiques and runs, all retired but the champion. Then a
thousand workers of one slot, in one case ten thousand, execute what the curator requests, and a thousand authors
propose (`benchmarks.parts.virtual_workers` says how they work and die). Samplers and critics are not part of it
(`swarm` is about them).

`start_s` is the time from the start of the curator's process until it joins: it has folded the history.
`verdict_*_ms` is the time from the first end of a proposal's run until its verdict, without those that need a race.
`projector_lag_s` is the time until a query shows what was the latest fact. `idle` is the share of the workers' time in
which they had no run. `finishes_per_offered` compares the finishes with the two hundred a second that the workers can
do. `*_cpu_ms_per_*` is the CPU time of a process per finish or per fact: it tells how many one core could do. Facts are
lost where a requested run has no end, and double where two entries share a key.
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

from benchmarks.parts.cpu_share import cpu_ms
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
from mesh.sql_protocol import Query, ask
from mesh.wire import Entry, Pattern, Post

SIZES = (10_000, 100_000, 1_000_000)
WORKERS, MANY_WORKERS = 1000, 10_000
"""Workers on a log of each size, and on one more log of the smallest size."""
AUTHORS, CONNECTIONS = 1000, 8
OFFERED_PER_S = 200
"""Runs that the workers end in a second if they never wait; the mean time of a trial follows."""
WARM_TRIALS, MEASURE_S, DRAIN_S = 2, 60.0, 120.0
"""Mean trial times before the measurement begins, its seconds, and seconds within which all runs end after that."""
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
    found: dict[str, Figures] = {}
    cases = {str(size): (size, WORKERS) for size in sizes}
    if not quick:
        cases["many_workers"] = (sizes[0], MANY_WORKERS)
    for name, (size, workers) in cases.items():
        found[name] = await _fleet(size, workers, seconds)
        say(f"{size:,} facts, {workers:,} workers: {told(found[name])}")
    figures = {f"{case}.{name}": value for case, each in found.items() for name, value in each.items()}
    for name in ("lost_facts", "double_facts"):
        figures[name] = sum(each[name] for each in found.values())
    largest, smallest = found[str(sizes[-1])], found[str(sizes[0])]
    figures |= {f"largest.{name}": largest[name] for name in ("finishes_per_offered", "curator_mb", "start_s")}
    figures["verdict_p99_largest_to_smallest"] = largest["verdict_p99_ms"] / smallest["verdict_p99_ms"]
    return figures


async def _fleet(size: int, workers: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with embedded(folder / "server", sync="2m") as server, connect(server.url, patience_s=60) as hub:
            bus = await hub.arena("fleet", create=True)
            head = await _write_history(bus, size)
            await take_off(server.url, bus, workers / OFFERED_PER_S)
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(embedded(folder / "server"))
            hubs = [await stack.enter_async_context(connect(server.url, patience_s=60)) for _ in range(CONNECTIONS)]
            buses = [await hub.arena("fleet") for hub in hubs]
            fleet = VirtualFleet(buses, workers, [f"explorer-{n:04d}" for n in range(AUTHORS)], workers / OFFERED_PER_S)
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
        until = figures.pop("drained_at")
        return {"start_s": start_s, **figures, **verdict_times(entries), **audit(entries, agents=1, until=until)}


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
        await anyio.sleep(WARM_TRIALS * fleet.workers / OFFERED_PER_S)
        pids = {name: process.pid for name, process in others.items()} | {"server": _server(server.folder)}
        cpu = cpu_ms(pids)
        head, finished, busy, began = await buses[0].head(), fleet.finished, fleet.busy_s, anyio.current_time()
        while (took := anyio.current_time() - began) < seconds:
            lags.append(await _projector_lag(buses[0]))
            await anyio.sleep(1)
        ended, facts, busy = fleet.finished - finished, await buses[0].head() - head, fleet.busy_s - busy
        used = {name: ms - cpu[name] for name, ms in cpu_ms(pids).items()}
        memory = {f"{name}_mb": memory_mb(pid)[1] for name, pid in pids.items()}
        fleet.end()
        drained = await _drain(buses[0], first)
        tasks.cancel_scope.cancel()
    await buses[0].post(Post.new("operator", e.ArenaClosed(version=1, reason="operator")))
    with anyio.fail_after(DRAIN_S):
        await others["curator"].wait()
        return {
            "finishes_per_s": ended / took,
            "finishes_per_offered": ended / took / OFFERED_PER_S,
            "facts_per_s": facts / took,
            "idle": max(0.0, 1 - busy / (fleet.workers * took)),
            "projector_lag_s": statistics.median(lags),
            "projector_lag_max_s": max(lags),
            "died": fleet.died,
            "taken": fleet.taken,
            "attempts_again": fleet.again,
            "refused": fleet.refused,
            "drained_at": drained,
            "curator_cpu_ms_per_finish": used["curator"] / max(1, ended),
            "projector_cpu_ms_per_fact": used["projector"] / max(1, facts),
            "server_cpu_ms_per_fact": used["server"] / max(1, facts),
            **memory,
        }


async def _drain(bus: ArenaBus, first: int) -> int:
    """Wait until every run that was requested after entry `first` has ended; return the latest entry seen then."""
    wanted = [Pattern("run.requested"), Pattern("run.finished")]
    head = first
    with anyio.move_on_after(DRAIN_S):
        while True:
            entries = [entry async for batch in bus.read(first, only=wanted) for entry in batch]
            head = entries[-1].seq if entries else first
            ended = {x.post.event.run for x in entries if x.post and isinstance(x.post.event, e.RunFinished)}
            if all(x.post.event.run in ended for x in entries if x.post and isinstance(x.post.event, e.RunRequested)):
                break
            await anyio.sleep(2)
    return head


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


def _server(store: Path) -> int:
    """Return the process of the nats-server of a store."""
    return next(
        each.pid for each in psutil.process_iter(["cmdline"]) if str(store) in " ".join(each.info["cmdline"] or ())
    )


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
