"""Steps of the numbers of a table: longer after a gain, the other way after a loss, none from what may be a failure."""

import random
from collections import Counter

import pytest

from agents.search.samplers.portfolio import LEARNING, installed_samplers
from agents.search.samplers.protocol import Trial, Values, where
from agents.search.samplers.table_moves import TableMoves
from agents.search.strategy import TRIES, Strategy, shares_by_gain, strict_gains
from agents.search.structure.moves import has_table
from mesh.knobs import find_knobs

ROWS = "import numpy as np\n\n\ndef run():\n    return improve(np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]))\n"
SPACE = find_knobs("t.py", ROWS)
FIRST: Values = {where(knob): knob.value for knob in SPACE}
AT = where(SPACE[0])


def _trial(n: int, loss: float | None, *, value: float = 0.1) -> Trial:
    return Trial(tree=f"{n}", seq=n, values=FIRST | {AT: value}, loss=loss, by="tables")


def _asked(trials: list[Trial]) -> set[float]:
    ideas = [TableMoves().ask(SPACE, trials, [], random.Random(n)) for n in range(60)]
    assert {at for idea in ideas for at in idea.values} == {*FIRST}
    head = min(trials, key=lambda trial: (trial.loss is None, trial.loss))
    alone = [idea for idea in ideas if {at for at, v in idea.values.items() if v != head.values[at]} == {AT}]
    return {float(idea.values[AT]) for idea in alone}


def _starts(trials: list[Trial]) -> Counter[tuple[str, ...]]:
    return Counter(TableMoves().ask(SPACE, trials, [], random.Random(n)).parents for n in range(200))


def test_a_step_that_gained_is_made_once_more_and_longer() -> None:
    trials = [_trial(0, 1.0), _trial(1, 0.8, value=0.14)]
    assert 0.2 in _asked(trials)  # 0.14 and 1.5 times 0.04
    assert 0.2 not in _asked([*trials, _trial(2, 0.9, value=0.2)])


def test_a_step_that_was_worse_is_made_the_other_way() -> None:
    trials = [_trial(0, 1.0), _trial(1, 1.2, value=0.14)]
    assert 0.06 in _asked(trials)
    assert 0.06 not in _asked([*trials, _trial(2, 1.1, value=0.06)])


def test_a_step_asked_for_before_the_best_was_known_is_turned_without_the_step_that_led_there() -> None:
    other = where(SPACE[1])
    late = Trial(tree="2", seq=2, values=FIRST | {other: 0.25}, loss=1.1, by="tables")
    trials = [_trial(0, 1.0), _trial(1, 0.8, value=0.14), late]
    ideas = [TableMoves().ask(SPACE, trials, [], random.Random(n)) for n in range(60)]
    assert any((idea.values[AT], idea.values[other]) == (0.14, 0.15) for idea in ideas)


def test_half_of_the_moves_start_from_the_first_table_until_something_gains() -> None:
    # the first code is as bad as a failure: a circle of radius 0 scores as much as circles that overlap
    trials = [_trial(0, 0.0), *(_trial(n, 0.0, value=n / 10 + 0.3) for n in range(1, 30))]
    assert 60 < _starts(trials)["0",] < 140 < _starts(trials)["29",] + 80
    trials += [_trial(30, -0.1, value=0.12), _trial(31, -0.1, value=0.13)]
    assert _starts(trials) == {("31",): 200}


def test_shares_go_by_what_was_gained_and_not_by_how_often() -> None:
    losses: list[float | None] = [1.0, 0.9, 0.9, None, 0.8, 0.95]
    gained = strict_gains([_trial(n, loss) for n, loss in enumerate(losses)])
    assert [round(gain, 6) for _, gain in gained] == [0, 0.1, 0, 0, 0.1, 0]
    trials, loss = [_trial(0, 10.0)], 10.0
    for n in range(1, 120):  # ties gain little each time, tables much each tenth time
        by, gain = ("ties", 1e-4) if n % 2 else ("tables", 0.1 if n % 10 == 0 else 0.0)
        loss -= gain
        trials.append(Trial(tree=f"{n}", seq=n, values=FIRST, loss=loss, by=by, seconds=1.0))
    found = shares_by_gain(["tables", "ties", "mutate"], strict_gains(trials))
    assert sum(found.values()) == pytest.approx(1)
    assert found["ties"] < 0.05 < 0.6 < found["tables"]
    assert 0.2 < found["mutate"] < 0.4  # it is new: as good as the mean
    assert shares_by_gain(["tables"], []) == {"tables": pytest.approx(1)}


def test_a_walk_whose_next_moves_an_explorer_knows_under_other_code_gives_way() -> None:
    space = find_knobs("t.py", "def f():\n    return g(0.3, 1.7, 5.5)\n")
    start: Values = {where(knob): knob.value for knob in space}
    trials = [Trial(tree="0", seq=0, values=start, loss=1.0, by="", seconds=5.0)]
    strategy = Strategy(installed_samplers()[0], LEARNING)
    kinds = [
        {strategy.ask(space, trials, [], random.Random(n), attempt).kind for n in range(40)} for attempt in range(6)
    ]
    assert kinds[:3] == [{"walk"}] * 3
    assert all(len(each) > 1 for each in kinds[3:])


def test_code_is_rewritten_at_once_where_its_literals_have_nothing_new() -> None:
    space = find_knobs("t.py", "def f():\n    return g(2)\n")
    start: Values = {where(knob): knob.value for knob in space}
    trials = [Trial(tree="0", seq=0, values=start, loss=1.0, by="", seconds=5.0)]
    strategy = Strategy(installed_samplers()[0], LEARNING)
    kinds = [
        strategy.ask(space, trials, [], random.Random(1), attempt, structural=("tables", "ties")).kind
        for attempt in range(TRIES)
    ]
    assert not {*kinds[: TRIES // 2]} & {"tables", "ties"}
    assert {*kinds[TRIES // 2 :]} == {"tables", "ties", "mutate", "random"}


def test_a_pair_of_numbers_in_brackets_is_no_table() -> None:
    assert has_table(FIRST)
    assert not has_table({("t.py", "run.points[0]"): 0.5, ("t.py", "run.points[1]"): 0.5, ("t.py", "run.x"): 0.5})
