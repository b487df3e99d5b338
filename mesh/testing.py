r"""Helps to test a role: an arena in memory, whose facts you write by hand and to which the role answers.

    async def test_my_role(tmp_path):
        arena = Arena(tmp_path, {"train.py": b"LR = 0.1\n"})  # given an open arena,
        arena.propose_baseline()
        post = arena.score(arena.base, 0.5)  # whose baseline scored 0.5,
        [proposal] = await arena.when(MyRole(arena.context("ann")), post)  # when my role hears of it,
        assert proposal.title == "LR 0.1 → 0.05"  # then it proposes half the rate

Use `Log` and `given` if proposals need no code: `given(("ann", fact), ...)` returns the board. Nothing here starts a
process, opens a connection, reads a clock or runs a trial. `mesh.memory` has a whole bus in memory.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mesh import wire
from mesh.agent.answers import checked
from mesh.agent.code_reader import CodeReader
from mesh.agent.draft import Author, to_facts
from mesh.agent.protocol import Agent, Answers, Context, Joining, Ticking, role_of
from mesh.board import Board
from mesh.code import CodeStore
from mesh.events import (
    AnyEvent,
    ArenaOpened,
    Failed,
    FailureReason,
    KnobValues,
    Lane,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    RunRequested,
    Scored,
)
from mesh.git_objects import is_hash
from mesh.memory import MemoryBus
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.wire import Post

BEGAN = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
"""The time of the first fact of a log."""

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
"""A candidate with four knobs."""

VALUES: KnobValues = {"train.py": {"LR": 1e-3, "WIDTH": 8, "BIAS": False, "ACT": "tanh"}}
"""The values of its knobs, as a proposal of it has them; a seed is not a knob."""

FILES = {"train.py": TRAIN, "score.py": b"print(1)\n"}
"""The files of an arena: one may be edited, one is protected."""


def git_hash(name: str) -> str:
    """Return 40 hex digits that stand for a commit or a proposal of this name; an id stands for itself."""
    return name if is_hash(name) else hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def commit_hash(tree: str) -> str:
    """Return 40 hex digits that stand for the commit of a proposal."""
    return git_hash(f"c-{git_hash(tree)}")


def run_of(tree: str, lane: Lane = "explore", seed: int = 1) -> str:
    """Return the id of the run that the curator would request of a proposal."""
    return f"{git_hash(tree)[:16]}-{lane}-{seed}"


def content_hash(name: str) -> str:
    """Return 64 hex digits that stand for an evaluator or data of this name."""
    return hashlib.sha256(name.encode()).hexdigest()


def given(*facts: tuple[str, AnyEvent], spec: ArenaSpec = SPEC) -> Board:
    """Return the board of an open arena after these facts, which are posted one second apart.

    Args:
        facts: pairs of author and fact, in order.
        spec: the specification of the arena.
    """
    log = Log(spec)
    log.open()
    for author, fact in facts:
        log.add(author, fact)
    return log.board


class Log:
    """Facts in order, and the `board` that they give; its proposals have no code."""

    def __init__(self, spec: ArenaSpec = SPEC) -> None:
        self.board = Board(arena="a")
        self.spec = spec

    def add(self, author: str, event: AnyEvent, *, after_s: float = 1.0) -> Post:
        """Post the next fact, fold it into the board, and return its post.

        Args:
            author: who posts it.
            event: the fact.
            after_s: seconds after the last fact.
        """
        seq = self.board.seq + 1
        now = self.board.time + dt.timedelta(seconds=after_s) if self.board.seq else BEGAN
        post = Post(id=f"post-{seq}", at=now, author=author, event=event)
        self.board.fold(wire.entry(seq, now, wire.subject_of("a", post), wire.encode(post)))
        return post

    def open(self, commit: str = "", tree: str = "base") -> Post:
        """Open the arena."""
        return self.add("operator", opened(self.spec, commit, tree))

    def propose(self, tree: str, author: str = "ann", *, how: str = "sampler") -> Post:
        """Post a proposal, whose title is this name."""
        origin = Origin(how="baseline" if how == "baseline" else "sampler")
        event = ProposalPosted(tree=git_hash(tree), commit=commit_hash(tree), title=tree, origin=origin)
        return self.add(author, event)

    def request(self, tree: str, *, seed: int = 1, lane: Lane = "explore") -> str:
        """Request a run and return its id."""
        event = requested(tree, seed=seed, lane=lane, spec=self.spec)
        self.add("curator", event)
        return event.run

    def finish(self, run: str, result: float | FailureReason, *, worker_class: str = "cpu") -> Post:
        """Finish a run with a score, or with the reason of its failure."""
        outcome = Failed(reason=result, message="") if isinstance(result, str) else Scored(value=result)
        tree = self.board.runs[run].requested.proposal
        event = RunFinished(run=run, proposal=tree, outcome=outcome, worker="w", worker_class=worker_class)
        return self.add("w", event)

    def score(self, tree: str, *results: float | FailureReason) -> Post:
        """Run a proposal once for each result, with seeds from 1 on, and return the last post."""
        runs = [self.request(tree, seed=seed) for seed in range(1, len(results) + 1)]
        return [self.finish(run, result) for run, result in zip(runs, results, strict=True)][-1]

    def promote(self, tree: str, *, mean: float = 0.0) -> Post:
        """Make a proposal the champion, as the curator would."""
        event = ProposalPromoted(proposal=git_hash(tree), round=self.board.round, met=self.board.champion, mean=mean)
        return self.add("curator", event)

    def retire(self, tree: str, *, why: Literal["blocked", "failed", "not_better", "killed"] = "not_better") -> Post:
        """Retire a proposal, as the curator would."""
        event = ProposalRetired(proposal=git_hash(tree), round=self.board.round, why=why, met=self.board.champion)
        return self.add("curator", event)


def opened(spec: ArenaSpec = SPEC, commit: str = "", tree: str = "base") -> ArenaOpened:
    """Return the fact that opens an arena."""
    return ArenaOpened(
        version=1,
        spec=spec,
        base_commit=commit or commit_hash("base"),
        base_tree=git_hash(tree),
        evaluator=content_hash("e"),
    )


def requested(tree: str, *, seed: int = 1, lane: Lane = "explore", spec: ArenaSpec = SPEC) -> RunRequested:
    """Return the request of a run of a proposal, as the curator would post it."""
    return RunRequested(
        run=run_of(tree, lane, seed),
        lane=lane,
        proposal=git_hash(tree),
        commit=commit_hash(tree),
        seed=seed,
        budget_s=spec.trial.budget_s,
        deadline_s=spec.trial.deadline_s,
        worker_class=spec.worker.class_,
        evaluator=content_hash("e"),
        version=1,
    )


class Arena(Log):
    """An open arena whose proposals have code.

    Attributes:
        bus: an empty log in memory, for a test that runs agents in a loop (`mesh.agent.runtime.run_agents`).
        code: the code store, from which a test reads commits; it shares commits on `bus`.
        base: the tree of the baseline.
        opening: the post that opened the arena.
    """

    def __init__(self, folder: Path, files: Mapping[str, bytes] | None = None, spec: ArenaSpec = SPEC) -> None:
        """Open an arena.

        Args:
            folder: an empty folder for the code store.
            files: contents of the arena's files by path; by default `FILES`.
            spec: the specification of the arena.
        """
        super().__init__(spec)
        self.bus = MemoryBus("a")
        self.code = CodeStore(folder / "code.git", self.bus)
        base = self.code.commit(files or FILES, message="base", author="operator", at=BEGAN)
        self.base, self.opening = base.tree, self.open(base.commit, base.tree)

    def context(self, name: str, options: Mapping[str, str] | None = None, *, index: int = 0) -> Context:
        """Return the argument of a role's constructor.

        Args:
            name: the role's name on the board.
            options: the options that the command line would set.
            index: its place among the agents of its process, from 0.
        """
        return Context(name, index, CodeReader(self.code), dict(options or {}))

    async def when(self, agent: Agent, what: Post | dt.datetime | None = None, *, name: str = "ann") -> list[AnyEvent]:
        """Call a role and return its facts, with drafts turned into proposals; `add` posts a fact.

        Args:
            agent: the role.
            what: a post calls `handle`, a time calls `tick`, None calls `joined`.
            name: the role's name on the board.

        Raises:
            BadInput: the role answers something that cannot be posted; its users would see the same sentence.
        """
        answers: Answers | None = None
        if isinstance(what, Post):
            answers = await agent.handle(what, self.board)
        elif isinstance(what, dt.datetime) and isinstance(agent, Ticking):
            answers = await agent.tick(what, self.board)
        elif what is None and isinstance(agent, Joining):
            answers = await agent.joined(self.board)
        return await self.facts(answers, agent, name=name, at=what.at if isinstance(what, Post) else None)

    async def facts(
        self, answers: Answers | None, agent: Agent, *, name: str = "ann", at: dt.datetime | None = None
    ) -> list[AnyEvent]:
        """Return the facts that the runtime would post for the answers of a role.

        Args:
            answers: the return value of a method of the role.
            agent: the role.
            name: the role's name on the board.
            at: the time of the commits; by default the time of the last entry.
        """
        author, as_of = Author(name, role_of(agent)), self.board.seq
        return await to_facts(checked(answers, "handle"), author, self.board, self.code, at or self.board.time, as_of)

    def propose_baseline(self, author: str = "eve") -> Post:
        """Post the unchanged artifact as a proposal."""
        origin = Origin(how="baseline")
        return self.add(
            author, ProposalPosted(tree=self.base, commit=self.base_commit, title="as it is", origin=origin)
        )

    def propose_files(self, files: Mapping[str, bytes], author: str = "ann") -> Post:
        """Post a proposal that has exactly these files."""
        made = self.code.commit(files, parents=[self.base_commit], message="m", author=author, at=BEGAN)
        event = ProposalPosted(tree=made.tree, commit=made.commit, title="by hand", origin=Origin(how="human"))
        return self.add(author, event)

    @property
    def base_commit(self) -> str:
        """The commit of the baseline."""
        assert self.board.opened is not None
        return self.board.opened.base_commit
