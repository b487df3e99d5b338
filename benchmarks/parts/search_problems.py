"""The problems of `benchmarks.search`: functions of COCO's suite `bbob-mixint` as knobs of a generated `train.py`.

Tusar, Brockhoff and Hansen, "Mixed-integer benchmark problems for single- and bi-objective optimization" (2019). In ten
dimensions two knobs each have 2, 4, 8 and 16 integer values, and two are continuous.
"""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

FUNCTIONS = tuple(range(1, 25, 2))
"""Every other one of the 24 functions."""

DIMENSIONS = 10


class Knob(msgspec.Struct, frozen=True):
    """One variable of a function."""

    name: str
    low: float
    high: float
    whole: bool


class Problem(msgspec.Struct, frozen=True):
    """An instance of a function; it can be pickled, so that another process can run it."""

    function: int
    instance: int

    @property
    def knobs(self) -> list[Knob]:
        """Its variables."""
        problem = _coco(self.function, self.instance)
        whole = int(problem.number_of_integer_variables)
        bounds = zip(problem.lower_bounds, problem.upper_bounds, strict=True)
        return [Knob(f"X{n:02d}", float(low), float(high), n < whole) for n, (low, high) in enumerate(bounds)]

    def source(self) -> str:
        """Return a `train.py` whose constants are the middles of their ranges."""
        lines = [f'"""{self}."""', ""]
        for knob in self.knobs:
            kind = int if knob.whole else float
            low, high, middle = kind(knob.low), kind(knob.high), kind((knob.low + knob.high) / 2)
            lines.append(f"{knob.name} = {middle!r}  # mesh: {low!r}..{high!r}")
        return "\n".join(lines) + "\n"

    def value(self, point: list[float]) -> float:
        """Return the value of a point, lower is better."""
        return float(_coco(self.function, self.instance)(point))

    def durations(self, seed: int) -> Iterator[float]:
        """Yield how long runs take, in the order in which they start: log-normal with median 1 and sigma 0.5."""
        rng = random.Random(f"{self} {seed}")
        while True:
            yield rng.lognormvariate(0.0, 0.5)


@cache
def _coco(function: int, instance: int) -> Any:
    return _suite().get_problem(f"bbob-mixint_f{function:03d}_i{instance:02d}_d{DIMENSIONS:02d}")


@cache
def _suite() -> Any:
    import cocoex

    return cocoex.Suite("bbob-mixint", "", "")
