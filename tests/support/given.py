"""A log of one arena, written by hand, and the board that it folds to: the `given` of tests of pure roles."""

import datetime as dt
from pathlib import Path

from mesh import wire
from mesh.board import Board
from mesh.code import CodeStore
from mesh.events import (
    AnyEvent,
    ArenaOpened,
    Failed,
    FailureReason,
    Lane,
    Origin,
    ProposalPosted,
    RunFinished,
    RunRequested,
    Scored,
)
from mesh.memory import MemoryBus
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.wire import Post

BEGAN = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
SPEC = ArenaSpec(
    name="a",
    objective=ObjectiveSpec(metric="loss", direction="minimize", noise="none"),
    artifact=ArtifactSpec(editable=("train.py",)),
    trial=TrialSpec(command=("python", "train.py"), budget_s=1, deadline_s=2),
    score=ScoreSpec(how="command", command=("python", "score.py")),
)
TRAIN = b"""import math

LR = 1e-3  # mesh: 1e-4..1.0 log
WIDTH = 8  # mesh: 1..64
BIAS = False
ACT = "tanh"  # mesh: choices tanh relu gelu
SEED = 1


def loss() -> float:
    return math.log(LR) * WIDTH
"""
FILES = {"train.py": TRAIN, "score.py": b"print(1)\n"}


class Log:
    """Facts in order; a fact is one second after the last unless told otherwise."""

    def __init__(self, spec: ArenaSpec = SPEC) -> None:
        self.board = Board(arena="a")
        self.spec = spec

    def add(self, author: str, event: AnyEvent, *, after_s: float = 1.0) -> Post:
        """Fold the next fact and return its post."""
        seq = self.board.seq + 1
        now = self.board.time + dt.timedelta(seconds=after_s) if self.board.seq else BEGAN
        post = Post(id=f"post-{seq}", at=now, author=author, event=event)
        self.board.fold(wire.entry(seq, now, wire.subject_of("a", post), wire.encode(post)))
        return post

    def open(self, commit: str = "c-base", tree: str = "base") -> Post:
        """Open the arena."""
        return self.add("operator", opened(self.spec, commit, tree))

    def propose(self, tree: str, author: str = "ann", *, how: str = "sampler") -> Post:
        """Post a proposal whose commit is named after its tree."""
        origin = Origin(how="baseline" if how == "baseline" else "sampler")
        return self.add(author, ProposalPosted(tree=tree, commit=f"c-{tree}", title=tree, origin=origin))

    def request(self, tree: str, *, seed: int = 1, lane: Lane = "explore") -> str:
        """Ask for a run and return its id."""
        event = requested(tree, seed=seed, lane=lane, spec=self.spec)
        self.add("curator", event)
        return event.run

    def finish(self, run: str, result: float | FailureReason, *, worker_class: str = "cpu") -> Post:
        """Finish a run with a score, or with the reason why there is none."""
        outcome = Failed(reason=result, message="") if isinstance(result, str) else Scored(value=result)
        asked = self.board.runs[run].requested
        event = RunFinished(run=run, proposal=asked.proposal, outcome=outcome, worker="w", worker_class=worker_class)
        return self.add("w", event)

    def score(self, tree: str, *results: float | FailureReason) -> Post:
        """Run a proposal once per result, with seeds from 1 on, and return the last post."""
        runs = [self.request(tree, seed=seed) for seed in range(1, len(results) + 1)]
        return [self.finish(run, result) for run, result in zip(runs, results, strict=True)][-1]


def opened(spec: ArenaSpec = SPEC, commit: str = "c-base", tree: str = "base") -> ArenaOpened:
    """The opening of an arena."""
    return ArenaOpened(version=1, spec=spec, base_commit=commit, base_tree=tree, evaluator="e")


def requested(tree: str, *, seed: int = 1, lane: Lane = "explore", spec: ArenaSpec = SPEC) -> RunRequested:
    """The request of a run of a proposal, as the curator words it."""
    return RunRequested(
        run=f"{tree[:16]}-{lane}-{seed}",
        lane=lane,
        proposal=tree,
        commit=f"c-{tree}",
        seed=seed,
        budget_s=spec.trial.budget_s,
        deadline_s=spec.trial.deadline_s,
        worker_class=spec.worker.class_,
        evaluator="e",
        version=1,
    )


class Arena(Log):
    """A log whose proposals have code."""

    def __init__(self, folder: Path, files: dict[str, bytes] | None = None, spec: ArenaSpec = SPEC) -> None:
        super().__init__(spec)
        self.code = CodeStore(folder / "code.git", MemoryBus("a"))
        base = self.code.commit(files or FILES, message="base", author="operator", at=BEGAN)
        self.base, self.opening = base.tree, self.open(base.commit, base.tree)

    def propose_files(self, files: dict[str, bytes], author: str = "ann") -> Post:
        """Post a proposal of these files."""
        made = self.code.commit(files, parents=[self.base_commit], message="m", author=author, at=BEGAN)
        event = ProposalPosted(tree=made.tree, commit=made.commit, title="by hand", origin=Origin(how="human"))
        return self.add(author, event)

    @property
    def base_commit(self) -> str:
        """The commit of the artifact as it is."""
        assert self.board.opened is not None
        return self.board.opened.base_commit
