"""Every release writes a log that all later ones read: `tests/golden/<version>.jsonl` and what is in it.

A golden file has one line per entry: sequence, the server's time, subject, and the post as it was sent. It is written
once, at its release, and never edited; when this test fails, the code is wrong and not the file.
"""

import datetime as dt
from pathlib import Path
from typing import get_args

import msgspec

from mesh import wire
from mesh.board import Board, Critique, Member, Note, Proposal, Run
from mesh.board_bytes import from_bytes, to_bytes
from mesh.events import (
    KINDS,
    AgentJoined,
    AgentLeft,
    AnyEvent,
    ArenaClosed,
    ArenaOpened,
    BudgetGranted,
    Cost,
    CritiquePosted,
    CurvePoint,
    Failed,
    FailureReason,
    KnobChange,
    NotePosted,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    RunKilled,
    RunRequested,
    RunStarted,
    Scored,
    WorkerJoined,
    WorkerLeft,
    kind_of,
)
from mesh.kept import KeptProposals, KeptRuns
from mesh.lean import without_curve
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec, WorkerSpec
from mesh.stated_costs import StatedCosts
from mesh.wire import Entry, Post
from mesh.worker_costs import WorkerCosts

BASE, CHILD = "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "f93e3a1a1525fb5b91020da86e44810c87a2d7bc"
BASE_COMMIT, CHILD_COMMIT = "0333727b2a9ef3f1c7d34f1c6e1a9f5f0c1d2e3f", "c87996730b1f4fd5b0a1a9c8b4f0e7d6c5b4a392"
EVALUATOR, ENVIRONMENT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "py3.11-torch2.9"
DATA = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
SPEC = ArenaSpec(
    name="nanolm",
    summary="A byte-level GPT",
    objective=ObjectiveSpec(metric="val_bpb", direction="minimize", bounds=(0.0, 16.0), noise="measured"),
    artifact=ArtifactSpec(editable=("train.py",), prepare=("python", "prepare.py")),
    trial=TrialSpec(
        command=("python", "train.py"), budget_s=4.0, deadline_s=60.0, preload=("torch",), memory_gb=4.0, network=False
    ),
    score=ScoreSpec(how="command", command=("python", "score.py"), pattern="", deadline_s=60.0),
    worker=WorkerSpec(class_="cuda-h200", gpu_memory_gb=8.0),
)
CURVE = (CurvePoint(10, 3.25, 0.5), CurvePoint(20, 2.75, 1.0))
OPENED = ArenaOpened(
    version=1, spec=SPEC, base_commit=BASE_COMMIT, base_tree=BASE, evaluator=EVALUATOR, data=DATA, reason="changed"
)
CLOSED = ArenaClosed(version=1, reason="plateau", text="no gain in 40 proposals")
WORKER = WorkerJoined(
    boot="w-1",
    worker_class="cuda-h200",
    device="cuda:0",
    slots=2,
    memory_mb=143771,
    price_per_hour_usd=3.5,
    tier="namespaces",
    host="gpu-7",
    environment=ENVIRONMENT,
)
PER_S = 3.5 / 3600
"""What the worker costs in a second."""
AGENT = AgentJoined(boot="a-1", role="explorer", model="none", host="box", version="0.1.0")
BASELINE = ProposalPosted(tree=BASE, commit=BASE_COMMIT, title="The artifact as it is", origin=Origin(how="baseline"))
IDEA = ProposalPosted(
    tree=CHILD,
    commit=CHILD_COMMIT,
    parents=(BASE,),
    title="Twice the learning rate",
    rationale="The curve is still steep at the end → faster",
    origin=Origin(how="sampler", name="cmaes"),
    predicted_gain=0.125,
    confidence=0.75,
    knobs=(
        KnobChange(file="train.py", name="LR", old=0.001, new=0.002),
        KnobChange(file="train.py", name="LAYERS", old=2, new=None),
        KnobChange(file="train.py", name="TIED", old=False, new=True),
        KnobChange(file="train.py", name="ACT", old=None, new="gelu"),
    ),
    cost=Cost(usd=0.25, tokens_in=9000, tokens_out=700, seconds=12.5),
)
PROMOTED = ProposalPromoted(
    proposal=BASE,
    round=1,
    met="",
    mean=2.5,
    low=2.25,
    high=2.75,
    seeds=(1, 2, 3),
    p_better=0.975,
    text="the baseline",
)
RETIRED = ProposalRetired(
    proposal=CHILD, round=1, why="not_better", met=BASE, mean=2.625, seeds=(4, 5), p_better=0.25, text="within noise"
)


def requested(run: str, tree: str, commit: str, seed: int) -> RunRequested:
    return RunRequested(
        run=run,
        lane="explore",
        proposal=tree,
        commit=commit,
        seed=seed,
        budget_s=4.0,
        deadline_s=60.0,
        worker_class="cuda-h200",
        evaluator=EVALUATOR,
        version=1,
    )


def finished(run: str, tree: str, outcome: Scored | Failed) -> RunFinished:
    return RunFinished(
        run=run,
        proposal=tree,
        outcome=outcome,
        worker="gpu-7-w1",
        worker_class="cuda-h200",
        attempt=2,
        curve=CURVE,
        trial_s=4.25,
        score_s=0.5,
        cpu_s=3.75,
        peak_memory_mb=812.5,
        evaluator=EVALUATOR,
        code=tree,
        data=DATA,
        environment=ENVIRONMENT,
        tier="namespaces",
        log_tail="step 20\n",
        cost=Cost(usd=0.005, seconds=4.75),
    )


REASONS: tuple[FailureReason, ...] = (
    "timeout",
    "out_of_memory",
    "crash",
    "no_score",
    "bad_score",
    "lost",
    "killed",
)
SCORED = Scored(value=2.5, metrics={"val_bpb": 2.5, "params": 1000000.0}, self_reported=True)
FAILURES = {f"r-{reason}": Failed(reason=reason, message=f"it ended: {reason}") for reason in REASONS}
REQUESTS = {
    "r-base": requested("r-base", BASE, BASE_COMMIT, 1),
    **{run: requested(run, CHILD, CHILD_COMMIT, -seed) for seed, run in enumerate(FAILURES)},
}
FINISHES = {
    "r-base": finished("r-base", BASE, SCORED),
    **{run: finished(run, CHILD, failure) for run, failure in FAILURES.items()},
}
SAID: list[tuple[str, AnyEvent]] = [
    ("operator", OPENED),
    ("gpu-7-w1", WORKER),
    ("explorer", AGENT),
    ("operator", BudgetGranted(n=1, gpu_seconds=3600.0, tokens=1000000, usd=20.0)),
    ("explorer", BASELINE),
    ("critic", CritiquePosted(target=BASE, verdict="endorse")),
    ("curator", REQUESTS["r-base"]),
    ("gpu-7-w1", RunStarted(run="r-base", attempt=2, worker="gpu-7-w1", device="cuda:0")),
    ("gpu-7-w1", FINISHES["r-base"]),
    ("curator", PROMOTED),
    ("explorer", IDEA),
    (
        "critic",
        CritiquePosted(
            target=CHILD, verdict="warn", rule="noise", text="a small change", predicted=2.5, confidence=0.5
        ),
    ),
    *(("curator", REQUESTS[run]) for run in FAILURES),
    ("curator", RunKilled(run="r-killed", by="rule", text="below the best third", curve=CURVE)),
    *(("gpu-7-w1", FINISHES[run]) for run in FAILURES),
    ("curator", RETIRED),
    ("ann", NotePosted(channel="general", text="why not?", reply_to=11)),
    ("operator", CLOSED),
    ("explorer", AgentLeft(boot="a-1", reason="the arena is closed")),
    ("gpu-7-w1", WorkerLeft(boot="w-1", reason="the arena is closed")),
]
BEGAN = dt.datetime(2026, 11, 24, 8, 0, 0, 250000, tzinfo=dt.UTC)


def at(seq: int) -> dt.datetime:
    return BEGAN + dt.timedelta(seconds=seq)


def post_id(seq: int) -> str:
    return f"019abc00-0000-7000-8000-{seq:012d}"


POSTS = [
    Post(id=post_id(seq), at=at(seq), author=author, cause=post_id(seq - 1) if seq > 1 else "", event=event)
    for seq, (author, event) in enumerate(SAID, 1)
]
GOLDEN = Path(__file__).parent / "golden" / "0.1.0.jsonl"


class Line(msgspec.Struct, frozen=True):
    """One line of a golden log."""

    seq: int
    time: dt.datetime
    subject: str
    post: msgspec.Raw


def entries(log: Path = GOLDEN) -> list[Entry]:
    lines = [msgspec.json.decode(line, type=Line) for line in log.read_bytes().splitlines()]
    return [wire.entry(line.seq, line.time, line.subject, bytes(line.post)) for line in lines]


def test_the_log_of_release_0_1_0_says_what_it_said() -> None:
    found = entries()
    assert [entry.post for entry in found] == POSTS
    assert [(entry.seq, entry.time) for entry in found] == [(seq, at(seq)) for seq in range(1, len(POSTS) + 1)]


def test_every_fact_and_every_failure_is_in_the_log_of_some_release() -> None:
    found = [entry.post.event for log in GOLDEN.parent.glob("*.jsonl") for entry in entries(log) if entry.post]
    outcomes = [event.outcome for event in found if isinstance(event, RunFinished)]
    assert {kind_of(event) for event in found} == set(KINDS)
    assert {o.reason for o in outcomes if isinstance(o, Failed)} == set(get_args(FailureReason))
    assert any(isinstance(o, Scored) for o in outcomes)


def test_the_log_of_release_0_1_0_folds_to_the_same_board() -> None:
    board = Board(arena="nanolm")
    counted = [board.fold(entry) for entry in entries()]
    expected = Board(
        arena="nanolm",
        seq=32,
        time=at(32),
        opened=OPENED,
        closed=CLOSED,
        champion=BASE,
        round=1,
        proposals=KeptProposals(
            {
                BASE: Proposal(
                    5,
                    at(5),
                    "explorer",
                    BASELINE,
                    (Critique("critic", "endorse", "", "", seq=6),),
                    ("r-base",),
                    "champion",
                    rulings=(PROMOTED,),
                    ended=1,
                ),
                CHILD: Proposal(
                    11,
                    at(11),
                    "explorer",
                    IDEA,
                    (Critique("critic", "warn", "noise", "a small change", confidence=0.5, seq=12),),
                    tuple(FAILURES),
                    "retired",
                    "not_better",
                    rulings=(RETIRED,),
                    ended=len(FAILURES),
                ),
            }
        ),
        runs=KeptRuns(
            {
                "r-base": Run(
                    7,
                    REQUESTS["r-base"],
                    2,
                    "gpu-7-w1",
                    False,
                    without_curve(FINISHES["r-base"]),
                    begun=("gpu-7-w1",),
                    finished_seq=9,
                    finished_at=at(9),
                    has_curve=True,
                ),
                **{
                    run: Run(
                        13 + n,
                        REQUESTS[run],
                        0,
                        "",
                        run == "r-killed",
                        without_curve(FINISHES[run]),
                        finished_seq=21 + n,
                        finished_at=at(21 + n),
                        has_curve=True,
                    )
                    for n, run in enumerate(FAILURES)
                },
            }
        ),
        agents={"a-1": Member("explorer", 3, AGENT, True)},
        workers={"w-1": Member("gpu-7-w1", 2, WORKER, True)},
        notes=1,
        answered={f"{post.author} {post.cause}": None for post in POSTS if post.cause},
        opened_at=at(1),
        champions=[BASE],
        promoted_seq=10,
        finished=8,
        usd=board.usd,
        seconds=board.seconds,
        spent={"explorer": 0.25},
        tokens={"explorer": 9700},
        latest=[Note(29, "ann", "general", "why not?")],
        judged=[9, 21],
        scored_seq=9,
        bases=[(1, "0333727b2a9ef3f1c7d34f1c6e1a9f5f0c1d2e3f")],
        evidence_changes=1,
        full={CHILD: None},
        worker_costs=WorkerCosts(
            limit_usd=2 * PER_S + 20.0,  # what was spent before, and the grant
            grants=1,
            ended_usd=30 * PER_S,
            cheapest_per_hour_usd=3.5,
            last=at(32),
            woken=at(1),
            stated=StatedCosts(granted_usd=20.0),
        ),
    )
    assert round(board.usd, 9) == 0.25 + 8 * 0.005
    assert counted == [True] * 32
    assert board == expected
    assert board.scores(BASE) == [2.5]
    assert board.scores(CHILD) == []
    assert from_bytes(to_bytes(board)) == expected
