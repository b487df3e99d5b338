"""Crossover: each knob from one of two of the best, with a step on top where nothing new is between them.

Uniform crossover (Syswerda, "Uniform crossover in genetic algorithms", 1989). The proposal has both as parents.
"""

from collections.abc import Sequence
from random import Random

from agents.search.knobs import Knob
from agents.search.samplers.mutate import Mutate, stepped
from agents.search.samplers.protocol import Idea, Trial, best_first, where

_ELITE = 10
"""How many of the best serve as parents."""

_TRIES = 8


class Crossover:
    """Recombines two of the best; a mutation where there are no two."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        elite = best_first(trials)[:_ELITE]
        if len(elite) < 2:
            return Mutate().ask(space, trials, pending, rng)
        one, two = rng.sample(elite, 2)
        known = [trial.values for trial in (*trials, *pending)]
        for _ in range(_TRIES):
            child = {where(knob): rng.choice((one, two)).values.get(where(knob), knob.value) for knob in space}
            if child not in known:
                return Idea(child, (one.tree, two.tree))
        return Idea(stepped(space, child, rng), (one.tree, two.tree))
