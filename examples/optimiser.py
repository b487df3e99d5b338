"""An optimiser of your own, of twenty lines: a step from the best values so far, smaller after each failure.

Beside a swarm that runs:

    python optimiser.py digits 20

The swarm finds the knobs, runs the trials and keeps the history. `tests/test_python_examples.py` runs it.
"""

import sys
from collections.abc import Mapping, Sequence
from random import Random

import mesh
from mesh.knobs import Knob


class Stepper:
    """A normal step of every number; twice as wide after a gain, a tenth narrower after none."""

    def __init__(self) -> None:
        self.width, self.best = 0.1, float("inf")

    def ask(self, space: Mapping[str, Knob], trials: Sequence["mesh.StudyTrial"], rng: Random) -> dict[str, object]:
        """Return values to try; `trials` are those of everybody, and knobs that are left out stay as they are."""
        scored = [trial for trial in trials if trial.loss is not None]
        best = min(scored, key=lambda trial: trial.loss or 0.0).values if scored else {}
        return {name: knob.mutate(best.get(name, knob.value), rng, self.width) for name, knob in space.items()}

    def tell(self, trial: "mesh.StudyTrial") -> None:
        """Learn from a trial of its own that has ended."""
        gained = trial.loss is not None and trial.loss < self.best
        self.best = trial.loss if gained and trial.loss is not None else self.best
        self.width = min(0.5, self.width * (2 if gained else 0.9))


if __name__ == "__main__":
    for done in mesh.optimise(Stepper(), arena=sys.argv[1], trials=int(sys.argv[2])):
        print(done.score, done.values)  # noqa: T201
