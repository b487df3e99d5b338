"""The facts of a run before its end: that it is requested, that an attempt begins, and that it is stopped early.

`mesh.events` names them, so other modules import them from there.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from mesh import bounds as b
from mesh.fact import Event
from mesh.fact_values import CurvePoint, Lane

Names = Annotated[tuple[b.Word, ...], Meta(max_length=1000)]
"""Names of workers."""

CurvePoints = Annotated[tuple[CurvePoint, ...], Meta(max_length=b.MAX_ITEMS)]
"""The points of a learning curve, in their order."""


class Audit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an audit checks: the score that a worker gave a run, and by how much another one may differ.

    Where an audit got another score, a second one decides between the two: `other` and `other_value` are the first one.
    """

    run: b.KeyText
    worker: b.Word
    value: b.Number
    tolerance: b.Amount
    other: b.Word = ""
    other_value: b.Number | None = None


class RunRequested(Event, frozen=True, kw_only=True, tag="run.requested"):
    """A run is requested: one execution of one proposal with one seed.

    `avoid` is the boot id of a worker that should not take it. `race` is the number of its race, 0 outside of races;
    logs from before this field also have 0, and there the seed divided by 1000 is the race. `thresholds` are those of
    stages that refer to the champion or the baseline, as numbers: they hold for this run, also after another promotion.
    `instead_of` is a run that this one replaces: the queue has lost it, or only workers in `not_by` were left. Starts
    by workers in `not_by` do not count. The score of an `audit` counts for no proposal; it checks a worker.
    """

    key_tokens: ClassVar[int] = 2
    run: b.KeyText
    lane: Lane
    proposal: b.Tree
    commit: b.GitHash
    seed: b.Integer
    budget_s: b.TimeLimit
    deadline_s: b.TimeLimit
    worker_class: b.Word = "any"
    evaluator: b.OptionalSha256 = ""
    version: b.Version = 1
    avoid: b.Word = ""
    race: b.Race = 0
    thresholds: Annotated[dict[b.Word, b.Number], Meta(max_length=100)] = msgspec.field(default_factory=dict)
    instead_of: b.Word = ""
    not_by: Names = ()
    audit: Audit | None = None

    def key(self, post_id: str) -> str:
        return f"{self.lane}.{self.run}"


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    """A worker begins an attempt of a run. It locks nothing: a second attempt may begin while the first one runs.

    It counts only from the worker whose life it names (`mesh.hand_outs`).
    """

    run: b.KeyText
    attempt: b.Attempt
    worker: b.Word
    device: b.Word = ""

    def key(self, post_id: str) -> str:
        return f"{self.run}-{self.attempt}"


class RunKilled(Event, frozen=True, kw_only=True, tag="run.killed"):
    """The swarm has stopped a run early; `curve` is the evidence."""

    run: b.KeyText
    by: Literal["rule", "operator", "budget"]
    text: b.Text = ""
    curve: CurvePoints = ()

    def key(self, post_id: str) -> str:
        return self.run
