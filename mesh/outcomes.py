"""The outcomes of a run, as `run.finished` carries them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mesh import bounds as b

FailureReason = Literal[
    "timeout", "out_of_memory", "crash", "no_score", "bad_score", "lost", "killed", "over_budget", "infeasible"
]


class Scored(msgspec.Struct, frozen=True, kw_only=True, tag_field="how", tag="scored"):
    """The run ended with a score. `self_reported` is true if the candidate's own code could forge it."""

    value: b.Number
    metrics: Annotated[dict[b.Word, b.Number], Meta(max_length=b.MAX_ITEMS)] = {}
    self_reported: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="how", tag="failed"):
    """The run ended without a score."""

    reason: FailureReason
    message: b.Text


class Infeasible(Failed, frozen=True, kw_only=True, tag_field="how", tag="infeasible"):
    """The run has a value, but a number violates a constraint of the arena, so the value is no score.

    `violation` is above 0: the sum over the constraints of the excess as a share of the bound.
    """

    reason: Literal["infeasible"] = "infeasible"
    value: b.Number
    violation: b.Amount
    metrics: Annotated[dict[b.Word, b.Number], Meta(max_length=b.MAX_ITEMS)] = {}
    self_reported: bool = False
