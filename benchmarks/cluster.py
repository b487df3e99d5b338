"""What a swarm on three servers notices when the leader of its log is killed every twenty seconds.

Three real servers of `deploy/nats-cluster.conf` keep the log, and sync every fact to disk. On them work a curator, a
critic, three explorers, two workers, a projector, a page and a tail, each a real process, and two posters whose every
answer is noted. The server that leads the log is killed with SIGKILL, comes back after five seconds, and is waited for
until it has everything again. At the end the log is read, and compared with what the posters were told, with what the
tail has printed, and with how often each run has begun: nothing kills a worker, so a second attempt is one of a living
run. After the kills each server is asked in turn to say goodbye (lame duck mode), as somebody does who upgrades it, and
comes back.

`outage_s` is the longest time in which nobody was told that a post is stored. `posts_ratio` is the time of a post with
three servers over that with one, both without load, in turns.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.parts.arena_text import arena_text
from benchmarks.parts.harness import Figures, Goal, percentile, say, told
from benchmarks.parts.three_servers import NODES, Servers, three_servers
from mesh import events as e
from mesh.bus import ArenaBus
from mesh.jetstream import JetStreamHub, connect
from mesh.open_arena import open_arena
from mesh.server import embedded
from mesh.sql_protocol import Query, ask
from mesh.wire import Entry, Post

GOALS: dict[str, Goal] = {
    "outage_s": ("<=", 12),
    "lost_posts": ("==", 0),
    "double_facts": ("==", 0),
    "second_attempts": ("==", 0),
    "tail_missed": ("==", 0),
}
EVERY_S, AWAY_S = 20.0, 5.0
KILLS, QUICK_KILLS = 6, 2
POSTERS, PAUSE_S = 2, 0.02
REST_WITHIN_S = 120
PAIRS, PAIRS_OF = 20, 20

_FILES = {
    "arena.toml": arena_text("tiny", budget_s=5, deadline_s=60),
    "train.py": """
import json, os, pathlib, time

HEIGHT = 1.0  # mesh: 0.0..2.0
WIDTH = 10  # mesh: 1..1000

time.sleep(3)
loss = (HEIGHT - 0.5) ** 2 + WIDTH / 1000
(pathlib.Path(os.environ["MESH_OUT"]) / "loss.json").write_text(json.dumps({"loss": loss}))
""",
    "score.py": """
import os, pathlib
print((pathlib.Path(os.environ["MESH_OUT"]) / "loss.json").read_text())
""",
}


async def measure(quick: bool) -> Figures:
    """Return the longest outage, what was lost, doubled, begun twice or missed, and what three copies cost a post."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with three_servers(folder / "servers", sync="always") as servers:
            figures = await _posts(servers.url, folder, 3 if quick else PAIRS)
            say(told(figures))
            async with connect(servers.url, name="benchmark", outage_s=60) as hub:
                return figures | await _Swarm(servers, hub, folder).live(
                    QUICK_KILLS if quick else KILLS, upgrades=not quick
                )


async def _posts(url: str, folder: Path, pairs: int) -> Figures:
    """Return the time of a post with three servers and with one, in turns."""
    async with (
        embedded(folder / "single") as server,
        connect(url) as three,
        connect(server.url) as one,
    ):
        buses = [await hub.arena("posts", create=True) for hub in (three, one)]
        times: tuple[list[float], list[float]] = [], []
        for _ in range(pairs):
            for bus, of in zip(buses, times, strict=True):
                for _ in range(PAIRS_OF):
                    began = time.perf_counter()
                    await bus.post(_note("x"))
                    of.append(time.perf_counter() - began)
    ours, single = (statistics.median(of) * 1000 for of in times)
    return {
        "post_ms.three": ours,
        "post_ms.one": single,
        "post_p99_ms.three": percentile(times[0], 99) * 1000,
        "post_p99_ms.one": percentile(times[1], 99) * 1000,
        "posts_ratio": ours / single,
    }


def _note(text: str) -> Post:
    return Post.new("poster", e.NotePosted(channel="general", text=text))


class _Swarm:
    """A swarm on three servers, and what was seen of it."""

    def __init__(self, servers: Servers, hub: JetStreamHub, folder: Path) -> None:
        self._servers, self._hub, self._folder = servers, hub, folder
        self._acked: dict[str, int] = {}
        self._acks: list[float] = []
        self._outages: list[float] = []
        self._goodbyes: list[float] = []
        self._tail: list[int] = []
        self._tail_at: list[float] = []
        self._over = anyio.Event()

    async def live(self, kills: int, *, upgrades: bool) -> Figures:
        """Let the swarm live through kills, come to rest, and be looked at."""
        arena = self._folder / "arena"
        arena.mkdir()
        for name, text in _FILES.items():
            (arena / name).write_text(text)
        bus, _ = await open_arena(self._hub, arena, home=self._folder)
        async with AsyncExitStack() as stack:
            page = await self._start(stack, "web", "mesh_cli", "web", "--port", "0", out=True)
            lines = await self._start(
                stack, "tail", "mesh_cli", "tail", "--follow", "--json", "--from-seq", "1", out=True
            )
            for role in ("curator", "critic"):
                await self._start(stack, role, "mesh.agent", role, "--name", role)
            await self._start(stack, "explorer", "mesh.agent", "explorer", "--name", "explorer", "--count", "3")
            for worker in ("first", "second"):
                options = ("--name", worker, "--slots", "1", "--device", "cpu")
                await self._start(stack, worker, "gpu_worker", *options)
            await self._start(stack, "projector", "analytics", arena=False)
            address = (await BufferedByteReceiveStream(page.stdout).receive_until(b"\n", 1000)).decode()  # type: ignore[arg-type]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read_tail, lines)
                async with anyio.create_task_group() as posters:
                    for number in range(POSTERS):
                        posters.start_soon(self._post, f"poster{number}")
                    await self._until_scored(bus, 2)
                    for number in range(kills):
                        await self._lose(f"kill {number + 1}", await self._servers.leader(self._hub, "tiny"))
                    for node in NODES if upgrades else ():
                        await self._lose("goodbye", node, how=signal.SIGUSR2)
                    self._over.set()
                await bus.post(Post.new("operator", e.ArenaClosed(version=1, reason="operator")))
                began = time.monotonic()
                with anyio.fail_after(REST_WITHIN_S):
                    log = await self._rested(bus)
                    late_s = await self._until_shown(bus, address.strip(), log[-1].seq)
                    while not self._tail or self._tail[-1] < log[-1].seq:
                        await anyio.sleep(0.1)
                say(f"rest after {time.monotonic() - began:.1f} s, page and projector after {late_s:.1f} s more")
                tasks.cancel_scope.cancel()
        return self._judge(log, kills) | {"page_late_s": late_s}

    async def _start(
        self, stack: AsyncExitStack, name: str, module: str, *words: str, arena: bool = True, out: bool = False
    ) -> Process:
        """Start a process, which is killed at the end of the stack; with `out` its output can be read."""
        command = [sys.executable, "-m", module, *words, *(("--arena", "tiny") if arena else ())]
        home = self._folder / f"home-{name}"
        env = {**os.environ, "MESH_HOME": str(home), "MESH_NATS": self._servers.url, "MESH_PARENT": "stdin"}
        return await stack.enter_async_context(self._running(name, command, env, out=out))

    @asynccontextmanager
    async def _running(
        self, name: str, command: list[str], env: dict[str, str], *, out: bool
    ) -> AsyncIterator[Process]:
        with (self._folder / f"{name}.log").open("ab") as log:
            process = await anyio.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE if out else log, stderr=log, env=env
            )
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()

    async def _read_tail(self, process: Process) -> None:
        assert process.stdout is not None
        stream = BufferedByteReceiveStream(process.stdout)
        while True:
            line = await stream.receive_until(b"\n", 10_000_000)
            self._tail.append(int(json.loads(line)["seq"]))
            self._tail_at.append(time.monotonic())

    async def _post(self, name: str) -> None:
        async with connect(self._servers.url, name=name, outage_s=60) as hub:
            bus = await hub.arena("tiny")
            while not self._over.is_set():
                post = _note("x" * 200)
                self._acked[post.id] = await bus.post(post)
                self._acks.append(time.monotonic())
                await anyio.sleep(PAUSE_S)

    async def _until_scored(self, bus: ArenaBus, count: int) -> None:
        finished = 0
        async with aclosing(bus.read(follow=True)) as batches:
            async for batch in batches:
                finished += sum(entry.subject.kind == "run.finished" for entry in batch)
                if finished >= count:
                    return

    async def _lose(self, what: str, node: int, how: signal.Signals = signal.SIGKILL) -> None:
        """End a server, let it come back, and wait until everything is as before."""
        ended, before = time.monotonic(), len(self._acks)
        await self._servers.end(node, how=how)
        await anyio.sleep(AWAY_S)
        self._servers.start(node)
        while len(self._acks) <= before + POSTERS:  # what was on its way to a poster already
            await anyio.sleep(0.05)
        await self._servers.until_current(self._hub, "tiny")
        current = time.monotonic()
        await anyio.sleep(max(0.0, ended + EVERY_S - time.monotonic()))
        around = [ended, *(at for at in self._acks if ended < at)]
        outage_s = max(b - a for a, b in pairwise(around))
        (self._outages if how is signal.SIGKILL else self._goodbyes).append(outage_s)
        say(f"{what}: node-{node}, no post for {outage_s:.1f} s, current after {current - ended:.1f} s")

    async def _rested(self, bus: ArenaBus) -> list[Entry]:
        """Wait until all members have left, and return the log."""
        while True:
            log = [entry async for batch in bus.read() for entry in batch]
            kinds = Counter(entry.subject.kind for entry in log)
            if kinds["agent.left"] >= kinds["agent.joined"] and kinds["worker.left"] >= kinds["worker.joined"]:
                return log
            await anyio.sleep(1)

    async def _until_shown(self, bus: ArenaBus, page: str, seq: int) -> float:
        """Return how many seconds pages and projector need to know the whole log."""
        began = time.monotonic()
        command = ["curl", "-s", f"{page}api/state"]
        while True:
            shown = json.loads((await anyio.run_process(command)).stdout)
            answer = await ask(bus, Query(sql="SELECT 1"))
            if shown["seq"] >= seq and answer.as_of.get("tiny", 0) >= seq:
                return time.monotonic() - began
            await anyio.sleep(0.1)

    def _judge(self, log: list[Entry], kills: int) -> Figures:
        posts = [entry.post for entry in log if entry.post]
        at = {entry.post.id: entry.seq for entry in log if entry.post}
        keys = Counter((post.kind, post.key, post.author if post.event.one_per_author else "") for post in posts)
        begun = Counter(post.event.run for post in posts if isinstance(post.event, e.RunStarted))
        ended = Counter(post.event.run for post in posts if isinstance(post.event, e.RunFinished))
        seen = Counter(self._tail)
        gaps = [b - a for a, b in pairwise(self._tail_at)]
        return {
            "kills": kills,
            "facts": len(log),
            "posts": len(self._acked),
            "runs": len(ended),
            "outage_s": max(self._outages),
            "outage_median_s": statistics.median(self._outages),
            **({"upgrade_outage_s": max(self._goodbyes)} if self._goodbyes else {}),
            "lost_posts": sum(at.get(post) != seq for post, seq in self._acked.items()),
            "double_facts": sum(count - 1 for count in keys.values()) + len(posts) - len(at),
            "second_attempts": sum(count - 1 for count in begun.values()),
            "finished_twice": sum(count - 1 for count in ended.values()),
            "tail_missed": sum(seen[entry.seq] != 1 for entry in log),
            "tail_outage_s": max(gaps),
        }
