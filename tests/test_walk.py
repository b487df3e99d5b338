"""The walk over many knobs: it finds most of the gain where points that turn all knobs at once crash."""

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random

import pytest
from msgspec.structs import replace

from agents.explorer import apply, fitting, tied
from agents.search.samplers import portfolio
from agents.search.samplers.literal_moves import LiteralMoves, distance
from agents.search.samplers.protocol import Idea, Trial, Values, where
from agents.search.samplers.walk import LiteralWalk, has_literals, that_matter
from agents.search.strategy import Strategy
from mesh.events import Scalar
from mesh.knobs import Knob, are_near, find_knobs

PROGRAM = """
def run():
    size = 16
    for i in range(16):
        angle = i / 16
    return angle * 0.3
"""

Loss = Callable[[Values], float | None]


def space_of_70() -> list[Knob]:
    """70 literals: 0 to 4 matter, 5 to 14 crash the program where they are changed."""
    return [
        Knob(file="t.py", name=f"f.k{n}", value=1.0, low=0.1, high=10.0, log=True, step="factor") for n in range(70)
    ]


def loss_of_70(values: Values) -> float | None:
    """0 where the five are at 4, 2, 0.25, 6 and 0.2; 11.3 at the start."""
    if any(values["t.py", f"f.k{n}"] != 1.0 for n in range(5, 15)):
        return None
    best = (4.0, 2.0, 0.25, 6.0, 0.2)
    return sum(math.log(float(values["t.py", f"f.k{n}"]) / at) ** 2 for n, at in enumerate(best))


def start(space: Sequence[Knob], loss: Loss) -> Trial:
    values: Values = {where(knob): knob.value for knob in space}
    return Trial(tree="0", seq=0, values=values, loss=loss(values), seconds=1.0)


def search(space: Sequence[Knob], loss: Loss, count: int, forced: str = "", workers: int = 4) -> list[Trial]:
    """Return the trials of a search, of which `workers` are always pending."""
    samplers, _ = portfolio.installed_samplers()
    strategy = Strategy(samplers, portfolio.LEARNING, forced)
    trials = [start(space, loss)]
    pending: list[Trial] = []
    for number in range(1, count + 1):
        for attempt in range(30):
            choice = strategy.ask(space, trials, pending, Random(f"{number} {attempt}"), attempt)
            values = {where(knob): fitting(knob, choice.idea.values.get(where(knob))) for knob in space}
            values = dict(choice.idea.values) | values
            if not any(are_near(space, values, trial.values) for trial in (*trials, *pending)):
                break
        pending.append(Trial(tree=f"{number}", seq=number, values=values, loss=None, by=choice.kind, seconds=1.0))
        if len(pending) >= workers:
            done = pending.pop(0)
            trials.append(replace(done, loss=loss(done.values)))
    return trials


def best(trials: Sequence[Trial]) -> float:
    return min(trial.loss for trial in trials if trial.loss is not None)


def test_most_of_the_gain_is_found_among_70_knobs_of_which_10_crash() -> None:
    space = space_of_70()
    assert has_literals(space)
    trials = search(space, loss_of_70, 100)
    first = trials[0].loss
    assert first is not None
    assert best(trials) < 0.3 * first
    assert sum(trial.loss is None for trial in trials) < 0.2 * len(trials)
    named = [replace(knob, step="") for knob in space]  # many turned at once, as where authors named the knobs
    assert not has_literals(named)
    assert best(trials[:25]) < 0.7 * best(search(named, loss_of_70, 24))


def test_the_first_moves_turn_one_knob_each_in_the_order_of_priority_and_none_twice() -> None:
    space = [replace(knob, priority=n % 2) for n, knob in enumerate(space_of_70())]
    trials = search(space, lambda values: 1.0, 60)
    turned = [[at for at, value in trial.values.items() if value != 1.0] for trial in trials[1:]]
    assert all(len(each) == 1 for each in turned)
    assert len({(each[0], trial.values[each[0]]) for each, trial in zip(turned, trials[1:], strict=True)}) == 57
    late = [int(each[0][1].removeprefix("f.k")) % 2 for each in turned]
    assert not any(late[:25])


def test_gains_are_stacked_and_then_doubled_as_long_as_they_gain() -> None:
    space = space_of_70()[:20]
    trials = [start(space, lambda values: 10.0)]

    def tried(loss: float, **values: float) -> None:
        new = trials[0].values | {("t.py", f"f.{name}"): value for name, value in values.items()}
        trials.append(Trial(tree=f"{len(trials)}", seq=len(trials), values=new, loss=loss, by="walk", seconds=1.0))

    def asked() -> list[dict[str, Scalar]]:
        ideas = [LiteralWalk().ask(space, trials, [], Random(seed)) for seed in range(60)]
        new = [{at[1][2:]: v for at, v in idea.values.items() if v != 1.0} for idea in ideas]
        return [values for values in new if len(values) > 1]

    for n in range(4, 20):
        tried(10.0, **{f"k{n}": 2.0})
    tried(9.0, k0=2.0)
    tried(8.0, k1=0.5)
    assert {"k0": 2.0, "k1": 0.5} in asked()
    tried(7.0, k0=2.0, k1=0.5)
    assert {"k0": 2.0, "k1": 0.25} in asked()
    assert {"k0": 4.0, "k1": 0.5} in asked()
    tried(6.0, k0=2.0, k1=0.25)
    assert {"k0": 2.0, "k1": 0.1} in asked()  # 16 times less, kept inside of the range
    tried(6.5, k0=2.0, k1=0.1)
    assert {"k0": 2.0, "k1": 0.1} not in asked()


def moved(tree: int, loss: float | None, **values: float) -> Trial:
    first: Values = {where(knob): knob.value for knob in space_of_70()}
    new = first | {("t.py", f"f.{name}"): value for name, value in values.items()}
    return Trial(tree=f"{tree}", seq=tree, values=new, loss=loss, by="walk" if values else "", seconds=10.0)


def turned_by(ideas: Iterable[Idea]) -> list[dict[str, Scalar]]:
    return [{at[1][2:]: value for at, value in idea.values.items() if value != 1.0} for idea in ideas]


def test_where_results_have_noise_the_way_opposite_to_much_harm_is_next() -> None:
    space = space_of_70()
    losses = [10.1, 9.95, 14.0, 10.2, 12.0, 9.9, 10.1, 10.05]
    trials = [moved(0, 10.0), *(moved(n + 1, loss, **{f"k{n}": 2.0}) for n, loss in enumerate(losses))]
    first = turned_by(LiteralMoves(space, trials, []).singles())
    assert first[:3] == [{"k2": 0.5}, {"k4": 0.5}, {"k8": 2.0}]
    assert turned_by(LiteralMoves(space, trials[:5], []).singles())[0] == {"k4": 2.0}  # too few to know the noise


def test_of_the_second_ways_the_one_opposite_to_most_harm_is_first() -> None:
    space = space_of_70()[:5]
    losses = [10.5, 11.0, 14.0, 10.2, 12.0]
    trials = [moved(0, 10.0), *(moved(n + 1, loss, **{f"k{n}": 2.0}) for n, loss in enumerate(losses))]
    trials = [replace(trial, values={where(knob): trial.values[where(knob)] for knob in space}) for trial in trials]
    turned = turned_by(LiteralMoves(space, trials, []).singles())
    assert turned == [{f"k{n}": 0.5} for n in (2, 4, 1, 0, 3)]


def test_a_step_that_was_worse_or_failed_alone_is_not_made_again_from_the_best_code_before_all_others() -> None:
    space = space_of_70()[:4]
    trials = [moved(0, 10.0), moved(1, 8.0, k0=2.0), moved(2, 14.0, k1=2.0), moved(3, None, k2=2.0)]
    trials = [replace(trial, values={where(knob): trial.values[where(knob)] for knob in space}) for trial in trials]
    asked = turned_by(LiteralWalk().ask(space, trials, [], Random(seed)) for seed in range(80))
    assert {"k0": 2.0, "k1": 0.5} in asked
    assert {"k1": 0.5} in asked
    assert not [each for each in asked if each.get("k1") == 2.0 or each.get("k2") == 2.0]


def test_changes_without_an_effect_are_taken_back() -> None:
    space = space_of_70()[:8]
    trials = [start(space, lambda values: 10.0)]
    for n in range(8):
        values = trials[0].values | {("t.py", f"f.k{n}"): 2.0}
        trials.append(Trial(tree=f"{n}", seq=n + 1, values=values, loss=9.0 if n == 0 else 10.0, by="walk"))
    both = trials[0].values | {("t.py", "f.k0"): 3.0, ("t.py", "f.k5"): 7.0}
    trials.append(Trial(tree="m", seq=20, values=both, loss=8.0, by="mutate"))
    ideas = [LiteralWalk().ask(space, trials, [], Random(seed)).values for seed in range(80)]
    assert trials[0].values | {("t.py", "f.k0"): 3.0} in ideas


def test_the_knobs_that_matter_are_those_with_an_effect() -> None:
    space = space_of_70()
    trials = search(space, loss_of_70, 80)
    assert [knob.name for knob in that_matter(space, trials).knobs] == [f"f.k{n}" for n in range(5)]


def test_a_worst_score_that_many_moves_share_is_a_failure() -> None:
    space = space_of_70()[:20]
    first = start(space, lambda values: 10.0)
    trials = [first]
    for n in range(10):
        loss = 99.0 if n < 4 else 10.0 - n if n < 8 else 10.0
        new = first.values | {("t.py", f"f.k{n}"): 2.0}
        trials.append(Trial(tree=f"{n}", seq=n + 1, values=new, loss=loss, by="walk", seconds=1.0))
    few = that_matter(space, trials)
    assert [knob.name for knob in few.knobs] == [f"f.k{n}" for n in range(4, 8)]
    assert few.beside(trials) == [first, *trials[5:]]


def test_gains_are_found_in_noise() -> None:
    space, rng = space_of_70()[:30], Random(5)

    def noisy(values: Values) -> float | None:
        exact = loss_of_70(values | {("t.py", f"f.k{n}"): 1.0 for n in range(5, 15)})
        return None if exact is None else exact + rng.gauss(0, 0.3)

    trials = search(space, noisy, 120, forced="walk")
    found = min((trial for trial in trials if trial.loss is not None), key=lambda trial: trial.loss or 0.0)
    exact = loss_of_70(found.values | {("t.py", f"f.k{n}"): 1.0 for n in range(5, 15)})
    assert exact is not None
    assert exact < 3.0


@pytest.mark.parametrize("crash", [1, 5])
def test_where_most_moves_crash_the_search_goes_on(crash: int) -> None:
    space = space_of_70()[:crash]
    trials = search(space, lambda values: None if any(v != 1.0 for v in values.values()) else 1.0, 40)
    assert len(trials) > 30


def test_equal_literals_move_together_and_a_bound_of_a_range_with_them() -> None:
    space = find_knobs("t.py", PROGRAM)
    tie = next(knob.tie for knob in space if len(knob.tie) == 3)
    trials = [start(space, lambda values: 1.0)]
    ideas = [LiteralWalk().ask(space, trials, [], Random(seed)) for seed in range(20)]
    together = [idea for idea in ideas if {idea.values["t.py", name] for name in tie} == {17}]
    assert together
    assert {idea.parents for idea in together} == {("0",)}
    files = {"t.py": PROGRAM.encode()}
    turned = [*space, *tied(files, space, together[0].values)]
    values = {where(knob): fitting(knob, together[0].values.get(where(knob))) for knob in turned}
    assert apply(files, files, turned, values)["t.py"].decode() == PROGRAM.replace("16", "17")


def test_equal_literals_that_do_most_together_are_one_knob_of_the_other_samplers() -> None:
    space = find_knobs("t.py", PROGRAM)
    tie = next(knob.tie for knob in space if len(knob.tie) == 3)
    first = start(space, lambda values: 10.0)
    both = Trial(tree="1", seq=1, values=first.values | dict.fromkeys((("t.py", n) for n in tie), 17), loss=5.0)
    one = Trial(tree="2", seq=2, values=first.values | {where(space[0]): 17}, loss=9.0, by="step")
    few = that_matter(space, [first, replace(both, by="walk"), one])
    [lead] = [knob for knob in few.knobs if knob.tie == tie]
    assert few.spread({where(lead): 20}) == {("t.py", name): 20 for name in tie}
    assert few.beside([first, both, one]) == [first, both]


def test_a_distance_is_the_number_of_natural_steps() -> None:
    spaces = find_knobs("t.py", "def f(a=100.0, b=0.3, c=4, d=-2.0, e=100):\n    return a\n")
    assert len(spaces) == 5
    for knob in spaces:
        assert distance(knob, knob.value, knob.stepped(knob.value, 1)) == pytest.approx(1.0, rel=0.01)
