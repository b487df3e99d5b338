"""A sampler of your own: draws near the best values so far, ever closer as results come in.

In this folder, beside a swarm that runs:

    python -m mesh.agent explorer --arena digits --option sampler=sampler:Closer

The explorer does the rest: it finds the knobs, writes the values into the code, and skips what was tried before.
`tests/test_examples.py` runs it.
"""

from collections.abc import Sequence
from random import Random

from agents.search.samplers.protocol import Idea, Trial, at_place, best_first, place, where
from mesh.knobs import Knob


class Closer:
    """A normal step from the best values, half as wide after every ten results."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        """Return values to try; `trials` have a result, `pending` wait for one."""
        best = next(iter(best_first(trials)), None)
        width = 0.25 * 0.5 ** (len(trials) / 10)
        values = {}
        for knob in space:
            at = place(knob, best.values.get(where(knob)) if best else knob.value)
            middle = 0.5 if at is None else at  # 0 to 1, linear or logarithmic as the knob is
            values[where(knob)] = at_place(knob, min(1.0, max(0.0, rng.gauss(middle, width))))
        return Idea(values, (best.tree,) if best else ())
