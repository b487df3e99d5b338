"""A short history of an arena, and how tests fold it and ask about it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from analytics.projection import Projection
from analytics.projector import project, replay
from analytics.protocol import SERVICE, Answer, Query, Refusal, decode_reply, encode
from analytics.queries import Queries
from mesh import events as e
from mesh import wire
from mesh.bus import ArenaBus
from mesh.errors import BusUnavailable
from mesh.memory import MemoryBus, MemoryHub
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.wire import Post

SPEC = ArenaSpec(
    name="a",
    objective=ObjectiveSpec(metric="loss", direction="minimize"),
    artifact=ArtifactSpec(editable=("train.py",)),
    trial=TrialSpec(command=("python", "train.py"), budget_s=1, deadline_s=2),
    score=ScoreSpec(how="command", command=("python", "score.py")),
)


def opened(version: int = 1, evaluator: str = "ev") -> e.ArenaOpened:
    return e.ArenaOpened(version=version, spec=SPEC, base_commit="c0", base_tree="t0", evaluator=evaluator)


def proposal(tree: str, *parents: str, how: Any = "sampler") -> e.ProposalPosted:
    origin = e.Origin(how=how)
    return e.ProposalPosted(tree=tree, commit=f"c-{tree}", parents=parents, title=f"title {tree}", origin=origin)


def request(run: str, tree: str, seed: int = 1) -> e.RunRequested:
    return e.RunRequested(
        run=run, lane="explore", proposal=tree, commit="c", seed=seed, budget_s=1, deadline_s=2, evaluator="ev"
    )


def finish(run: str, tree: str, outcome: float | e.Failed) -> e.RunFinished:
    scored = e.Scored(value=outcome) if isinstance(outcome, float) else outcome
    return e.RunFinished(run=run, proposal=tree, outcome=scored, worker="w", worker_class="cpu", trial_s=2.0)


def promote(tree: str, met: str, number: int) -> e.ProposalPromoted:
    return e.ProposalPromoted(proposal=tree, round=number, met=met, mean=0.0)


HISTORY: list[tuple[str, e.AnyEvent]] = [
    ("op", opened()),
    ("ann", e.AgentJoined(boot="b1", role="explorer")),
    ("w", e.WorkerJoined(boot="b2", worker_class="cpu", device="cpu", slots=1)),
    ("ann", proposal("t1", how="baseline")),
    ("ann", proposal("t2", "t1")),
    ("bob", proposal("t3", "t1", "t2")),
    ("cid", e.CritiquePosted(target="t2", verdict="endorse")),
    ("dan", e.CritiquePosted(target="t2", verdict="block")),
    ("cur", request("r1", "t1")),
    ("w", e.RunStarted(run="r1", attempt=1, worker="w")),
    ("w", finish("r1", "t1", 3.0)),
    ("cur", promote("t1", "", 1)),
    ("cur", request("r2", "t2", 1)),
    ("cur", request("r3", "t2", 2)),
    ("cur", request("r4", "t3")),
    ("cur", request("r5", "t3", 2)),
    ("w", finish("r2", "t2", 1.0)),
    ("w", finish("r3", "t2", 2.0)),
    ("w", finish("r4", "t3", e.Failed(reason="crash", message="boom"))),
    ("cur", e.RunKilled(run="r5", by="rule")),
    ("cur", promote("t2", "t1", 2)),
    ("cur", promote("t3", "t1", 3)),  # stale: t1 is champion no more
    ("cur", e.ProposalRetired(proposal="t3", round=4, why="failed")),
    ("ann", e.NotePosted(channel="general", text="hello\x00there")),
]


async def tell(bus: MemoryBus) -> None:
    for author, event in HISTORY:
        await bus.post(Post.new(author, event))
    again = Post.new("liar", finish("r2", "t2", -100.0))
    bus.append_raw(wire.subject_of("a", again), wire.encode(again))


async def a_bus(hub: MemoryHub) -> MemoryBus:
    bus = await hub.arena("a", create=True)
    await tell(bus)
    return bus


@asynccontextmanager
async def telling(path: Path) -> AsyncIterator[Queries]:
    """Queries about the history, folded into the file at `path`."""
    await replay(await a_bus(MemoryHub()), path)
    projection = Projection.open(path)
    try:
        yield Queries(projection)
    finally:
        projection.close()


async def rows(queries: Queries, sql: str) -> list[list[Any]]:
    return (await queries.answer(Query(sql))).rows


@asynccontextmanager
async def projecting(hub: MemoryHub, path: Path) -> AsyncIterator[None]:
    ready = anyio.Event()

    async def answer(projection: Projection, bus: ArenaBus) -> None:
        await Queries(projection).serve(bus)

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await project(hub, path, on_ready=ready.set, beside=answer)

        tasks.start_soon(run)
        with anyio.fail_after(20):
            await ready.wait()
        yield
        tasks.cancel_scope.cancel()


async def ask(bus: MemoryBus, sql: str, **limits: Any) -> Answer | Refusal:
    return decode_reply(await bus.ask(SERVICE, encode(Query(sql, **limits)), timeout_s=30))


async def ask_until(bus: MemoryBus, seq: int) -> None:
    """Return once somebody answers and the projection stands at `seq`."""
    with anyio.fail_after(20):
        while True:
            try:
                reply = await ask(bus, "SELECT 1")
            except BusUnavailable:
                await anyio.lowlevel.checkpoint()
                continue
            if isinstance(reply, Answer) and reply.as_of.get("a", 0) >= seq:
                return
