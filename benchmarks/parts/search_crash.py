"""An artifact whose trials crash in some regions, and the variables of all problems of `benchmarks.search`.

It has the thirteen knobs of a small transformer. A trial crashes if the width is not divisible by the heads, if the
product of batch, length, width and depth is above the memory, if the learning rate is too high for the depth, or, in
`b` and `c`, if the batch is not divisible by its parts. Elsewhere the loss is a smooth function with one optimum, near
the baseline in some knobs and far in others. Most points that turn all knobs at once crash.
"""

import math
import random
from collections.abc import Sequence

import msgspec


class Variable(msgspec.Struct, frozen=True):
    """One variable of a function, with its baseline."""

    name: str
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    start: float | str = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()

    @classmethod
    def middle(cls, name: str, low: float, high: float, *, whole: bool = False) -> "Variable":
        """Return a variable whose baseline is the middle of its range."""
        return cls(name, low, high, whole, int((low + high) / 2) if whole else (low + high) / 2)

    @classmethod
    def choice(cls, name: str, choices: tuple[str, ...]) -> "Variable":
        """Return a variable of which the first choice is the baseline."""
        return cls(name, start=choices[0], choices=choices)

    def line(self) -> str:
        """Return its line of a `train.py`."""
        if self.choices:
            return f"{self.name} = {self.start!r}  # mesh: choices {' '.join(self.choices)}"
        kind = int if self.whole else float
        low, high, start = kind(self.low), kind(self.high), kind(self.start)
        return f"{self.name} = {start!r}  # mesh: {low!r}..{high!r}{' log' if self.log else ''}"


class Artifact:
    """A small transformer that is not there: only its crashes and its loss are."""

    def __init__(self, name: str, instance: int) -> None:
        rng = random.Random(f"{name} {instance}")
        width, heads, depth = rng.choice([(128, 4, 4), (256, 8, 6), (192, 6, 4)])
        self.knobs = [
            Variable("N_EMBD", width // 4, width * 4, True, width, True),
            Variable("N_HEAD", 1, 16, True, heads, True),
            Variable("N_LAYER", 1, 16, True, depth, True),
            Variable("BATCH", 8, 128, True, 32, True),
            Variable("PARTS", 1, 8, True, 2, True),
            Variable("LENGTH", 32, 512, True, 128, True),
            Variable("LR", 1e-4, 1.0, False, 3e-3, True),
            Variable("WARMUP", 1e-3, 0.5, False, 0.05, True),
            Variable("DECAY", 1e-4, 1.0, False, 0.01, True),
            Variable("DROPOUT", 0.0, 0.9, False, 0.1),
            Variable("MOMENTUM", 0.5, 0.999, False, 0.9),
            Variable("CLIP", 0.1, 10.0, False, 1.0, True),
            Variable("INIT", 1e-3, 1.0, False, 0.02, True),
        ]
        self._parts = name != "a"
        self._memory = 32 * 128 * width * depth * rng.choice([1.5, 2.5])
        self._rate = rng.choice([0.02, 0.05]) * depth
        starts = [self._place(knob, float(knob.start)) for knob in self.knobs]
        self._best = [min(0.95, max(0.05, start + rng.gauss(0, 0.15))) for start in starts]
        self._weights = [rng.choice([0.1, 0.5, 1.0, 3.0]) for _ in self.knobs]

    def exact(self, point: Sequence[float | str]) -> float | None:
        """Return the loss, None if the trial crashes."""
        values = [float(each) for each in point]
        width, heads, depth, batch, parts, length, rate = values[:7]
        if width % heads or batch * length * width * depth > self._memory or rate * depth > self._rate:
            return None
        if self._parts and batch % parts:
            return None
        far = [self._place(k, v) - best for k, v, best in zip(self.knobs, values, self._best, strict=True)]
        loss = sum(weight * each * each for weight, each in zip(self._weights, far, strict=True))
        return 1.0 + loss + 1.5 * far[6] * far[3] + 0.3 * abs(far[0] + far[2])

    def noisy(self, point: Sequence[float | str], rng: random.Random) -> float | None:
        """Return the loss of a trial, None if it crashes; it has noise of 0.003."""
        found = self.exact(point)
        return None if found is None else found + rng.gauss(0, 0.003)

    @staticmethod
    def _place(knob: Variable, value: float) -> float:
        if knob.log:
            return math.log(value / knob.low) / math.log(knob.high / knob.low)
        return (value - knob.low) / (knob.high - knob.low)
