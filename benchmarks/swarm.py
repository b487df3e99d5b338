"""How much memory a further agent needs, and whether a crowd of agents loses or doubles a fact.

All explorers of a swarm live in one process (`python -m mesh.agent explorer --count N`); a critic and a curator have
one process each. Together with the real server at its default sync setting they stand for the product. Only the worker
is trivial: it answers every requested run at once with a made-up score, so no trial runs and torch is not needed.
`mb_per_agent` is the resident memory of the process with the crowd minus that of one with a few agents, after as many
runs, divided by the difference in agents; `mb_per_agent_at_peak` is the same for peak memory. Then the log is read from
its beginning, and missing and double facts are counted. `pace_of_a_thousand` are the runs per second with 1,000
explorers in a process, over those with 20, in the second half of the runs, when all have joined; `pace_in_ten` is the
same with 1,000 in ten processes.
"""

import math
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process

from benchmarks.parts.arena_text import arena_text
from benchmarks.parts.harness import Figures, Goal, memory_mb, say
from mesh import events as e
from mesh.bus import ArenaBus
from mesh.errors import AlreadyPosted
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import embedded
from mesh.wire import Entry, Post

CROWD, FEW = 200, 4
USUAL, MANY, PROCESSES = 20, 1000, 10
GOALS: dict[str, Goal] = {
    "mb_per_agent": ("<", 2),
    "pace_of_a_thousand": (">=", 0.5),
    "lost_facts": ("==", 0),
    "double_facts": ("==", 0),
}
WORKER = "worker"
WITHIN_S = 900
DRAIN_S = 20
"""How long requests may still wait for an answer once all agents have left; later ones are lost."""

_ARENA = arena_text("crowd", budget_s=1, deadline_s=2)
_KNOBS = "".join(f"KNOB_{n} = {n + 0.5}  # mesh: 0.01..100.0 log\n" for n in range(8))


async def measure(quick: bool) -> Figures:
    """Return memory per further agent (MB), lost and double facts, and runs per second of the crowd."""
    runs = 300 if quick else 1000
    few, crowd = await _swarm(FEW, runs), await _swarm(CROWD, runs)
    many = {} if quick else {"": await _swarm(MANY, runs), "_in_ten": await _swarm(MANY, runs, PROCESSES)}
    usual = {} if quick else await _swarm(USUAL, runs)
    figures = {f"{name}.with_{FEW}": value for name, value in few.items()}
    figures |= {f"{name}.with_{CROWD}": value for name, value in crowd.items()}
    for where, each in many.items():
        figures |= {f"{name}.with_{MANY}{where}": value for name, value in each.items()}
        figures["pace_in_ten" if where else "pace_of_a_thousand"] = each["late_runs_per_s"] / usual["late_runs_per_s"]
    for name, kind in (("mb_per_agent", "mb"), ("mb_per_agent_at_peak", "peak_mb")):
        figures[name] = (crowd[kind] - few[kind]) / (CROWD - FEW)
    for name in ("lost_facts", "double_facts"):
        figures[name] = sum(each[name] for each in (few, crowd, *many.values()))
    return figures


async def _swarm(agents: int, runs: int, processes: int = 1) -> Figures:
    """Let a swarm of this many explorers make `runs` runs, close the arena, and examine memory and log.

    The memory is that of the first process.
    """
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "crowd").mkdir()
        for file, text in {"arena.toml": _ARENA, "train.py": _KNOBS, "score.py": "print('{}')\n"}.items():
            (folder / "crowd" / file).write_text(text)
        async with embedded(folder / "server") as server, connect(server.url, patience_s=60) as hub:
            bus, _ = await open_arena(hub, folder / "crowd", home=folder)
            with anyio.fail_after(WITHIN_S):
                async with (
                    _agents("curator", 1, server.url, folder) as curator,
                    _agents("critic", 1, server.url, folder) as critic,
                    AsyncExitStack() as several,
                    anyio.create_task_group() as tasks,
                ):
                    explorers = [
                        await several.enter_async_context(
                            _agents("explorer", agents // processes, server.url, folder, f"explorer{number}")
                        )
                        for number in range(processes)
                    ]
                    worker = Worker(bus, runs)
                    tasks.start_soon(worker.run)
                    await worker.enough.wait()
                    now_mb, peak_mb = memory_mb(explorers[0].pid)
                    await bus.post(Post.new("operator", e.ArenaClosed(version=1, reason="operator")))
                    for process in (*explorers, critic, curator):
                        assert await process.wait() == 0
                    await worker.drained()
                    tasks.cancel_scope.cancel()
            found = audit(await _log(bus), agents + 2)
    say(f"{agents} explorers in {processes}: {runs} runs in {worker.took_s:.1f} s, {now_mb:.0f} MB")
    late = (runs - runs // 2) / (worker.took_s - worker.half_s)
    return {"mb": now_mb, "peak_mb": peak_mb, "runs_per_s": runs / worker.took_s, "late_runs_per_s": late, **found}


@asynccontextmanager
async def _agents(role: str, count: int, url: str, home: Path, name: str = "") -> AsyncIterator[Process]:
    """Run agents of a role in one process; it ends with the arena, at the latest with the block."""
    name = name or role
    options = ["--arena", "crowd", "--count", str(count), "--nats", url, "--home", str(home / name), "--name", name]
    command = [sys.executable, "-m", "mesh.agent", role, *options]
    async with await anyio.open_process(command, stdout=None, stderr=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


class Worker:
    """Answers requested runs at once; `enough` is set after `runs` answers, which took `took_s` seconds.

    The first half of them took `half_s`.
    """

    def __init__(self, bus: ArenaBus, runs: int) -> None:
        self._bus, self._runs = bus, runs
        self.answered, self.took_s, self.half_s = 0, 0.0, 0.0
        self.enough = anyio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._bus.post(Post.new(WORKER, e.WorkerJoined(boot=WORKER, worker_class="cpu", device="cpu", slots=64)))
        began = 0.0
        async with aclosing(self._bus.work("workers", ["run.requested"])) as deliveries:
            async for delivery in deliveries:
                began = began or anyio.current_time()
                post = delivery.entry.post
                assert post
                assert isinstance(post.event, e.RunRequested)
                try:
                    started = e.RunStarted(run=post.event.run, attempt=delivery.attempt, worker=WORKER)
                    await self._bus.post(Post.new(WORKER, started, cause=post.id))
                    await self._bus.post(Post.new(WORKER, finish(post.event), cause=post.id))
                    self.answered += 1
                except AlreadyPosted:
                    say(f"run {post.event.run} was delivered again")
                await delivery.done()
                if self.answered == self._runs // 2 and not self.half_s:
                    self.half_s = anyio.current_time() - began
                if self.answered == self._runs and not self.took_s:
                    self.took_s = anyio.current_time() - began
                    self.enough.set()

    async def drained(self) -> None:
        """Wait until every request in the log is answered, `DRAIN_S` seconds at most, while `run` runs."""
        requests = sum(entry.subject.kind == "run.requested" for entry in await _log(self._bus))
        with anyio.move_on_after(DRAIN_S):
            while self.answered < requests:
                await anyio.sleep(0.05)


def finish(request: e.RunRequested) -> e.RunFinished:
    """Return a made-up end of a run: one in twenty fails, the others have a score that depends on its name."""
    rng = random.Random(request.run)
    outcome: e.Scored | e.Failed = e.Scored(value=rng.lognormvariate(0, 0.5))
    if rng.random() < 0.05:
        outcome = e.Failed(reason="crash", message="made up")
    return e.RunFinished(
        run=request.run,
        proposal=request.proposal,
        outcome=outcome,
        worker=WORKER,
        worker_class="cpu",
        evaluator=request.evaluator,
        trial_s=1.0,
    )


async def _log(bus: ArenaBus) -> list[Entry]:
    return [entry async for batch in bus.read() for entry in batch]


def audit(entries: Sequence[Entry], agents: int, until: float = math.inf) -> Figures:
    """Count missing facts (requests without an end, agents that never joined or left) and double ones.

    Runs that were requested after entry `until` need no end.
    """
    posts = [entry.post for entry in entries if entry.post]
    keys = Counter((p.kind, p.key, p.author if p.event.one_per_author else "") for p in posts)
    requested = {p.event.run for p in posts if isinstance(p.event, e.RunRequested)}
    finished = Counter(p.event.run for p in posts if isinstance(p.event, e.RunFinished))
    due = {x.post.event.run for x in entries if x.seq <= until and x.post and isinstance(x.post.event, e.RunRequested)}
    missing = due - finished.keys()
    if missing:
        say(f"without an end: {', '.join(sorted(missing)[:5])}")
    joined, left = (sum(kind == wanted for kind, _, _ in keys) for wanted in ("agent.joined", "agent.left"))
    lost = len(missing) + abs(agents - joined) + abs(agents - left) + len(entries) - len(posts)
    double = sum(count - 1 for count in keys.values()) + len(posts) - len({p.id for p in posts})
    double += len(finished.keys() - requested)
    return {
        "facts": len(entries),
        "proposers": len({p.author for p in posts if isinstance(p.event, e.ProposalPosted)}),
        "requests": len(requested),
        "failures_of_agents": sum(isinstance(p.event, e.NotePosted) and p.event.channel == "ops" for p in posts),
        "lost_facts": lost,
        "double_facts": double,
    }
