"""Mutation: changes a few knobs of one of the best proposals.

The parent is drawn from the best few by rank. The width of a step is drawn log-uniformly, so coarse and fine search run
side by side without a step size to adapt (Doerr et al., "Fast genetic algorithms", 2017).
"""

from collections.abc import Sequence
from random import Random

from agents.search.samplers.protocol import Idea, Trial, Values, best_first, where
from mesh.knobs import Knob

ELITE = 5
"""Number of best proposals that may be parents."""

WIDEST, FINEST = 0.3, 0.01
"""Largest and smallest width of a step, as shares of a knob's range."""


class Mutate:
    """Steps from one of the best proposals."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        elite = best_first(trials)[:ELITE]
        if not elite:
            return Idea(stepped(space, {}, rng))
        parent = rng.choices(elite, [1 / (rank + 1) for rank in range(len(elite))])[0]
        return Idea(stepped(space, parent.values, rng), (parent.tree,))


def stepped(space: Sequence[Knob], values: Values, rng: Random) -> Values:
    """Return the values with one knob or a few changed; a knob without a value starts from its value in the code."""
    new = {where(knob): values.get(where(knob), knob.value) for knob in space}
    count = 1
    while count < len(space) and rng.random() < 0.5:
        count += 1
    spread = WIDEST * (FINEST / WIDEST) ** rng.random()
    for knob in rng.sample(list(space), count):
        new[where(knob)] = knob.mutate(new[where(knob)], rng, spread)
    return new
