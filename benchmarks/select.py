"""What is promoted under noise, and what is published about it: the curator's rules against the best single score.

Candidates have a true quality, drawn from a normal distribution with standard deviation 1; a score is the quality plus
noise of standard deviation `sd`. Every candidate gets one search run. Then the real `decide` requests runs until
nothing is due or its extra runs are spent, and its champion is compared with the candidate of the best single score,
which needs no extra runs. `regret` is how far the true quality of the chosen candidate is below the best one's. `bias`
is the published value minus the true quality, as an absolute mean over repetitions. Ratios are of means over
repetitions, with bootstrap intervals. In the arm `paired`, scores on one seed correlate by 0.8. With noise of 1.5 and
20 extra runs, the goals are 1.1 times what a gate reaches that knows the noise and looks once. There is no clock, bus
or worker.
"""

import datetime as dt
import math
import random
import statistics
from collections.abc import Sequence

import msgspec

from agents.curation.admission import decide
from benchmarks.parts.harness import Figures, Goal, say, told
from benchmarks.parts.parallel import on_all_cores
from mesh import events as e
from mesh import wire
from mesh.board import Board
from mesh.evidence import fresh
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.testing import commit_hash, content_hash, git_hash, run_of
from mesh.wire import Post

SIZES, NOISES, EXTRA = (100, 1000), (0.5, 1.5), (20, 60)
CORRELATION = 0.8
GATE = {100: 0.95, 1000: 0.86}
"""Regret of a gate that knows the noise, with noise of 1.5 and 20 extra runs, by number of candidates."""

ARMS = [(size, sd, extra, 0.0) for size in SIZES for sd in NOISES for extra in EXTRA] + [
    (size, 1.5, 20, CORRELATION) for size in SIZES
]


def _name(size: int, sd: float, extra: int, correlation: float) -> str:
    return f"n{size}.sd{sd:g}.extra{extra}" + (".paired" if correlation else "")


GOALS: dict[str, Goal] = {
    **{f"regret.{_name(*arm)}": ("<=", 0.6) for arm in ARMS},
    **{f"regret.{_name(size, 1.5, 20, 0.0)}": ("<=", round(1.1 * gate, 3)) for size, gate in GATE.items()},
    **{f"bias.{_name(*arm)}": ("<=", 0.25) for arm in ARMS},
}
BEGAN = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
SPEC = ArenaSpec(
    name="select",
    objective=ObjectiveSpec(metric="quality", direction="maximize"),
    artifact=ArtifactSpec(editable=("train.py",)),
    trial=TrialSpec(command=("python", "train.py"), budget_s=1, deadline_s=2),
    score=ScoreSpec(how="command", command=("python", "score.py")),
)


class Chosen(msgspec.Struct, frozen=True):
    """The choice of one method: its regret, and the signed error of the published value."""

    regret: float
    error: float


class World:
    """A board whose runs are answered at once with noisy qualities; the baseline's quality is the mean of all, 0."""

    def __init__(self, qualities: Sequence[float], sd: float, rng: random.Random, correlation: float = 0.0) -> None:
        self.board = Board(arena="select")
        self._rng, self._sd, self._correlation = rng, sd, correlation
        self._shared: dict[int, float] = {}
        self.quality = {git_hash("base"): 0.0} | {
            git_hash(f"p{number}"): quality for number, quality in enumerate(qualities)
        }
        self._add(
            e.ArenaOpened(
                version=1, spec=SPEC, base_commit=git_hash("c"), base_tree=git_hash("base"), evaluator=content_hash("e")
            )
        )
        self._add(e.WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=8))
        for tree in self.quality:
            self._add(e.ProposalPosted(tree=tree, commit=commit_hash(tree), title=tree, origin=e.Origin(how="sampler")))

    def _add(self, event: e.AnyEvent) -> None:
        seq = self.board.seq + 1
        post = Post(id=f"post-{seq}", at=BEGAN, author="a", event=event)
        self.board.fold(wire.entry(seq, BEGAN, wire.subject_of("select", post), wire.encode(post)))

    def answer(self, request: e.RunRequested) -> None:
        """Execute a requested run."""
        self._add(request)
        value = self.quality[request.proposal] + self._rng.gauss(0, self._sd * math.sqrt(1 - self._correlation))
        if self._correlation:
            if request.seed not in self._shared:
                self._shared[request.seed] = self._rng.gauss(0, self._sd * math.sqrt(self._correlation))
            value += self._shared[request.seed]
        self._add(
            e.RunFinished(
                run=request.run,
                proposal=request.proposal,
                outcome=e.Scored(value=value),
                worker="w",
                worker_class="cpu",
            )
        )

    def search(self) -> None:
        """Run every candidate once, before any verdict, and the baseline until its noise is known."""
        for tree in self.quality:
            self.answer(
                e.RunRequested(
                    run=run_of(tree),
                    lane="explore",
                    proposal=tree,
                    commit=commit_hash(tree),
                    seed=1,
                    budget_s=1,
                    deadline_s=2,
                )
            )
        while not self.board.champion:
            self.step()

    def step(self, most: int = 100) -> int | None:
        """Let the curator decide once; return how many runs it requested, None for none or more than `most`."""
        events = decide(self.board, BEGAN)
        runs = [event for event in events if isinstance(event, e.RunRequested)]
        for event in events:
            if not isinstance(event, e.RunRequested):
                self._add(event)
        if not events or len(runs) > most:
            return None
        for run in runs:
            self.answer(run)
        return len(runs)

    def decide(self, extra: int) -> Chosen:
        """Let the curator decide until nothing is due or the extra runs are spent; return its champion."""
        while (count := self.step(extra)) is not None:
            extra -= count
        champion = self.board.champion
        values = list(fresh(self.board, champion).values())
        return self._chosen(champion, sum(values) / len(values))

    def best_single(self) -> Chosen:
        """Return the candidate with the best search score."""
        scores = {tree: self.board.runs[run_of(tree)].value or 0.0 for tree in self.quality}
        best = max(scores, key=lambda tree: scores[tree])
        return self._chosen(best, scores[best])

    def _chosen(self, tree: str, published: float) -> Chosen:
        return Chosen(max(self.quality.values()) - self.quality[tree], published - self.quality[tree])


async def measure(quick: bool) -> Figures:
    """Return regret and bias as ratios to the best single score, by size, noise and number of extra runs."""
    figures: Figures = {}
    for size, sd, extra, correlation in ARMS:
        count = (20 if quick else 800) // (4 if size > 100 else 1)
        jobs = [(size, sd, extra, repetition, correlation) for repetition in range(count)]
        pairs = on_all_cores(_repetition, jobs)
        name = _name(size, sd, extra, correlation)
        found = _figures(name, [ours for ours, _ in pairs], [single for _, single in pairs])
        say(f"{count} repetitions: {told(found)}")
        figures |= found
    return figures


def _repetition(job: tuple[int, float, int, int, float]) -> tuple[Chosen, Chosen]:
    return _once(*job)


def _once(size: int, sd: float, extra: int, seed: int, correlation: float = 0.0) -> tuple[Chosen, Chosen]:
    rng = random.Random(f"{size} {sd} {extra} {seed}" + (f" {correlation}" if correlation else ""))
    world = World([rng.gauss(0, 1) for _ in range(size)], sd, rng, correlation)
    world.search()
    return world.decide(extra), world.best_single()


def _figures(name: str, ours: Sequence[Chosen], single: Sequence[Chosen]) -> Figures:
    rng = random.Random(name)
    draws = []
    for _ in range(500):
        places = rng.choices(range(len(ours)), k=len(ours))
        draws.append(_ratios([ours[place] for place in places], [single[place] for place in places]))
    regret, bias = _ratios(ours, single)
    return {
        f"regret.{name}": regret,
        f"regret_high.{name}": sorted(draw[0] for draw in draws)[int(0.975 * len(draws))],
        f"bias.{name}": bias,
        f"bias_high.{name}": sorted(draw[1] for draw in draws)[int(0.975 * len(draws))],
    }


def _ratios(ours: Sequence[Chosen], single: Sequence[Chosen]) -> tuple[float, float]:
    regrets = [statistics.fmean(chosen.regret for chosen in side) for side in (ours, single)]
    biases = [abs(statistics.fmean(chosen.error for chosen in side)) for side in (ours, single)]
    return regrets[0] / max(regrets[1], 1e-12), biases[0] / max(biases[1], 1e-12)
