"""What one decision of each role costs (ms of CPU time) after 200 to 200,000 runs of history.

The history is made up: explorers propose new values of four knobs, each runs once, some in twenty fail, some in forty
run on fresh seeds, and what has a score is retired. Then, again and again, one more proposal is posted and its run
finished, and each role decides: the explorer reads the history, tells what is near and whether the search is paused;
the critic judges the proposal and its score; the curator decides. `curator.reopened` is a decision in an arena whose
second version has another evaluator and began in the first tenth of the history. `p99_ms.*` are from the longest
history, a million facts, and `growth.*` is the median cost there over that at ten thousand facts.
"""

import datetime as dt
import hashlib
import random
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
from msgspec.structs import replace

from agents.critic import judge
from agents.critique.claim_sums import ClaimSums
from agents.critique.earlier import Earlier
from agents.critique.fingerprint import Fingerprint, fingerprint
from agents.critique.shrinkage import judge_score
from agents.curation.admission import decide
from agents.search.history import History
from agents.search.samplers.protocol import Values
from benchmarks.parts.evaluation_task import PROGRAM
from benchmarks.parts.harness import Figures, Goal, say
from mesh import events as e
from mesh import wire
from mesh.board import Board
from mesh.knobs import find_knobs
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.stalled import why_paused
from mesh.wire import Post

ROLES = ("explorer", "critic.judge", "critic.score", "curator", "curator.reopened")
GOALS: dict[str, Goal] = {
    **{f"growth.{role}": ("<=", 1.5) for role in ROLES},
    **{f"p99_ms.{role}": ("<=", 5.0) for role in ROLES},
}
SIZES = (200, 2000, 20_000, 200_000)
FEW = 2000
"""`growth.*` compares the longest history with one of so many runs, about 10,000 facts; a quick run with the first."""
FILE = "initial_program.py"
BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CLASS = "cpu-x86_64"


async def measure(quick: bool) -> Figures:
    """Return CPU milliseconds per decision of each role, by the length of the history."""
    sizes = SIZES[:2] if quick else SIZES
    figures: Figures = {}
    made, reopened = Made(), Made()
    reopened.until(sizes[0] // 10)
    reopened.open_again()
    for size in sizes:
        made.until(size)
        reopened.until(size)
        found = await made.decisions(10 if quick else 200)
        again = await reopened.decisions(10 if quick else 200)
        spent = {**found, "curator.reopened": again["curator"]}
        for name, each in spent.items():
            figures[f"{name}_ms.{size}"] = statistics.median(each)
            figures[f"p99_ms.{name}"] = sorted(each)[int(0.99 * len(each))]
        say(f"{size} runs: " + ", ".join(f"{name} {statistics.median(each):.2f} ms" for name, each in spent.items()))
    few = sizes[0] if quick else FEW
    for name in ROLES:
        figures[f"growth.{name}"] = figures[f"{name}_ms.{sizes[-1]}"] / max(0.05, figures[f"{name}_ms.{few}"])
    return figures


class Made:
    """A made-up history, and what the roles keep of it."""

    def __init__(self) -> None:
        self._rng, self._seq, self._count = random.Random(1), 0, 0
        self.board = Board(arena="a")
        self._files = {FILE: PROGRAM.encode()}
        self._first = fingerprint(self._files, (FILE,))
        self._knobs = find_knobs(FILE, PROGRAM)
        self._history = History(self._read)
        self._earlier, self._claims = Earlier(), ClaimSums()
        spec = ArenaSpec(
            name="a",
            objective=ObjectiveSpec(metric="loss", direction="minimize"),
            artifact=ArtifactSpec(editable=(FILE,)),
            trial=TrialSpec(command=("python", FILE), budget_s=1, deadline_s=2),
            score=ScoreSpec(how="command", command=("python", "score.py")),
        )
        self._base, self._evaluator = _hash("base"), "0" * 64
        self._opened = e.ArenaOpened(
            version=1, spec=spec, base_commit=self._base, base_tree=self._base, evaluator=self._evaluator
        )
        self._fold("operator", self._opened)
        self._fold("w", e.WorkerJoined(boot="w", worker_class=CLASS, device="cpu", slots=1))
        self._fold("x", e.AgentJoined(boot="x", role="explorer"))
        self._propose(self._base, {})
        for seed in range(1, 5):
            self._run(self._base, "control" if seed > 1 else "explore", seed, 1.0)
        promoted = e.ProposalPromoted(proposal=self._base, round=1, met="", mean=1.0, low=0.9, high=1.1)
        self._fold("curator", promoted)

    def open_again(self) -> None:
        """Open a second version with another evaluator, which scores the baseline again."""
        self._evaluator = "1" * 64
        self._fold("operator", replace(self._opened, version=2, evaluator=self._evaluator))
        for seed in range(11, 15):
            self._run(self._base, "control", seed, 1.0)

    async def _read(self, board: Board, tree: str) -> dict[str, bytes]:
        return self._files

    def _fold(self, author: str, event: e.AnyEvent) -> None:
        self._seq += 1
        at = BEGAN + dt.timedelta(seconds=self._seq * 0.01)
        post = Post(id=f"post-{self._seq}", at=at, author=author, event=event)
        subject = wire.subject_of("a", post)
        self.board.fold(wire.entry(self._seq, at, subject, wire.encode(post)))

    def _propose(self, tree: str, values: dict[str, float]) -> None:
        changes = tuple(e.KnobChange(file=FILE, name=name, old=0.5, new=new) for name, new in values.items())
        how = e.Origin(how="sampler", name="mutate")
        parents = (self._base,) if values else ()
        posted = e.ProposalPosted(tree=tree, commit=tree, parents=parents, title="t", knobs=changes, origin=how)
        self._fold("x", posted)

    def _run(self, tree: str, lane: e.Lane, seed: int, score: float) -> str:
        name = f"{tree[:10]}-{lane}-{seed}"
        asked = e.RunRequested(
            run=name,
            lane=lane,
            proposal=tree,
            commit=tree,
            seed=seed,
            budget_s=1,
            deadline_s=2,
            evaluator=self._evaluator,
            version=self.board.opened.version if self.board.opened else 1,
        )
        self._fold("curator", asked)
        self._fold("w", e.RunStarted(run=name, attempt=1, worker="w"))
        fails = seed > 0 and self._rng.random() < 0.05 and tree != self._base
        outcome: Any = e.Failed(reason="crash", message="made up") if fails else e.Scored(value=score)
        ended = e.RunFinished(
            run=name,
            proposal=tree,
            outcome=outcome,
            worker="w",
            worker_class=CLASS,
            trial_s=0.01,
            evaluator=self._evaluator,
        )
        self._fold("w", ended)
        return name

    def _add(self, *, retire: bool = True) -> tuple[str, str]:
        """Add a proposal with its run; return both."""
        self._count += 1
        tree = _hash(str(self._count))
        values = {knob.name: round(self._rng.uniform(0.1, 5.0), 6) for knob in self._knobs}
        self._propose(tree, values)
        known = self._known(tree, values)
        self._earlier.add(tree, known)
        score = 1.2 + sum(abs(value - 1.0) for value in values.values()) / 10 + self._rng.gauss(0, 0.05)
        run = self._run(tree, "explore", 1, score)
        if self._count % 40 == 0:
            self._run(tree, "confirm", 1001, score + self._rng.gauss(0, 0.05))
            self._run(self._base, "control", 1000 + self._count, 1.0 + self._rng.gauss(0, 0.05))
        if retire:
            self._fold("curator", e.ProposalRetired(proposal=tree, round=1, why="not_better", met=self._base))
        return tree, run

    def _known(self, tree: str, values: dict[str, float]) -> Fingerprint:
        knobs = tuple(replace(knob, value=values[knob.name]) for knob in self._knobs)
        return Fingerprint(meaning=tree, seedless=tree, knobless=self._first.knobless, knobs=knobs)

    def until(self, runs: int) -> None:
        """Extend the history to this many runs."""
        while len(self.board.runs) < runs:
            self._add()

    async def decisions(self, count: int) -> dict[str, list[float]]:
        """Return the CPU times (ms) of the decisions after each of `count` more runs."""
        spent: dict[str, list[float]] = {}
        await self._history.read(self.board)
        for _ in range(count + 1):
            tree, run = self._add(retire=False)
            async for name, ms in self._timed(tree, run):
                spent.setdefault(name, []).append(ms)
            self._fold("curator", e.ProposalRetired(proposal=tree, round=1, why="not_better", met=self._base))
            await anyio.lowlevel.checkpoint()
        return {name: each[1:] for name, each in spent.items()}

    async def _timed(self, tree: str, run: str) -> AsyncIterator[tuple[str, float]]:
        board = self.board
        with_time = Clock()
        await self._history.read(board)
        why_paused(board)
        values: Values = {(FILE, knob.name): self._rng.uniform(0.1, 5.0) for knob in self._knobs}
        self._history.is_near(self._knobs, values)
        yield "explorer", with_time.ms()
        files = {FILE: PROGRAM.replace("0.5", f"0.{self._count}").encode()}
        judge(board.spec, tree, files, self._files, self._earlier, ended=lambda _: True)
        yield "critic.judge", with_time.ms()
        judge_score(board, run, self._claims)
        yield "critic.score", with_time.ms()
        decide(board, board.time)
        yield "curator", with_time.ms()


class Clock:
    """CPU time of this process since it was last asked."""

    def __init__(self) -> None:
        self._last = time.process_time()

    def ms(self) -> float:
        """Return the milliseconds since the last call."""
        before, self._last = self._last, time.process_time()
        return (self._last - before) * 1000


def _hash(name: str) -> str:
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
