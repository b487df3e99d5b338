"""What a sampler is: asked for the values of one proposal, it learns from the results of everybody, kept nowhere else.

All state comes from the arguments. What a sampler remembers between two asks only saves work: a new one, asked the
same, answers the same.
"""

from collections.abc import Sequence
from random import Random
from typing import Protocol

import msgspec

from agents.search.knobs import Knob
from mesh.events import Scalar

Where = tuple[str, str]
"""File and name of a knob."""

Values = dict[Where, Scalar]


LATEST, BEST = 300, 100
"""Finished trials in a window: so many of the latest, and so many of the best before them."""


class Trial(msgspec.Struct, frozen=True):
    """A proposal with its result, of whatever author: `loss` is the mean score, lower is better, None where it failed.

    `values` lacks the knobs that its code did not have. `seq` is the proposal's place in the log, `by` the name of its
    sampler ("" for people and models), `seconds` what its runs took a worker.
    """

    tree: str
    seq: int
    values: Values
    loss: float | None
    by: str = ""
    seconds: float = 0.0


class Idea(msgspec.Struct, frozen=True):
    """Values to try, and the proposals (trees) that they come from; none where any good code will do."""

    values: Values
    parents: tuple[str, ...] = ()


class Sampler(Protocol):
    """A way to draw the next values."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        """Return values for knobs of `space`.

        `trials` are finished and `pending` are asked for and not finished, both in the order of the log.
        """


def where(knob: Knob) -> Where:
    """Return the key of a knob in `Values`."""
    return knob.file, knob.name


def shape(space: Sequence[Knob]) -> list[tuple[Where, bool, float, float, bool, tuple[Scalar, ...]]]:
    """Return what a space is but for where the code stands in it: what is kept for one holds for all of its shape."""
    return [(where(knob), knob.is_int, knob.low, knob.high, knob.log, knob.choices) for knob in space]


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have a score, best first, the older of equals before the younger."""
    scored = [(trial.loss, trial.seq, trial) for trial in trials if trial.loss is not None]
    return [trial for _, _, trial in sorted(scored, key=lambda each: each[:2])]


def place(knob: Knob, value: Scalar | None) -> float | None:
    """Return where a value lies among what the knob may be, 0 to 1; None where it is not known or none of them."""
    if knob.choices:
        return knob.choices.index(value) / (len(knob.choices) - 1) if value in knob.choices else None
    return knob.place(value) if isinstance(value, int | float) else None


def at_place(knob: Knob, at: float) -> Scalar:
    """Return the value at a place: the way back from `place`."""
    return knob.choices[round(at * (len(knob.choices) - 1))] if knob.choices else knob.at(at)


def window(trials: Sequence[Trial]) -> list[Trial]:
    """Return the latest trials and, before them, the best of the older."""
    older, latest = trials[:-LATEST], trials[-LATEST:]
    best = {trial.seq for trial in best_first(older)[:BEST]}
    return [*(trial for trial in older if trial.seq in best), *latest]
