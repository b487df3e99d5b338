"""A made-up but lifelike log of an arena of any length, and how it is folded: noise, failures, races, controls."""

import math
import random
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from analytics.projection import Projection
from mesh import events as e
from mesh.events import FailureReason, Lane
from mesh.testing import commit_hash, content_hash, git_hash
from mesh.wire import Entry
from tests.support.history import SPEC, Fact, entries

BASE = git_hash("base")
NOISE = 0.02
SAMPLERS = ("sobol", "cmaes", "tpe", "mutate", "crossover")
FAILURES: tuple[FailureReason, ...] = ("crash", "crash", "timeout", "out_of_memory", "bad_score")
CRASHES = ("RuntimeError: mat1 and mat2 shapes cannot be multiplied ({n}x64 and 32x64)", "ZeroDivisionError: float")
IDEAS = ("longer warmup, then cosine", "normalise before attention", "drop the last layer's bias", "tie the embeddings")
KNOBS = {"LEARNING_RATE": 3e-4, "WIDTH": 64.0, "DEPTH": 4.0, "MOMENTUM": 0.9, "WEIGHT_DECAY": 0.01, "DROPOUT": 0.1}


class Research:
    """Facts of an arena until so many runs have finished; the same for the same arguments."""

    def __init__(self, runs: int, *, maximize: bool = False, exact: bool = False, begin: float = 3.54) -> None:
        direction = "maximize" if maximize else "minimize"
        goal = replace(SPEC.objective, direction=direction, noise="none" if exact else "measured")
        self.spec = replace(SPEC, objective=goal, summary="Train a small model as well as a minute allows")
        self._runs, self._sign, self._noise = runs, 1 if maximize else -1, 0.0 if exact else NOISE
        self._rng = random.Random(f"{runs} {maximize} {exact}")
        self._true, self._knobs = {BASE: begin}, {BASE: dict(KNOBS)}
        self._champion, self._round, self._finished, self._seed = "", 0, 0, 0

    def facts(self) -> Iterator[Fact]:
        """Yield who says what."""
        yield (
            "operator",
            e.ArenaOpened(
                version=1,
                spec=self.spec,
                base_commit=commit_hash(BASE),
                base_tree=BASE,
                evaluator=content_hash("ev"),
            ),
        )
        for number in (1, 2):
            yield f"explorer-{number}", e.AgentJoined(boot=f"boot-{number}", role="explorer")
        yield "researcher-1", e.AgentJoined(boot="boot-3", role="researcher", model="local/thinker")
        yield "worker-1", e.WorkerJoined(boot="w1", worker_class="cuda-h200", device="cuda:0", slots=4)
        yield "explorer-1", _proposal(BASE, (), "as it is", e.Origin(how="baseline"))
        if not self._runs:
            return
        for _ in range(3):
            yield from self._run(BASE, "explore")
        yield from self._promote(BASE)
        while self._finished < self._runs:
            yield from self._idea()
            if self._finished % 40 == 20:
                yield from self._run(self._champion, "control")

    def entries(self) -> list[Entry]:
        """Return the log."""
        return entries(list(self.facts()), every_s=0.7)

    def fold(self, path: Path) -> Path:
        """Fold the log into the file at `path` and return it."""
        projection = Projection.open(path)
        projection.checkpoint("a", "made up", 0)
        projection.append("a", "made up", self.entries())
        projection.close()
        return path

    def _idea(self) -> Iterator[Fact]:
        rng, tree = self._rng, f"{self._rng.getrandbits(160):040x}"
        true = self._true[self._champion] + self._sign * self._effect(rng)
        self._true[tree], self._knobs[tree] = true, dict(self._knobs[self._champion])
        yield self._words(tree)
        if rng.random() < 0.05:
            yield "critic-1", e.CritiquePosted(target=tree, verdict="block", rule="near_duplicate", text="seen before")
            yield "curator-1", e.ProposalRetired(proposal=tree, round=self._round, why="blocked")
            return
        yield "critic-1", e.CritiquePosted(target=tree, verdict="endorse", rule="sound", confidence=0.1)
        if rng.random() < 0.08:
            yield from self._run(tree, "explore", failed=rng.choice(FAILURES))
            yield "curator-1", e.ProposalRetired(proposal=tree, round=self._round, why="failed")
            return
        if rng.random() < 0.1:
            yield from self._run(tree, "explore", failed="killed")
            return
        yield from self._run(tree, "explore")
        if self._sign * (self._last - self._true[self._champion]) > self._noise:
            yield from self._race(tree)

    def _effect(self, rng: random.Random) -> float:
        """Return a true gain: most ideas are worse, few are better, and ever less so."""
        if rng.random() < 0.12:
            return rng.expovariate(1 / 0.12) / math.pow(1 + self._round / 2, 1.3)
        return -rng.expovariate(1 / 0.25) if rng.random() < 0.9 else -rng.expovariate(1 / 3)

    def _words(self, tree: str) -> Fact:
        rng, parents = self._rng, (self._champion,)
        if rng.random() < 0.2:
            origin, cost = (
                e.Origin(how="model", name="local/thinker"),
                e.Cost(usd=0.002, tokens_in=4000, tokens_out=700),
            )
            return "researcher-1", _proposal(tree, parents, rng.choice(IDEAS), origin, cost=cost)
        sampler, changes = rng.choice(SAMPLERS), []
        for name in rng.sample(sorted(KNOBS), rng.choice((1, 1, 2, 3))):
            old = self._knobs[tree][name]
            self._knobs[tree][name] = new = float(f"{old * rng.lognormvariate(0, 0.4):.3g}")
            changes.append(e.KnobChange(file="train.py", name=name, old=old, new=new))
        title = f"{sampler}: " + ", ".join(f"{c.name} {c.old:g} → {c.new:g}" for c in changes)
        origin = e.Origin(how="sampler", name=sampler)
        return f"explorer-{rng.choice((1, 2))}", _proposal(tree, parents, title, origin, tuple(changes))

    def _race(self, tree: str) -> Iterator[Fact]:
        gains = []
        for _ in range(6):
            yield from self._run(tree, "confirm")
            gains.append(self._sign * self._last)
            yield from self._run(self._champion, "confirm")
            gains[-1] -= self._sign * self._last
        if sum(gains) / len(gains) > self._noise:
            yield from self._promote(tree)
        else:
            yield "curator-1", e.ProposalRetired(proposal=tree, round=self._round, why="not_better", met=self._champion)

    def _promote(self, tree: str) -> Iterator[Fact]:
        self._round += 1
        yield (
            "curator-1",
            e.ProposalPromoted(
                proposal=tree, round=self._round, met=self._champion, mean=self._true[tree], p_better=0.99
            ),
        )
        self._champion = tree

    def _run(self, tree: str, lane: Lane, *, failed: FailureReason | None = None) -> Iterator[Fact]:
        self._seed += 1
        self._finished += 1
        self._last = self._true[tree] + self._rng.gauss(0, self._noise)
        run = f"{tree[:12]}-{lane}-{self._seed}"
        said = self._rng.choice(CRASHES).format(n=self._seed) if failed == "crash" else f"{failed} after 62.1 s"
        outcome = e.Failed(reason=failed, message=said) if failed else e.Scored(value=self._last)
        yield (
            "curator-1",
            e.RunRequested(
                run=run,
                lane=lane,
                proposal=tree,
                commit=commit_hash(tree),
                seed=self._seed,
                budget_s=60,
                deadline_s=90,
                evaluator=content_hash("ev"),
            ),
        )
        yield "worker-1", e.RunStarted(run=run, attempt=1, worker="w1")
        yield (
            "worker-1",
            e.RunFinished(
                run=run,
                proposal=tree,
                outcome=outcome,
                worker="w1",
                worker_class="cuda-h200",
                trial_s=20.0 if failed else 60.5,
                score_s=1.5,
                evaluator=content_hash("ev"),
                cost=e.Cost(usd=0.01),
            ),
        )


def _proposal(
    tree: str,
    parents: tuple[str, ...],
    title: str,
    origin: e.Origin,
    knobs: tuple[e.KnobChange, ...] = (),
    cost: e.Cost | None = None,
) -> e.ProposalPosted:
    return e.ProposalPosted(
        tree=tree, commit=commit_hash(tree), parents=parents, title=title, origin=origin, knobs=knobs, cost=cost
    )
