"""A history in which every question of `docs/sql.md` has an answer: two explorers, a critic, two classes of workers."""

from typing import Any

from msgspec.structs import replace

from mesh import events as e
from mesh.memory import MemoryBus
from mesh.wire import Post
from tests.support.history import finish, opened, promote, proposal, request

GPU, CPU = "cuda-h200", "cpu-x86_64"


def _knob(tree: str, parent: str, author: str, old: float, new: float, **more: Any) -> tuple[str, e.AnyEvent]:
    knobs = (e.KnobChange(file="train.py", name="LR", old=old, new=new),)
    posted = replace(proposal(tree, parent), title=f"mutate: LR {old} → {new}", knobs=knobs, **more)
    return author, posted


def _runs(tree: str, values: list[float | e.Failed], lane: e.Lane = "explore", where: str = GPU) -> list[Any]:
    found: list[tuple[str, e.AnyEvent]] = []
    for seed, value in enumerate(values, 1):
        run = f"{tree}-{lane}-{seed}"
        worker = "gpu" if where == GPU else "cpu"
        done = replace(
            finish(run, tree, value),
            worker=f"b-{worker}",
            worker_class=where,
            evaluator="ev",
            trial_s=60.0,
            cost=e.Cost(usd=0.05, seconds=60.0),
        )
        found += [
            ("curator", replace(request(run, tree, seed), lane=lane)),
            (worker, e.RunStarted(run=run, attempt=1, worker=f"b-{worker}")),
            (worker, done),
        ]
    return found


def _word(critic: str, target: str, verdict: Any, confidence: float) -> tuple[str, e.AnyEvent]:
    return critic, e.CritiquePosted(target=target, verdict=verdict, confidence=confidence, predicted=2.0)


CRASH = e.Failed(reason="crash", message="boom")
THOUGHT = e.Cost(usd=0.02, tokens_in=3000, tokens_out=500, seconds=9.0)
RICH: list[tuple[str, e.AnyEvent]] = [
    ("op", opened()),
    *((name, e.AgentJoined(boot=f"b-{name}", role="explorer")) for name in ("ann", "bob")),
    ("cid", e.AgentJoined(boot="b-cid", role="critic")),
    ("gpu", e.WorkerJoined(boot="b-gpu", worker_class=GPU, device="H200", slots=1, price_per_hour_usd=3.0)),
    ("cpu", e.WorkerJoined(boot="b-cpu", worker_class=CPU, device="cpu", slots=2)),
    ("ann", proposal("t0", how="baseline")),
    *_runs("t0", [3.0, 3.1, 3.2]),
    ("curator", promote("t0", "", 1)),
    _knob("t1", "t0", "ann", 0.1, 0.2),
    _word("cid", "t1", "endorse", 0.9),
    *_runs("t1", [2.5]),
    *_runs("t1", [2.6, 2.7], "confirm", CPU),
    ("curator", promote("t1", "t0", 2)),
    _knob("t2", "t1", "bob", 0.2, 0.4, cost=THOUGHT),
    *_runs("t2", [2.0]),
    *_runs("t2", [2.1, 2.2], "confirm"),
    ("curator", promote("t2", "t1", 3)),
    _knob("t3", "t1", "ann", 0.2, 0.4),  # what bob had before
    _knob("t4", "t0", "bob", 0.1, 9.0),
    _word("cid", "t4", "block", 0.8),
    *_runs("t4", [CRASH]),
    ("curator", e.ProposalRetired(proposal="t4", round=1, why="failed")),
    _knob("t5", "t4", "bob", 9.0, 8.0),
    *_runs("t5", [4.0]),
    ("curator", e.ProposalRetired(proposal="t5", round=1, why="not_better")),
    ("ann", e.NotePosted(channel="general", text="a rate above 1 leads nowhere")),
]


async def tell(bus: MemoryBus) -> None:
    """Write the history to the log."""
    for author, event in RICH:
        await bus.post(Post.new(author, event))
