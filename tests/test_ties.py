"""Numbers that belong together move together: equal ones, columns, neighbours, and shares of a sum."""

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from agents.search.samplers.portfolio import gains
from agents.search.samplers.protocol import Trial, Values, where
from agents.search.structure.ties import TIES, TieMoves, is_tied, unproductive
from mesh.knobs import Knob, find_knobs


def program(rows: Sequence[object]) -> str:
    return f"import numpy as np\n\n\ndef run():\n    return np.array({rows!r})\n"


def space_of(source: str) -> list[Knob]:
    return find_knobs("x.py", source)


def search(source: str, loss: Callable[[list[float]], float], moves: int) -> tuple[float, list[Values]]:
    """Return the best loss after so many moves, and the values of all."""
    space = space_of(source)
    first: Values = {where(knob): knob.value for knob in space}
    trials = [Trial(tree="0", seq=0, values=first, loss=loss(numbers(first)), by="")]
    for number in range(1, moves + 1):
        idea = TieMoves().ask(space, trials, [], random.Random(number))
        assert idea is not None
        found = loss(numbers(idea.values))
        trials.append(
            Trial(tree=str(number), seq=number, values=idea.values, loss=None if math.isinf(found) else found, by=TIES)
        )
    return min(trial.loss for trial in trials if trial.loss is not None), [trial.values for trial in trials]


def numbers(values: Values) -> list[float]:
    return [float(value) for value in values.values()]


def test_circles_of_equal_radius_grow_together_where_one_alone_would_not_help() -> None:
    rows = [[float(x), float(y), 0.25] for y in range(3) for x in range(4)]

    def loss(found: list[float]) -> float:
        radii = found[2::3]
        return -min(radii) + 10 * max(0.0, max(radii) - 0.5)

    best, _ = search(program(rows), loss, 200)
    assert best < -0.33  # all twelve radii, from .25


def test_shares_that_must_add_up_exactly_are_moved_by_give_and_take() -> None:
    def loss(found: list[float]) -> float:
        return sum(value * n for n, value in enumerate(found)) if sum(found) == 4.0 and min(found) >= 0 else math.inf

    best, tried = search(program([0.5] * 7 + [0.25, 0.25]), loss, 400)
    kept = [values for values in tried if sum(numbers(values)) == 4.0]
    assert len(kept) > 60
    assert best < 0.85 * loss([0.5] * 7 + [0.25, 0.25])


def test_neighbours_of_a_curve_move_by_a_smooth_bump() -> None:
    def loss(found: list[float]) -> float:
        wanted = [math.sin(math.pi * n / 29) for n in range(30)]
        rough = sum(abs(a - b) for a, b in pairwise(found))
        return sum((a - b) ** 2 for a, b in zip(found, wanted, strict=True)) + 3 * max(0.0, rough - 2.5)

    best, _ = search(program([0.5 + n % 2 * 1e-6 for n in range(30)]), loss, 500)
    assert best < 0.6 * loss([0.5] * 30)


def test_equal_literals_move_together_whichever_function_they_stand_in() -> None:
    source = "def run():\n    return improve(0.37, 3.0)\n\n\ndef improve(x, y):\n    return 0.37 * x + y * 0.11\n"
    space = space_of(source)
    assert is_tied(space)
    first = {where(knob): knob.value for knob in space}
    for number in range(20):
        idea = TieMoves().ask(space, [], [], random.Random(number))
        assert idea is not None
        moved = {name for (_, name), value in idea.values.items() if value != first["x.py", name]}
        assert moved in ({"run.improve", "improve.return.x"}, set())
        assert len({idea.values["x.py", name] for name in ("run.improve", "improve.return.x")}) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def run():\n    return improve(0.37, 3.0)\n",
        "def run():\n    return improve(1, 2)\n\n\ndef improve(x, y):\n    return x * 2 + 1\n",
        "def run():\n    return 'adam', 'adam'\n",
        "A = 3  # mesh: 1..5\nB = 3  # mesh: 1..5\n",
    ],
)
def test_nothing_is_tied_where_numbers_differ_or_every_program_has_them(source: str) -> None:
    space = space_of(source)
    assert not is_tied(space)
    assert TieMoves().ask(space, [], [], random.Random(1)) is None


def test_moves_stay_inside_of_the_ranges_and_keep_whole_numbers_whole() -> None:
    source = program([[1.0, 5.0], [2.0, 5.0], [3.0, 6.0]]) + "\n\ndef f(a=24, b=24, c=7):\n    return 7 * a\n"
    space = space_of(source)
    kinds = {where(knob): type(knob.value) for knob in space}
    knobs = {where(knob): knob for knob in space}
    trials: list[Trial] = []
    for number in range(300):
        idea = TieMoves().ask(space, trials, [], random.Random(number))
        assert idea is not None
        assert {at: type(value) for at, value in idea.values.items()} == kinds
        for at, value in idea.values.items():
            assert not isinstance(value, str)
            assert knobs[at].low - 2.5 <= value <= knobs[at].high + 2.5  # give and take is not cut off: its sum counts
        trials.append(Trial(tree=str(number), seq=number, values=idea.values, loss=1.0, by=TIES))


def test_a_sampler_is_unproductive_once_its_latest_results_gained_nothing() -> None:
    def trials(count: int, *, gain_at: int) -> list[Trial]:
        first = Trial(tree="0", seq=0, values={}, loss=1.0, by="")
        rest = [
            Trial(tree=str(n), seq=n, values={}, loss=0.5 if n == gain_at else None, by=TIES)
            for n in range(1, count + 1)
        ]
        return [first, *rest]

    assert unproductive([TIES, "tables"], gains(trials(39, gain_at=0)), 40) == []
    assert unproductive([TIES, "tables"], gains(trials(40, gain_at=0)), 40) == [TIES]
    assert unproductive([TIES, "tables"], gains(trials(40, gain_at=1)), 40) == []
    assert unproductive([TIES, "tables"], gains(trials(41, gain_at=1)), 40) == [TIES]
