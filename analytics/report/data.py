"""What a report shows, as plain data. Text in it is as others wrote it: the formats make it harmless."""

from typing import Any

import msgspec

from mesh.events import KnobChange

TRACED = 30
"""Steps of the champion's lineage that are shown."""


class Goal(msgspec.Struct, frozen=True):
    """The arena as of `head`; `sign` is 1 where greater is better, else -1. `proof_share` is None for the default.

    `elapsed_s` are the seconds since the latest version was opened, `whole_s` those since the first one was.
    """

    summary: str
    metric: str
    sign: int
    exact: bool
    version: int
    evaluator: str
    base_tree: str
    base_commit: str
    state: str
    closed_because: str | None
    head: int
    last_at: str
    elapsed_s: float
    proof_share: float | None = None
    whole_s: float = 0.0


class FinishedRun(msgspec.Struct, frozen=True):
    """A finished run; `value` is None where it failed or another evaluator scored it, `kept` marks a champion's.

    Where there are many runs, it stands for `count` runs that are alike but for their numbers: `seconds` and `usd` are
    their sums, the rest is of the first. `number` is the place of that one among all, from 1.
    """

    seq: int
    value: float | None
    lane: str
    reason: str
    kept: bool
    worker_class: str
    seconds: float
    usd: float | None
    self_reported: bool
    failed: bool
    number: int
    count: int = 1


class Measured(msgspec.Struct, frozen=True):
    """A proposal's mean over `fresh` scores with its 95 % interval, and the mean that search had `claimed`.

    Without a fresh score, `mean` is the claim. `also` has the means of other numbers of the scores, by name.
    `sealed` is the score on the sealed split, and `gap` by how much better `mean` looks. `trial_s` is the mean wall
    time of its trials, in seconds.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    fresh: int = 0
    claimed: float | None = None
    self_reported: bool = False
    state: str = ""
    also: dict[str, float] = {}
    sealed: float | None = None
    gap: float | None = None
    trial_s: float | None = None


NOTHING = Measured()


class Promotion(msgspec.Struct, frozen=True):
    """A proposal that became champion after `after_runs` runs; `state` is what became of it."""

    number: int
    after_runs: int
    proposal: str
    title: str
    author: str
    kind: str
    state: str
    value: Measured
    p_better: float | None
    gain: float | None


class Step(msgspec.Struct, frozen=True):
    """An ancestor of the champion; `how` is its origin, `kind` the sampler or model that made it."""

    proposal: str
    how: str
    title: str
    author: str
    kind: str
    rationale: str
    commit: str
    parents: list[str]
    knobs: tuple[KnobChange, ...]
    state: str
    value: Measured


class Kind(msgspec.Struct, frozen=True):
    """A kind of author: what its proposals took and how often one was the best so far; seconds of a worker."""

    how: str
    name: str
    proposals: int
    runs: int
    failed: int
    killed: int
    bests: int
    worker_s: float
    usd: float | None


class Participant(msgspec.Struct, frozen=True):
    """Who took part: what was proposed and earned under a name, and what was spent on these ideas."""

    name: str
    role: str
    model: str
    proposals: int
    scored: int
    promoted: int
    improvement: float
    worker_s: float
    usd: float | None
    usd_unknown: int
    tokens: int


class ReportData(msgspec.Struct, frozen=True):
    """Everything that a report shows; `steps` go from the champion back to its beginning, rows are as in `sql/`.

    Where there are many runs, each of `runs` stands for several.
    """

    arena: str
    goal: Goal
    runs: list[FinishedRun]
    measured: dict[str, Measured]
    promotions: list[Promotion]
    steps: list[Step]
    kinds: list[Kind]
    noise: list[list[Any]]
    states: list[list[Any]]
    critics: list[list[Any]]
    cost: list[list[Any]]
    knobs: list[list[Any]]
    failures: list[list[Any]]
    blocked: list[list[Any]]
    screening: list[list[Any]] = []
    members: list[Participant] = []
    not_counted: list[list[Any]] = []

    @property
    def finished(self) -> int:
        """How many runs have finished."""
        return sum(run.count for run in self.runs)

    @property
    def is_thinned(self) -> bool:
        """Whether some of `runs` stand for several."""
        return len(self.runs) < self.finished

    @property
    def baseline(self) -> Measured:
        """The score of the baseline."""
        return self.measured.get(self.goal.base_tree, NOTHING)

    @property
    def champion(self) -> Promotion | None:
        """The promotion of the current champion."""
        return self.promotions[-1] if self.promotions else None

    @property
    def self_reported(self) -> bool:
        """Whether any score is self-reported."""
        return any(run.self_reported for run in self.runs)

    def code_wanted(self) -> list[tuple[str, str, str]]:
        """Return the proposals whose knobs do not say what they changed, each with its commit and the one before."""
        before = [step.commit for step in self.steps[1:]] + [self.goal.base_commit]
        pairs = zip(self.steps[:TRACED], before, strict=False)
        return [
            (step.proposal, step.commit, parent)
            for step, parent in pairs
            if step.commit != parent and not (step.how == "sampler" and step.knobs)
        ]
