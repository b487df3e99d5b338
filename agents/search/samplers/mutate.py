"""Mutation: a few knobs of one of the best are moved.

Parents are drawn from the best few by their rank. Steps are scale-free: their width is drawn log-uniformly, so that
coarse and fine search go on side by side without a step size to adapt (Doerr et al., "Fast genetic algorithms", 2017).
"""

from collections.abc import Sequence
from random import Random

from agents.search.knobs import Knob
from agents.search.samplers.protocol import Idea, Trial, Values, best_first, where

ELITE = 5
"""How many of the best serve as parents."""

WIDEST, FINEST = 0.3, 0.01
"""Widths of a step, in shares of a knob's range."""


class Mutate:
    """Steps from the best."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        elite = best_first(trials)[:ELITE]
        if not elite:
            return Idea(stepped(space, {}, rng))
        parent = rng.choices(elite, [1 / (rank + 1) for rank in range(len(elite))])[0]
        return Idea(stepped(space, parent.values, rng), (parent.tree,))


def stepped(space: Sequence[Knob], values: Values, rng: Random) -> Values:
    """Return the values with one knob or a few moved; a knob without a value stands where the code has it."""
    new = {where(knob): values.get(where(knob), knob.value) for knob in space}
    count = 1
    while count < len(space) and rng.random() < 0.5:
        count += 1
    spread = WIDEST * (FINEST / WIDEST) ** rng.random()
    for knob in rng.sample(list(space), count):
        new[where(knob)] = knob.mutate(new[where(knob)], rng, spread)
    return new
