"""The outcomes of a run, as `run.finished` carries them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mesh import bounds as b

FailureReason = Literal[
    "timeout",
    "out_of_memory",
    "crash",
    "no_score",
    "bad_score",
    "lost",
    "killed",
    "over_budget",
    "infeasible",
    "screened_out",
]


class Scored(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="how", tag="scored"):
    """The run ended with a score. `self_reported` is true if the candidate's own code could forge it."""

    value: b.Number
    metrics: Annotated[dict[b.Word, b.Number], Meta(max_length=b.MAX_ITEMS)] = {}
    self_reported: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="how", tag="failed"):
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


class ScreenedOut(Failed, frozen=True, kw_only=True, tag_field="how", tag="screened_out"):
    """A stage ended the run, because its number misses the threshold of the stage. It is no score.

    `value` is that number. `violation` is above 0: how far it misses the threshold, as a share of it. `left` is the
    number of stages that did not run.
    """

    reason: Literal["screened_out"] = "screened_out"
    stage: b.Word
    value: b.Number
    violation: b.Amount
    left: b.Count = 1
    metrics: Annotated[dict[b.Word, b.Number], Meta(max_length=b.MAX_ITEMS)] = {}
    self_reported: bool = False


def how_it_ended(outcome: Scored | Failed) -> str:
    """Return how a run ended, in words: early stopping and `mesh kill` are no failure of it."""
    if isinstance(outcome, Infeasible | ScreenedOut):
        return outcome.reason.replace("_", " ")
    if isinstance(outcome, Failed):
        return "stopped early" if is_early_stopped(outcome) else f"failed ({outcome.reason})"
    return "scored"


def is_early_stopped(outcome: Scored | Failed) -> bool:
    """Tell whether early stopping, the budget or `mesh kill` ended a run, which is no failure of it."""
    return isinstance(outcome, Failed) and outcome.reason == "killed"


def reason_words(reason: str) -> str:
    """Return a reason, a state or a why in words: `killed` is early stopping."""
    return "stopped early" if reason == "killed" else reason.replace("_", " ")


def badness(outcome: Infeasible | ScreenedOut) -> tuple[int, float]:
    """Return a key by which candidates without a score are ordered: who came further first, then by violation."""
    return (outcome.left + 1 if isinstance(outcome, ScreenedOut) else 0), outcome.violation


class StageEnd(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stage that ran. `value` is null where it gave no number; the seconds are wall seconds."""

    stage: b.Word
    value: b.Number | None = None
    trial_s: b.Amount = 0.0
    score_s: b.Amount = 0.0


StageEnds = Annotated[tuple[StageEnd, ...], Meta(max_length=100)]
"""The stages that a run went through, in their order."""
