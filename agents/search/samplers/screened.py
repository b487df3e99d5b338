"""Screening: a sampler proposes several ideas, and a model chooses the most promising one.

The model is drawn from `quadratic`, a new draw for each call, so that it does not always prefer the same region.
Evolution strategies with such a surrogate need a fraction of the evaluations (Loshchilov, Schoenauer and Sebag, 2012;
Hansen, "A global surrogate assisted CMA-ES", 2019).
"""

from collections.abc import Sequence
from random import Random

from agents.search.samplers.protocol import Idea, Sampler, Trial
from agents.search.samplers.quadratic import drawn_model, points_of
from agents.search.samplers.trial_log import window
from mesh.knobs import Knob

IDEAS = 8
"""Number of ideas from which one is chosen."""


class Screened:
    """Screens the ideas of another sampler; without a model yet, returns its first idea."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        import numpy as np

        model = drawn_model(space, trials, np.random.default_rng(rng.getrandbits(64)))
        if model is None:
            return self._sampler.ask(space, trials, pending, rng)
        ideas = [self._sampler.ask(space, trials, pending, rng) for _ in range(IDEAS)]
        points = points_of(space, [idea.values for idea in ideas])
        return ideas[int(np.argmin(model(points)))]


class Windowed:
    """Shows another sampler a window of the log alone, so that its cost does not grow with the log."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        return self._sampler.ask(space, window(trials), pending, rng)
