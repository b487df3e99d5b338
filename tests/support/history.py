"""Histories of an arena: verbs that make facts, two small logs, and the entries that a log makes of facts."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from mesh import events as e
from mesh import wire
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.testing import BEGAN, commit_hash, content_hash, git_hash, run_of
from mesh.wire import Entry, Post

Fact = tuple[str, e.AnyEvent]
"""An author and what it posts."""

T0, T1, T2, T3, T4, T5, T6, T7, T8, T9 = (digit * 40 for digit in "0123456789")
"""Ids of proposals."""

GPU, CPU = "cuda-h200", "cpu-x86_64"
SPEC = ArenaSpec(
    name="a",
    objective=ObjectiveSpec(metric="loss", direction="minimize"),
    artifact=ArtifactSpec(editable=("train.py",)),
    trial=TrialSpec(command=("python", "train.py"), budget_s=1, deadline_s=2),
    score=ScoreSpec(how="command", command=("python", "score.py")),
)


def opened(version: int = 1, evaluator: str = "ev") -> e.ArenaOpened:
    return e.ArenaOpened(
        version=version, spec=SPEC, base_commit=git_hash("c0"), base_tree=T0, evaluator=content_hash(evaluator)
    )


def proposal(tree: str, *parents: str, how: Any = "sampler") -> e.ProposalPosted:
    origin = e.Origin(how=how)
    return e.ProposalPosted(
        tree=tree, commit=commit_hash(tree), parents=parents, title=f"title {tree[:4]}", origin=origin
    )


def request(run: str, tree: str, seed: int = 1) -> e.RunRequested:
    return e.RunRequested(
        run=run,
        lane="explore",
        proposal=tree,
        commit=git_hash("c"),
        seed=seed,
        budget_s=1,
        deadline_s=2,
        evaluator=content_hash("ev"),
    )


def finish(run: str, tree: str, outcome: float | e.Failed) -> e.RunFinished:
    scored = e.Scored(value=outcome, metrics={"loss": outcome}) if isinstance(outcome, float) else outcome
    return e.RunFinished(run=run, proposal=tree, outcome=scored, worker="w", worker_class="cpu", trial_s=2.0)


def promote(tree: str, met: str, number: int) -> e.ProposalPromoted:
    return e.ProposalPromoted(proposal=tree, round=number, met=met, mean=0.0)


def entries(facts: Sequence[Fact], *, every_s: float = 1.0) -> list[Entry]:
    """Return the log of these facts; one comes `every_s` seconds after the other."""
    found = []
    for seq, (author, event) in enumerate(facts, 1):
        now = BEGAN + dt.timedelta(seconds=seq * every_s)
        post = Post(id=f"post-{seq}", at=now, author=author, event=event)
        found.append(wire.entry(seq, now, wire.subject_of("a", post), wire.encode(post)))
    return found


HISTORY: list[Fact] = [
    ("op", opened()),
    ("ann", e.AgentJoined(boot="b1", role="explorer")),
    ("w", e.WorkerJoined(boot="b2", worker_class="cpu", device="cpu", slots=1)),
    ("ann", proposal(T1, how="baseline")),
    ("ann", proposal(T2, T1)),
    ("bob", proposal(T3, T1, T2)),
    ("cid", e.CritiquePosted(target=T2, verdict="endorse")),
    ("dan", e.CritiquePosted(target=T2, verdict="block")),
    ("cur", request("r1", T1)),
    ("w", e.RunStarted(run="r1", attempt=1, worker="w")),
    ("w", finish("r1", T1, 3.0)),
    ("cur", promote(T1, "", 1)),
    ("cur", request("r2", T2, 1)),
    ("cur", request("r3", T2, 2)),
    ("cur", request("r4", T3)),
    ("cur", request("r5", T3, 2)),
    ("w", finish("r2", T2, 1.0)),
    ("w", finish("r3", T2, 2.0)),
    ("w", finish("r4", T3, e.Failed(reason="crash", message="boom"))),
    ("cur", e.RunKilled(run="r5", by="rule")),
    ("cur", promote(T2, T1, 2)),
    ("cur", promote(T3, T1, 3)),  # stale: t1 is champion no more
    ("cur", e.ProposalRetired(proposal=T3, round=4, why="failed")),
    ("ann", e.NotePosted(channel="general", text="hello\x00there")),
]


def _knob(tree: str, parent: str, author: str, old: float, new: float, **more: Any) -> Fact:
    knobs = (e.KnobChange(file="train.py", name="LR", old=old, new=new),)
    more = {"values": {"train.py": {"LR": new}}} | more
    posted = replace(proposal(tree, parent), title=f"mutate: LR {old} → {new}", knobs=knobs, **more)
    return author, posted


def _runs(tree: str, values: list[float | e.Failed], lane: e.Lane = "explore", where: str = GPU) -> list[Any]:
    found: list[Fact] = []
    for seed, value in enumerate(values, 1):
        run = run_of(tree, lane, seed)
        worker = "gpu" if where == GPU else "cpu"
        done = replace(
            finish(run, tree, value),
            worker=f"b-{worker}",
            worker_class=where,
            evaluator=content_hash("ev"),
            trial_s=60.0,
            cost=e.Cost(usd=0.05, seconds=60.0),
            stages=(e.StageEnd(stage="full", value=value, trial_s=60.0),) if isinstance(value, float) else (),
        )
        found += [
            ("curator", replace(request(run, tree, seed), lane=lane)),
            (worker, e.RunStarted(run=run, attempt=1, worker=f"b-{worker}")),
            (worker, done),
        ]
    return found


def _word(critic: str, target: str, verdict: Any, confidence: float) -> Fact:
    return critic, e.CritiquePosted(target=target, verdict=verdict, confidence=confidence, predicted=2.0)


CRASH = e.Failed(reason="crash", message="boom")
THOUGHT = e.Cost(usd=0.02, tokens_in=3000, tokens_out=500, seconds=9.0)
RICH_HISTORY: list[Fact] = [
    # every question of `docs/sql.md` has an answer in it: two explorers, a critic, two worker classes
    ("op", opened()),
    *((name, e.AgentJoined(boot=f"b-{name}", role="explorer")) for name in ("ann", "bob")),
    ("cid", e.AgentJoined(boot="b-cid", role="critic")),
    ("gpu", e.WorkerJoined(boot="b-gpu", worker_class=GPU, device="H200", slots=1, price_per_hour_usd=3.0)),
    ("cpu", e.WorkerJoined(boot="b-cpu", worker_class=CPU, device="cpu", slots=2)),
    ("ann", replace(proposal(T0, how="baseline"), values={"train.py": {"LR": 0.1}})),
    *_runs(T0, [3.0, 3.1, 3.2]),
    ("curator", promote(T0, "", 1)),
    _knob(T1, T0, "ann", 0.1, 0.2),
    _word("cid", T1, "endorse", 0.9),
    *_runs(T1, [2.5]),
    *_runs(T1, [2.6, 2.7], "confirm", CPU),
    ("curator", promote(T1, T0, 2)),
    _knob(T2, T1, "bob", 0.2, 0.4, cost=THOUGHT),
    *_runs(T2, [2.0]),
    *_runs(T2, [2.1, 2.2], "confirm"),
    ("curator", promote(T2, T1, 3)),
    _knob(T3, T1, "ann", 0.2, 0.4),  # the change that bob made in t2
    _knob(T4, T0, "bob", 0.1, 9.0),
    _word("cid", T4, "block", 0.8),
    *_runs(T4, [CRASH]),
    ("curator", e.ProposalRetired(proposal=T4, round=1, why="failed")),
    _knob(T5, T4, "bob", 9.0, 8.0),
    *_runs(T5, [4.0]),
    ("curator", e.ProposalRetired(proposal=T5, round=1, why="not_better")),
    ("ann", e.NotePosted(channel="general", text="a rate above 1 leads nowhere")),
    ("rex", e.ModelAsked(model="m", purpose="improve", ok=True, cost=THOUGHT, text="the answer has no change")),
]
