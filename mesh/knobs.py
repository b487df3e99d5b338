"""Knobs: the constants of an editable Python file that a sampler may change.

A knob is a module-level `ALL_CAPS = literal` of int, float, bool or str, on one line and assigned once. Each element of
a short tuple is a separate knob, such as `BETAS[0]`; one comment applies to all of them. A trailing comment gives the
range: `# mesh: 1e-4..3e-2 log`, `# mesh: 1..6`, `# mesh: choices gelu relu`, `# mesh: fixed`.

Without a comment, a positive number ranges over a factor around its value, and a boolean over both values; other
constants are not knobs. A range with a decimal point turns a whole number into a float. A power of two from 32 on stays
one, unless an end of its range is none. Seeds are never knobs. An edit
replaces only the literal; every other byte of the file stays.
"""

import ast
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from mesh.events import Scalar
from mesh.literals import language_of, literals_of, replace_literals
from mesh.source_literal import SourceLiteral

MAX_WHOLE = 2**53
"""Larger whole numbers are not knobs: ranges are floats, which cannot represent them exactly."""

NEAR = 0.01
"""Near duplicates differ by less than this share of each knob's range."""

_MARK = r"(?:#|//|--|;|%|/\*|<!--)\s*mesh:\s*"
"""A comment of any language that begins with `mesh:`."""
_RANGE = re.compile(_MARK + r"(\S+?)\.\.([^\s,;]+)(?:[\s,;]+(log)\b)?")
_CHOICES = re.compile(_MARK + r"choices\s+(.+?)\s*(?:\*/|-->)?\s*$")
_FIXED = re.compile(_MARK + r"fixed\b")
_WHOLE = re.compile(r"[-+]?[\d_]+([eE]\+?\d+)?")
_NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


class Knob(msgspec.Struct, frozen=True, kw_only=True):
    """One constant: either `choices`, or a range `low`..`high` (both inclusive), on a log scale if `log`."""

    file: str
    name: str
    value: Scalar
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Scalar, ...] = ()

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
        low, high, at = (self._scaled(number) for number in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def at(self, place: float) -> Scalar:
        """Return the number at a position (0 to 1) of the range: whole, or with four significant digits."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        number = low + (high - low) * min(1.0, max(0.0, place))
        number = math.exp(number) if self.log else number
        if self.is_power:
            return int(2 ** round(math.log2(number)))
        number = round(number) if self.is_int else float(f"{number:.4g}")
        number = min(self.high, max(self.low, number))
        return int(number) if self.is_int else number

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

    def _scaled(self, number: float) -> float:
        return math.log(max(number, self.low)) if self.log else float(number)


def _is_power_of_two(number: int) -> bool:
    return number > 0 and not number & (number - 1)


def knobs_of(files: Mapping[str, bytes], editable: Sequence[str]) -> list[Knob]:
    """Return the knobs of the editable files whose language is known.

    Files that are not UTF-8 have none, so no edit damages them.
    """
    found: list[Knob] = []
    for name in editable:
        if language_of(name) and name in files:
            with suppress(UnicodeDecodeError):
                found += find_knobs(name, files[name].decode())
    return found


def find_knobs(file: str, source: str) -> list[Knob]:
    """Return the knobs of a file in the order of their lines; none if it does not parse."""
    literals = literals_of(file, source)
    times = Counter(literal.name.removesuffix("[0]") for literal in literals)
    found = (_knob(file, one) for one in literals if max(times[one.name], times[constant_of(one.name)]) == 1)
    return [knob for knob in found if knob]


def steady(knobs: Sequence[Knob], first: Sequence[Knob]) -> list[Knob]:
    """Return the knobs with the guessed ranges that they had in `first`.

    A guessed range depends on the value. If it followed every value, no two proposals would share a search space. So
    it changes only for a value near the end of the old range.

    Args:
        knobs: The knobs of the present code.
        first: The knobs of the baseline.
    """
    before = {(knob.file, knob.name): knob for knob in first}
    return [_as_before(knob, before.get((knob.file, knob.name))) for knob in knobs]


def _as_before(knob: Knob, first: Knob | None) -> Knob:
    if first is None or not (_is_guess(knob) and _is_guess(first)) or knob.is_int != first.is_int:
        return knob
    assert isinstance(knob.value, int | float)
    inside = first.low <= knob.value <= first.high and 0.1 < first.place(knob.value) < 0.9
    return msgspec.structs.replace(first, value=knob.value) if inside or knob.value == first.value else knob


def _is_guess(knob: Knob) -> bool:
    return (
        isinstance(knob.value, int | float) and not knob.choices and knob == _guessed(knob.file, knob.name, knob.value)
    )


def are_near(
    knobs: Sequence[Knob],
    one: Mapping[tuple[str, str], Scalar],
    other: Mapping[tuple[str, str], Scalar],
    share: float = NEAR,
) -> bool:
    """Tell whether two sets of values differ only in numbers, each by less than a share of its knob's range.

    Args:
        knobs: The knobs to compare, with their ranges.
        one: Values by file and name of the knob.
        other: The values to compare with.
        share: A share of the range, 0 to 1.
    """
    return all(
        _is_near(knob, one.get((knob.file, knob.name)), other.get((knob.file, knob.name)), share) for knob in knobs
    )


def _is_near(knob: Knob, a: Scalar | None, b: Scalar | None, share: float) -> bool:
    if knob.choices or not isinstance(a, int | float) or not isinstance(b, int | float):
        return a == b
    return a == b or abs(knob.place(a) - knob.place(b)) < share


def constant_of(name: str) -> str:
    """Return the name of a knob's constant: of `BETAS[0]` it is `BETAS`."""
    return name.partition("[")[0]


def edit(source: str, values: Mapping[str, Scalar], file: str = "x.py") -> str:
    """Return `source` with the literals of the named constants replaced; every other byte stays.

    Args:
        source: The text of the file.
        values: New values by the name of the knob.
        file: The name of the file, whose suffix says its language.

    Raises:
        KeyError: A constant does not exist.
    """
    return replace_literals(file, source, values)


def _knob(file: str, literal: SourceLiteral) -> Knob | None:
    name, value, comment = literal.name, literal.value, literal.comment
    if "SEED" in name or _FIXED.search(comment) or (literal.excluded and "mesh:" not in comment):
        return None
    if match := _CHOICES.search(comment):
        choices = tuple(_literal(word) for word in re.split(r"[\s,]+", match[1]))
        return Knob(file=file, name=name, value=value, choices=choices) if len(choices) > 1 else None
    if isinstance(value, bool):
        return Knob(file=file, name=name, value=value, choices=(False, True))
    if isinstance(value, str) or not abs(value) <= MAX_WHOLE:
        return None
    if match := _RANGE.search(comment):
        return _ranged(file, name, value, match[1], match[2], log=bool(match[3]))
    return _guessed(file, name, value)


def _guessed(file: str, name: str, value: float) -> Knob | None:
    if value <= 0:
        return None
    factor = 4.0 if isinstance(value, int) else 10.0
    low = max(1.0, value // factor) if isinstance(value, int) else value / factor
    high = min(value * factor, 1.0) if isinstance(value, float) and value < 1 else value * factor
    return Knob(file=file, name=name, value=value, low=low, high=high, log=True)


def _ranged(file: str, name: str, value: float, low_text: str, high_text: str, *, log: bool) -> Knob | None:
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        return None
    if not (-MAX_WHOLE <= low < high <= MAX_WHOLE):
        return None
    if not (_WHOLE.fullmatch(low_text) and _WHOLE.fullmatch(high_text)):
        value = float(value)
    return Knob(file=file, name=name, value=value, low=low, high=high, log=log and low > 0)


def _literal(word: str) -> Scalar:
    try:
        value = ast.literal_eval(word)
    except _NO_PYTHON:
        return word
    return value if isinstance(value, bool | int | float | str) else word
