"""Samplers that do not learn: uniform random points, and a scrambled Sobol sequence that covers the space evenly.

Sobol, "On the distribution of points in a cube" (1967), scrambled after Owen, from scipy.
"""

import hashlib
import warnings
from collections.abc import Sequence
from random import Random

from agents.search.samplers.protocol import Idea, Trial, where
from agents.search.samplers.trial_log import count_made
from mesh.events import Scalar
from mesh.knobs import Knob

_AHEAD = 3
"""A Sobol point is drawn from this many next points."""


class RandomSearch:
    """Draws every knob uniformly from its range."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        return Idea({where(knob): knob.sample(rng) for knob in space})


class Sobol:
    """Draws one of the next few points of a sequence that all explorers share, so that few draw the same point."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        from scipy.stats import qmc

        names = " ".join(f"{knob.file} {knob.name}" for knob in space)
        seed = int.from_bytes(hashlib.sha256(names.encode()).digest()[:4])
        number = count_made("sobol", trials, pending) + rng.randrange(_AHEAD)
        with warnings.catch_warnings(action="ignore"):  # the warning that the number of points is not a power of two
            point = qmc.Sobol(len(space), rng=seed).random(number + 1)[-1]
        return Idea({where(knob): _at(knob, float(place)) for knob, place in zip(space, point, strict=True)})


def _at(knob: Knob, place: float) -> Scalar:
    if knob.choices:
        return knob.choices[min(len(knob.choices) - 1, int(place * len(knob.choices)))]
    if knob.is_int and not knob.log:
        return int(knob.low) + min(int(knob.high - knob.low), int(place * (knob.high - knob.low + 1)))
    return knob.at(place)
