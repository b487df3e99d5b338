"""Crossover: each knob comes from one of two good proposals, plus a mutation if the result is not new.

Uniform crossover (Syswerda, "Uniform crossover in genetic algorithms", 1989). The new proposal has both as parents.
"""

from collections.abc import Sequence
from random import Random

from agents.search.samplers.mutate import Mutate, stepped
from agents.search.samplers.protocol import Idea, Trial, best_first, where
from mesh.knobs import Knob

_ELITE = 10
"""Number of best proposals that may be parents."""

_TRIES = 8


class Crossover:
    """Recombines two of the best proposals; mutates if there are fewer than two."""

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
