"""Steps from the baseline: one knob at a time at first, so that a crash or a gain has one cause; now and then a few.

A step of a single knob says what that knob does (the elementary effects of Morris, 1991). On a working artifact, points
that turn all knobs at once often crash. All explorers share one round of the knobs.
"""

from collections.abc import Sequence
from random import Random

from agents.search.samplers.protocol import Idea, Trial, where
from agents.search.samplers.trial_log import count_made, ranked
from mesh.events import Scalar
from mesh.knobs import Knob

_WIDTH = 0.25
"""Largest step of a single knob, as a share of its range."""

JOINT = 4
"""Every so many steps turn several knobs, by less."""

AHEAD = 3
"""A step is one of this many next ones, so that few explorers make the same at once."""


class StepSampler:
    """Steps from the best proposal: the next knob of the round, up and down in turns, or a few knobs a little."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        made = count_made("step", trials, pending) + rng.randrange(AHEAD)
        best = next(ranked(trials), None)
        values = best.values if best else {}
        new = {where(knob): values.get(where(knob), knob.value) for knob in space}
        if made % JOINT == JOINT - 1:
            for knob in rng.sample(list(space), min(len(space), rng.randint(2, 3))):
                new[where(knob)] = knob.mutate(new[where(knob)], rng, _WIDTH / 4)
            return Idea(new)
        turn = made - made // JOINT
        order = Random(" ".join(knob.name for knob in space)).sample(range(len(space)), len(space))
        knob = space[order[turn % len(space)]]
        up = bool((turn // len(space) + turn) % 2)
        new[where(knob)] = moved(knob, new[where(knob)], _WIDTH * (0.4 + 0.6 * rng.random()) * (1 if up else -1), rng)
        return Idea(new)


def moved(knob: Knob, value: Scalar, step: float, rng: Random) -> Scalar:
    """Return the value that is a share of the range away, the other way where the range ends; another choice."""
    if knob.choices or isinstance(value, str):
        return knob.mutate(value, rng)
    here = knob.place(value)
    for way in (step, -step, 2 * step, -2 * step, 4 * step, -4 * step):
        if 0 <= here + way <= 1 and (new := knob.at(here + way)) != value:
            return new
    return knob.mutate(value, rng)
