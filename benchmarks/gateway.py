"""What the gateway adds to a post, how soon it wakes who waits, what 1,000 idle waits, pushes and calls by MCP cost.

`note_ms` is the median of a note over HTTP on a connection that is kept, `direct_ms` that of the same post over NATS,
in turns in the same run, and `note_over_ms` the difference. `wake_ms` is from the log's acknowledgement until a request
that waits for news has its answer. `polls_mib` is by how much 1,000 idle requests enlarge the process, `wake_all_ms`
the time until all of them have their answer. `push_ms` is the median of a push of 100 KB of real git,
`leaves_N_ms` that of the leaves of N commits. `many_` is of twenty clients that post and push at once: answers that
failed, ids that came twice, and whether the list has another order than the log. `mcp_` is a call and a start of
`mesh mcp` (`benchmarks/parts/mcp_calls.py`). `mesh gateway` runs in a process of its own.
"""

import os
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import psutil

from benchmarks.parts.arena_text import SCORE_OF_OUTPUT, arena_text
from benchmarks.parts.gateway_client import HttpClient, keys_of_members, own_gateway
from benchmarks.parts.harness import Figures, Goal, say
from benchmarks.parts.mcp_calls import measure_mcp
from benchmarks.parts.pushing import CLIENTS, bundles, measure_leaves, measure_many, measure_pushes
from gateway.door import Door
from mesh.bus import Bus
from mesh.code import CodeStore
from mesh.events import NotePosted
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import embedded
from mesh.wire import Post

POLLS, OF_ONE, OF_HOUR = 1000, 20, 90
"""Waiting requests, those of one member, and notes of one member: a gateway limits both."""

GOALS: dict[str, Goal] = {
    "note_over_ms": ("<=", 3),
    "wake_ms": ("<=", 20),
    "polls_mib": ("<=", 150),
    "push_ms": ("<=", 120),
    "leaves_1000_ms": ("<=", 5),
    "leaves_10000_ms": ("<=", 25),
    "many_failed": ("==", 0),
    "many_ids_twice": ("==", 0),
    "many_out_of_order": ("==", 0),
    "mcp_over_ms": ("<=", 3),
    "mcp_start_cpu_s": ("<=", 1.0),
}
ARENA = arena_text("bench", budget_s=1, deadline_s=30, score=SCORE_OF_OUTPUT)
PROGRAM = "print('loss: 1.0')\n"


async def measure(quick: bool) -> Figures:
    """Return what notes, pushes and calls cost (ms), how soon a waiting request wakes, and what 1,000 of them take."""
    rounds, pushed = (50, 15) if quick else (400, 60)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        home, folder = Path(name) / "home", Path(name) / "arena"
        folder.mkdir()
        (folder / "arena.toml").write_text(ARENA, encoding="utf-8")
        (folder / "train.py").write_text(PROGRAM, encoding="utf-8")
        pushes = bundles(Path(name) / "work", PROGRAM, pushed + CLIENTS)
        async with embedded(home / "server", sync="2m") as server, connect(server.url) as hub:
            bus, _ = await open_arena(hub, folder, home=home)
            follower = Follower(bus)
            await follower.catch_up()
            door = Door(bus, follower, CodeStore(Path(name) / "code.git", bus))
            environ = {**os.environ, "MESH_HOME": str(home), "MESH_NATS": server.url}
            figures = await measure_mcp(door, environ, calls=2 * rounds, starts=3 if quick else 11)
            keys = await keys_of_members(hub, max(POLLS // OF_ONE, rounds // OF_HOUR + 1) + pushed)
            others = keys[-pushed:]
            async with own_gateway(home, server.url) as (port, process):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    client = HttpClient(stream)
                    figures |= {**await _notes(bus, client, keys, rounds), **await _wakes(bus, client, keys[0], rounds)}
                figures |= await _idle(bus, port, process, keys)
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    client = HttpClient(stream)
                    figures |= await measure_pushes(client, others, pushes[CLIENTS:])
                    figures |= await measure_many(port, keys[-CLIENTS - len(others) :], pushes)
                    figures |= await measure_leaves(bus, client, others[-1], 20 if quick else 100)
                return figures


async def _notes(bus: Bus, client: HttpClient, keys: list[str], rounds: int) -> Figures:
    direct, through = [], []
    await client.ask("POST", "/api/channels", keys[0], b'{"name":"bench"}')
    for n in range(rounds):
        began = time.perf_counter()
        await bus.post(Post.new("probe", NotePosted(channel="general", text=f"direct {n}")))
        direct.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        body = f'{{"content":"through {n}"}}'.encode()
        await client.ask("POST", "/api/channels/bench/posts", keys[n // OF_HOUR], body)
        through.append((time.perf_counter() - began) * 1000)
    note_ms, direct_ms = statistics.median(through), statistics.median(direct)
    say(f"a note: {direct_ms:.2f} ms direct, {note_ms:.2f} ms through the gateway")
    return {"note_ms": note_ms, "direct_ms": direct_ms, "note_over_ms": note_ms - direct_ms}


async def _wakes(bus: Bus, client: HttpClient, key: str, rounds: int) -> Figures:
    woken = []
    for n in range(rounds):
        head = await bus.head()
        await client.send("GET", f"/api/events?after={head}&wait=30", key)
        await anyio.sleep(0.005)  # so that it waits
        await bus.post(Post.new("probe", NotePosted(channel="general", text=f"wake {n}")))
        began = time.perf_counter()
        await client.answer()
        woken.append((time.perf_counter() - began) * 1000)
    return {"wake_ms": statistics.median(woken), "wake_p99_ms": sorted(woken)[int(len(woken) * 0.99) - 1]}


async def _idle(bus: Bus, port: int, process: psutil.Process, keys: list[str]) -> Figures:
    async with AsyncExitStack() as stack:
        before, head = process.memory_info().rss, await bus.head()
        waiting: list[HttpClient] = []
        for n in range(POLLS):
            client = HttpClient(await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port)))
            await client.send("GET", f"/api/events?after={head}&wait=50", keys[n // OF_ONE])
            waiting.append(client)
        await anyio.sleep(2)  # until all of them wait
        after = process.memory_info().rss
        say(f"{POLLS} idle requests: {(after - before) / 2**20:.0f} MiB more, {after / 2**20:.0f} in all")
        await bus.post(Post.new("probe", NotePosted(channel="general", text="all")))
        began = time.perf_counter()
        for client in waiting:
            await client.answer()
        return {"polls_mib": (after - before) / 2**20, "wake_all_ms": (time.perf_counter() - began) * 1000}
