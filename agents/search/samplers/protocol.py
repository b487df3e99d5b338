"""The protocol of a sampler: it returns values for one proposal, and learns from the results of all authors.

All state comes from the arguments. A sampler may cache data between calls to save work, but a new sampler with the same
arguments must return the same values.
"""

from collections.abc import Sequence
from random import Random
from typing import Protocol

import msgspec

from mesh.events import Scalar
from mesh.knobs import Knob

Where = tuple[str, str]
"""The file and the name of a knob."""

Values = dict[Where, Scalar]
"""Values by knob."""


class Trial(msgspec.Struct, frozen=True):
    """A proposal of any author with its result.

    `loss` is the mean score, turned so that lower is better; None if it failed or is pending. `values` lacks knobs that
    the code of the proposal does not have. `seq` is its entry in the log. `by` is the name of its sampler, "" for
    people and models. `seconds` is the worker time of its explore runs. `violation` is above 0 if it misses a
    constraint or the threshold of a stage; its loss is then beyond those of all other trials. `stages_missed` is the
    number of stages that it did not pass, if a stage ended it.
    """

    tree: str
    seq: int
    values: Values
    loss: float | None
    by: str = ""
    seconds: float = 0.0
    violation: float = 0.0
    stages_missed: int = 0


class Idea(msgspec.Struct, frozen=True):
    """Values to try, and the proposals (by tree hash) they come from; without parents, the best code is edited."""

    values: Values
    parents: tuple[str, ...] = ()


class Sampler(Protocol):
    """Chooses the next values to try."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        """Return values for the knobs of `space`.

        Args:
            space: The knobs to choose values for.
            trials: The finished trials, in the order of the log.
            pending: The unfinished trials, in the order of the log.
            rng: The only source of randomness.
        """


def where(knob: Knob) -> Where:
    """Return the key of a knob in `Values`."""
    return knob.file, knob.name


def shape(space: Sequence[Knob]) -> list[tuple[Where, bool, float, float, bool, tuple[Scalar, ...]]]:
    """Return the search space without the present values; samplers keep their caches while it is the same."""
    return [(where(knob), knob.is_int, knob.low, knob.high, knob.log, knob.choices) for knob in space]


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials with a score, best first; of equals the older one comes first."""
    scored = [(trial.loss, trial.seq, trial) for trial in trials if trial.loss is not None]
    return [trial for _, _, trial in sorted(scored, key=lambda each: each[:2])]


def place(knob: Knob, value: Scalar | None) -> float | None:
    """Return the position of a value in the range or the choices, 0 to 1; None if it is unknown or not allowed."""
    if knob.choices:
        return knob.choices.index(value) / (len(knob.choices) - 1) if value in knob.choices else None
    return knob.place(value) if isinstance(value, int | float) else None


def at_place(knob: Knob, at: float) -> Scalar:
    """Return the value at a position (0 to 1): the inverse of `place`."""
    return knob.choices[round(at * (len(knob.choices) - 1))] if knob.choices else knob.at(at)
