"""The constraints of an arena: what a metric beside the objective must be, such as `p95_ms = "<= 50"`. Pure.

A candidate that violates one is infeasible: it has numbers, and ranks below every feasible one. Infeasible candidates
are compared by how much they violate (K. Deb, "An efficient constraint handling method for genetic algorithms", 2000).
"""

import math
import operator
import re
from collections.abc import Callable, Mapping

import msgspec

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}
_LEAST = 1e-9
"""The violation of a strict constraint by a value that equals its bound."""


class Constraint(msgspec.Struct, frozen=True):
    """`metric` compared with `bound` by `sign` (`<=`, `<`, `>=`, `>` or `==`)."""

    metric: str
    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Tell whether a value of the metric satisfies it."""
        return _COMPARE[self.sign](value, self.bound)

    def violation(self, value: float) -> float:
        """Return by how much a value violates it: 0, or the excess as a share of the bound (of 1, if that is 0)."""
        if self.holds(value):
            return 0.0
        return max(abs(value - self.bound) / (abs(self.bound) or 1.0), _LEAST)

    def sentence(self, value: float) -> str:
        """Return what a value is and must be."""
        return f"{self.metric} is {value:g}, but must be {self.sign} {self.bound:g}"


def parse_constraint(metric: str, text: str) -> Constraint:
    """Return the constraint that a text such as `<= 50` puts on a metric.

    Raises:
        ValueError: the text is not an operator and a finite number; the message is one sentence.
    """
    match = re.fullmatch(r"\s*(<=|<|>=|>|==)\s*(\S+)\s*", text)
    try:
        bound = float(match[2]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not abs(bound) <= 1e100:
        raise ValueError(f'{metric} is {text[:60]!r}; use <=, <, >=, > or == and a number, such as "<= 50"')
    return Constraint(metric, match[1], bound)


def constraints_of(texts: Mapping[str, str]) -> list[Constraint]:
    """Return the constraints of an arena that has them as texts by metric.

    Raises:
        ValueError: one cannot be read; the message is one sentence.
    """
    return [parse_constraint(metric, text) for metric, text in texts.items()]
