"""Arenas of known truth: the real curator decides; scores are drawn with a correlation of proposals on one seed.

A score is the quality of its proposal plus noise of standard deviation 1. The noise has a part that all proposals share
on a seed. With `correlation` below 0 the baseline and the others have opposite signs of the shared part.
"""

import datetime as dt
import math
import random
from collections.abc import Callable, Iterable, Mapping

import msgspec

from agents.curation.admission import decide
from mesh import events as e
from mesh.spec import ArenaSpec, ObjectiveSpec, SelectionSpec
from mesh.testing import SPEC, Log, git_hash

BASE = git_hash("base")
"""The baseline."""

Draw = Callable[[random.Random], float]
"""Noise of variance 1."""


def normal(rng: random.Random) -> float:
    """Draw from the normal distribution."""
    return rng.gauss(0, 1)


def student_of_3(rng: random.Random) -> float:
    """Draw from Student's t with 3 degrees of freedom, scaled to variance 1."""
    chi = sum(rng.gauss(0, 1) ** 2 for _ in range(3))
    return rng.gauss(0, 1) / math.sqrt(chi / 3) / math.sqrt(3)


def contaminated(rng: random.Random) -> float:
    """Draw from a normal distribution of which a twentieth is five times as wide, scaled to variance 1."""
    return rng.gauss(0, 5 if rng.random() < 0.05 else 1) / math.sqrt(0.95 + 0.05 * 25)


class CuratedArena:
    """An arena of proposals whose runs are answered at once; the real curator decides on one of 20 slots."""

    def __init__(self, names: Iterable[str], spec: ArenaSpec) -> None:
        self.log = Log(spec)
        self.log.open()
        self.log.add("w", e.WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
        self.log.propose(BASE, how="baseline")
        for number, name in enumerate(names):
            self.log.propose(name, f"author-{number}")

    def answer(self, run: e.RunRequested) -> None:
        """Post the end of a run."""
        raise NotImplementedError

    def compare(self) -> list[e.AnyEvent]:
        """Return what the curator has to post before it decides."""
        return []

    def step(self) -> int | None:
        """Let the curator decide once and answer the runs; return how many, None if nothing is due."""
        events = self.compare() or decide(self.log.board, self.log.board.time + dt.timedelta(seconds=60))
        for event in events:
            self.log.add("curator", event)
        runs = [event for event in events if isinstance(event, e.RunRequested)]
        for run in runs:
            self.answer(run)
        return len(runs) if events else None

    def play(self) -> None:
        """Let the curator decide until nothing is due."""
        for _ in range(2000):
            if self.step() is None:
                return
        raise AssertionError("something is always due")

    @property
    def promotions(self) -> int:
        """The number of promotions without the first champion."""
        return max(0, len(self.log.board.champions) - 1)


class CorrelatedArena(CuratedArena):
    """An arena whose scores are correlated between the proposals of one seed."""

    def __init__(
        self,
        qualities: Mapping[str, float],
        correlation: float,
        draw: Draw,
        seed: str,
        *,
        spec: ArenaSpec | None = None,
    ) -> None:
        super().__init__(qualities, spec or noisy())
        self.rng, self.draw, self.name = random.Random(seed), draw, seed
        self.qualities = {git_hash(name): quality for name, quality in {"base": 0.0, **qualities}.items()}
        self.correlation = correlation

    def score(self, tree: str, seed: int) -> float:
        """Return the score of a proposal on a seed."""
        shared = self.draw(random.Random(f"{self.name} {seed}"))
        sign = -1 if self.correlation < 0 and tree == BASE else 1
        noise = sign * math.sqrt(abs(self.correlation)) * shared
        return self.qualities[tree] + noise + math.sqrt(1 - abs(self.correlation)) * self.draw(self.rng)

    def answer(self, run: e.RunRequested) -> None:
        """Post the score of a run."""
        self.log.finish(run.run, self.score(run.proposal, run.seed))


def noisy(confirm_seeds: int = 16, fdr: float = 0.1) -> ArenaSpec:
    """Return the specification of an arena whose greater scores are better."""
    objective = ObjectiveSpec(metric="quality", direction="maximize")
    return msgspec.structs.replace(
        SPEC, objective=objective, selection=SelectionSpec(confirm_seeds=confirm_seeds, fdr=fdr)
    )
