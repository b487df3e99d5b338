"""A knob: a value of an editable file that a sampler may change, with its range or its choices.

`mesh.knobs` finds the knobs of an artifact. This module says which values a knob takes, and which are near each other.
"""

import math
import random
from typing import Literal

import msgspec

from mesh.events import Scalar

MAX_WHOLE = 2**53
"""Larger whole numbers are not knobs: ranges are floats, which cannot represent them exactly."""

StepKind = Literal["", "factor", "one", "logit", "add", "choice"]
"""How a single step changes a value: times two, by one, by one on the logit scale, by `unit`, to another choice."""


class Knob(msgspec.Struct, frozen=True, kw_only=True):
    """One value: either `choices`, or a range `low`..`high` (both inclusive), on a log scale if `log`.

    Attributes:
        file: the path of its file.
        name: where it stands in the file, such as `WIDTH` or `train.lr`.
        value: its present value.
        low: the smallest value.
        high: the largest value.
        log: whether the range is logarithmic.
        choices: the allowed values, if it has no range.
        priority: the order in which knobs are worth a trial: 0 comes first.
        step: how a single step changes it, if the range was guessed; "" if its author gave the range.
        unit: the size of a step that adds.
        tie: the names of the equal literals of its function, itself among them: one more move turns all of them to the
            same value. A name that is no knob alone (the bound of a `range`) may be edited with the others.
    """

    file: str
    name: str
    value: Scalar
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Scalar, ...] = ()
    priority: int = 0
    step: StepKind = ""
    unit: float = 0.0
    tie: tuple[str, ...] = ()

    @property
    def is_int(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.value, int) and not isinstance(self.value, bool)

    @property
    def is_power(self) -> bool:
        """Whether the values are powers of two: the value (from 32 on) and both ends of a logarithmic range are."""
        if not (self.is_int and self.log):
            return False
        value = self.value
        assert isinstance(value, int)
        return value >= 32 and all(_is_power_of_two(int(n)) for n in (value, self.low, self.high))

    def numbers(self) -> list[int]:
        """Return all values of a knob with whole numbers, in rising order."""
        low, high = int(self.low), int(self.high)
        if self.is_power:
            return [2**power for power in range(low.bit_length() - 1, high.bit_length())]
        return list(range(low, high + 1))

    def place(self, value: float) -> float:
        """Return the position of a number in the range, 0 to 1, on a log scale if `log`."""
        low, high, at = (self.scaled(number) for number in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def at(self, place: float) -> Scalar:
        """Return the number at a position (0 to 1) of the range: whole, or with four significant digits."""
        low, high = self.scaled(self.low), self.scaled(self.high)
        number = low + (high - low) * min(1.0, max(0.0, place))
        number = self.unscaled(number)
        if self.is_power:
            return int(2 ** round(math.log2(number)))
        number = round(number) if self.is_int else float(f"{number:.4g}")
        number = min(self.high, max(self.low, number))
        return int(number) if self.is_int else number

    def stepped(self, value: Scalar, steps: float) -> Scalar:
        """Return the value that is some natural steps away, kept inside of the range; see `step`.

        A step is a factor of two on a logarithmic range, one for small whole numbers, and a tenth of any other range.

        Args:
            value: The value to start from.
            steps: How many steps up, or down if it is negative; choices and small whole numbers take whole steps.
        """
        if self.choices or isinstance(value, str):
            at = self.choices.index(value) if value in self.choices else 0
            return self.choices[(at + round(steps)) % len(self.choices)] if self.choices else value
        if self.step == "one" or (self.is_int and not self.log):
            new = value + float(round(steps * max(1.0, self.unit)))
        elif self.step == "logit":
            new = _logistic(self.scaled(value) + steps)
        elif self.log:
            new = max(value, self.low) * 2.0 ** (round(steps) if self.is_power else steps)
        else:
            new = value + steps * (self.unit or (self.high - self.low) / 10)
        new = min(self.high, max(self.low, new))
        return round(new) if self.is_int else float(f"{new:.6g}")

    def sample(self, rng: random.Random) -> Scalar:
        """Return a value drawn uniformly from the range (on a log scale if `log`) or from the choices."""
        if self.choices:
            return rng.choice(self.choices)
        if self.is_int and not self.log:
            return rng.randint(int(self.low), int(self.high))
        return self.at(rng.random())

    def mutate(self, value: Scalar, rng: random.Random, spread: float = 0.2) -> Scalar:
        """Return another value near `value`, or another choice.

        Args:
            value: The present value.
            rng: The source of randomness.
            spread: Standard deviation of the step, as a share (0 to 1) of the range.
        """
        if self.choices or isinstance(value, str):
            others = [c for c in self.choices if c != value]
            return rng.choice(others) if others else value
        here = self.place(value)
        for _ in range(8):
            new = self.at(here + rng.gauss(0, spread))
            if new != value:
                return new
        if not self.is_int:
            inward = spread if here < 0.5 else -spread
            return self.at(here + inward * rng.random())
        beside = (value // 2, value * 2) if self.is_power else (round(value) - 1, round(value) + 1)
        return rng.choice([int(step) for step in beside if self.low <= step <= self.high])

    def scaled(self, number: float) -> float:
        """Return a number on the scale of the range, where positions are even."""
        if self.step == "logit":
            return _logit(min(self.high, max(self.low, number)))
        return math.log(max(number, self.low)) if self.log else float(number)

    def unscaled(self, number: float) -> float:
        """Return the number of a place on the scale of the range: the inverse of `scaled`."""
        return math.exp(number) if self.log else _logistic(number) if self.step == "logit" else number


def _logit(number: float) -> float:
    return math.log(number / (1 - number))


def _logistic(number: float) -> float:
    return 1 / (1 + math.exp(-number))


def _is_power_of_two(number: int) -> bool:
    return number > 0 and not number & (number - 1)
