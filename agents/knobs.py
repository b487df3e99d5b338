"""Knobs: the constants of an editable Python file that a sampler may turn.

A knob is a module-level `ALL_CAPS = literal` of int, float, bool or str. A trailing comment gives its range:
`# mesh: 1e-4..3e-2 log`, `# mesh: 1..6`, `# mesh: choices gelu relu`, `# mesh: fixed`. Without one, numbers range over
a factor around their value, booleans over both, and strings are left alone. Seeds are never knobs. An edit replaces
the literal alone; formatting and comments stay.
"""

import ast
import math
import random
import re
from collections.abc import Mapping

import msgspec

from mesh.events import Scalar

_RANGE = re.compile(r"#\s*mesh:\s*(\S+?)\.\.(\S+)(\s+log)?\s*$")
_CHOICES = re.compile(r"#\s*mesh:\s*choices\s+(.+?)\s*$")
_FIXED = re.compile(r"#\s*mesh:\s*fixed\b")


class Knob(msgspec.Struct, frozen=True, kw_only=True):
    """One constant: either `choices`, or a range `low`..`high` (both inclusive), on a log scale where `log`."""

    file: str
    name: str
    value: Scalar
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Scalar, ...] = ()

    @property
    def is_int(self) -> bool:
        """Whether values are whole numbers."""
        return isinstance(self.value, int) and not isinstance(self.value, bool)

    def sample(self, rng: random.Random) -> Scalar:
        """Return a value drawn evenly from the range (its logarithm where `log`)."""
        if self.choices:
            return rng.choice(self.choices)
        if self.log:
            return self._fit(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self._fit(
            rng.uniform(self.low - 0.5, self.high + 0.5) if self.is_int else rng.uniform(self.low, self.high)
        )

    def mutate(self, value: Scalar, rng: random.Random, spread: float = 0.2) -> Scalar:
        """Return a value near `value`: normal, `spread` of the range wide; another choice where there are choices."""
        if self.choices:
            others = [c for c in self.choices if c != value]
            return rng.choice(others) if others else value
        at = float(value)
        if self.log and at > 0:
            moved = at * math.exp(rng.gauss(0, spread * math.log(self.high / self.low)))
        else:
            moved = at + rng.gauss(0, spread * (self.high - self.low))
        new = self._fit(moved)
        if new == value and self.is_int:
            new = self._fit(at + rng.choice((-1, 1)))
        return new

    def _fit(self, number: float) -> Scalar:
        number = min(self.high, max(self.low, number))
        return round(number) if self.is_int else float(f"{number:.4g}")


def find_knobs(file: str, source: str) -> list[Knob]:
    """Return the knobs of a Python source in the order of their lines; none where it does not parse."""
    knobs = []
    for name, node, comment in _constants(source):
        if knob := _knob(file, name, ast.literal_eval(node), comment):
            knobs.append(knob)
    return knobs


def edit(source: str, values: Mapping[str, Scalar]) -> str:
    """Return `source` with the literals of the named constants replaced.

    Raises:
        KeyError: there is no such constant.
    """
    missing = set(values)
    lines = source.encode().splitlines(keepends=True)
    for name, node, _ in sorted(_constants(source), key=lambda c: (c[1].lineno, c[1].col_offset), reverse=True):
        if name not in values:
            continue
        missing.discard(name)
        if node.end_lineno == node.lineno and node.end_col_offset is not None:
            line = lines[node.lineno - 1]
            new = repr(values[name]).encode()
            lines[node.lineno - 1] = line[: node.col_offset] + new + line[node.end_col_offset :]
    if missing:
        raise KeyError(sorted(missing)[0])
    return b"".join(lines).decode()


def _constants(source: str) -> list[tuple[str, ast.expr, str]]:
    """The module-level ALL_CAPS constants: name, node of the literal, trailing comment."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return []
    lines = source.splitlines()
    found = []
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if not isinstance(target, ast.Name) or not re.fullmatch(r"[A-Z][A-Z0-9_]*", target.id):
            continue
        try:
            literal = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError):
            continue
        if isinstance(literal, bool | int | float | str) and value.end_lineno == value.lineno:
            rest = lines[value.lineno - 1].encode()[value.end_col_offset or 0 :].decode()
            found.append((target.id, value, rest))
    return found


def _knob(file: str, name: str, value: Scalar, comment: str) -> Knob | None:
    if "SEED" in name or _FIXED.search(comment):
        return None
    if match := _CHOICES.search(comment):
        choices = tuple(_literal(word) for word in match[1].split())
        return Knob(file=file, name=name, value=value, choices=choices) if len(choices) > 1 else None
    if isinstance(value, bool):
        return Knob(file=file, name=name, value=value, choices=(False, True))
    if isinstance(value, str):
        return None
    if match := _RANGE.search(comment):
        try:
            low, high = float(match[1]), float(match[2])
        except ValueError:
            return None
        log = bool(match[3]) and low > 0
        return Knob(file=file, name=name, value=value, low=low, high=high, log=log) if low < high else None
    if value <= 0 or not math.isfinite(value):
        return None
    factor = 4.0 if isinstance(value, int) else 10.0
    low = max(1.0, value / factor) if isinstance(value, int) else value / factor
    high = min(value * factor, 1.0) if isinstance(value, float) and value < 1 else value * factor
    return Knob(file=file, name=name, value=value, low=low, high=high, log=True)


def _literal(word: str) -> Scalar:
    try:
        value = ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
    return value if isinstance(value, bool | int | float | str) else word
