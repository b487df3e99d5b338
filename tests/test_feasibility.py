"""What crashes teach, the steps near the baseline, and knobs that stay powers of two."""

from collections import Counter
from random import Random

import pytest

from agents.explorer import fitting
from agents.search.feasibility import Feasibility, nearest
from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Idea, Trial, Values, where
from agents.search.samplers.step import StepSampler
from agents.search.strategy import Strategy
from mesh.knobs import Knob, find_knobs

WIDTH = Knob(file="t.py", name="WIDTH", value=96, low=24, high=384, log=True)
HEADS = Knob(file="t.py", name="HEADS", value=4, low=1, high=16, log=True)
BATCH = Knob(file="t.py", name="BATCH", value=24, low=6, high=96, log=True)
RATE = Knob(file="t.py", name="RATE", value=0.003, low=1e-4, high=1.0, log=True)
SPACE = [WIDTH, HEADS, BATCH, RATE]


def runs(values: Values) -> bool:
    """Divisible heads, a product of width and batch within the memory, and a rate that is not too high."""
    width, heads, batch, rate = (float(values[where(knob)]) for knob in SPACE)
    return width % heads == 0 and width * batch <= 5000 and rate < 0.1


def log(count: int, seed: int = 1) -> list[Trial]:
    rng, trials = Random(seed), []
    for number in range(count):
        values = {where(k): k.value if rng.random() < 0.4 else k.sample(rng) for k in SPACE}
        loss = rng.random() if runs(values) else None
        trials.append(Trial(tree=f"{number}", seq=number, values=values, loss=loss))
    return trials


def drawn(count: int) -> list[Values]:
    rng = Random(7)
    return [{where(knob): knob.sample(rng) for knob in SPACE} for _ in range(count)]


def test_the_log_suggests_what_must_be_divisible_by_what() -> None:
    assert Feasibility(SPACE, log(60)).rules == [(WIDTH, HEADS)]
    assert not Feasibility(SPACE, [trial for trial in log(60) if trial.loss is not None]).is_needed


def test_a_rule_that_one_score_contradicts_is_none() -> None:
    broken: Values = {where(WIDTH): 97, where(HEADS): 4, where(BATCH): 24, where(RATE): 0.003}
    assert not Feasibility(SPACE, [*log(60), Trial(tree="x", seq=99, values=broken, loss=1.0)]).rules


@pytest.mark.parametrize(
    ("a", "b", "found"), [(97, 4, (96, 4)), (99, 4, (100, 4)), (100, 7, (98, 7)), (25, 12, (24, 12))]
)
def test_values_move_as_little_as_a_rule_asks(a: int, b: int, found: tuple[int, int]) -> None:
    assert nearest(WIDTH, HEADS, a, b) == found
    assert found[0] % found[1] == 0


def test_the_chance_of_a_score_tells_what_runs_from_what_crashes() -> None:
    learned = Feasibility(SPACE, log(120))
    mended = [learned.mended(values) for values in drawn(200)]
    assert all(values[where(WIDTH)] % values[where(HEADS)] == 0 for values in mended)  # type: ignore[operator]
    good = [learned.chance(values) for values in mended if runs(values)]
    bad = [learned.chance(values) for values in mended if not runs(values)]
    assert sum(good) / len(good) > 0.65
    assert sum(bad) / len(bad) < 0.45


class Anywhere:
    """Draws evenly, and counts its calls."""

    calls = 0

    def ask(self, space: list[Knob], trials: list[Trial], pending: list[Trial], rng: Random) -> Idea:
        self.calls += 1
        return Idea({where(knob): knob.sample(rng) for knob in space})


def test_ideas_that_would_crash_are_drawn_again_but_never_those_of_a_users_sampler() -> None:
    def share(kind: str) -> tuple[float, int]:
        sampler = Anywhere()
        strategy = Strategy({kind: sampler}, [kind], forced=kind)  # type: ignore[dict-item]
        trials = log(120)
        asked = [strategy.ask(SPACE, trials, [], Random(seed)).idea.values for seed in range(80)]
        return sum(not runs(values) for values in asked) / 80, sampler.calls

    theirs, calls = share("own")
    assert calls == 80
    assert theirs > 0.7
    assert share("random")[0] < 0.4


def first(space: list[Knob], crash: bool) -> list[str]:
    trials = [Trial(tree="0", seq=0, values={where(k): k.value for k in space}, loss=1.0)]
    while kind := portfolio.first_kind(len(space), trials, []):
        loss = None if crash and kind == "sobol" else 1.0
        trials.append(Trial(tree=f"{len(trials)}", seq=len(trials), values={}, loss=loss, by=kind))
    return [trial.by for trial in trials[1:]]


def test_steps_near_the_baseline_come_beside_sobol_which_ends_where_it_crashes() -> None:
    space = [Knob(file="t.py", name=f"K{n}", value=0.5, low=0.0, high=1.0) for n in range(13)]
    assert first(space, crash=False).count("sobol") == 8
    assert first(space, crash=False).count("step") == 4
    assert first(space, crash=True).count("sobol") == 2
    assert first(space, crash=True).count("step") == 4


def test_samplers_without_a_model_have_sobol_points_in_their_place_unless_these_crash() -> None:
    samplers, missing = portfolio.installed_samplers()
    assert not missing
    space = [Knob(file="t.py", name=f"K{n}", value=0.5, low=0.0, high=1.0) for n in range(5)]
    base = Trial(tree="0", seq=0, values={where(k): k.value for k in space}, loss=1.0)

    def kinds(results: list[float | None]) -> Counter[str]:
        """Ask for 60 more proposals of a busy swarm: the first Sobol points have these results, all others run."""
        pending: list[Trial] = []
        strategy = Strategy(samplers, portfolio.LEARNING)
        ended = [
            Trial(tree=f"e{n}", seq=n + 1, values=base.values, loss=loss, by="sobol") for n, loss in enumerate(results)
        ]
        for number in range(60):
            choice = strategy.ask(space, [base, *ended], pending, Random(number))
            pending.append(
                Trial(tree=f"p{number}", seq=number + 50, values=choice.idea.values, loss=None, by=choice.kind)
            )
        return Counter(trial.by for trial in pending)

    few = kinds([])
    assert few["gaussian"] == few["quadratic"] == few["tpe"] == 0
    assert few["sobol"] > 20
    assert few["mutate"] > 0
    many = kinds([1.0] * 20)
    assert many["sobol"] == 0
    assert many["gaussian"] > 10
    assert kinds([None] * 3)["sobol"] == 0


def test_a_step_turns_one_knob_and_every_fourth_a_few_by_little() -> None:
    trials = [Trial(tree="0", seq=0, values={where(k): k.value for k in SPACE}, loss=1.0)]
    turned = []
    for number in range(1, 25):
        values = StepSampler().ask(SPACE, trials, [], Random(number)).values
        turned.append([knob.name for knob in SPACE if values[where(knob)] != knob.value])
        trials.append(Trial(tree=f"{number}", seq=number, values=values, loss=2.0, by="step"))
    alone = [each[0] for each in turned if len(each) == 1]
    assert len(alone) >= 15
    assert {*alone} == {knob.name for knob in SPACE}
    assert all(len(each) <= 3 for each in turned)


def test_a_power_of_two_stays_one_unless_its_range_says_otherwise() -> None:
    (knob,) = find_knobs("t.py", "WIDTH = 128\n")
    assert knob.numbers() == [32, 64, 128, 256, 512]
    rng = Random(1)
    drawn = [knob.sample(rng) for _ in range(50)] + [knob.mutate(128, rng) for _ in range(50)]
    assert {*drawn} == {32, 64, 128, 256, 512}
    assert [fitting(knob, value) for value in (100, 33, 9999)] == [128, 32, 512]
    for source in ("WIDTH = 96", "WIDTH = 16", "WIDTH = 128  # mesh: 30..512 log", "WIDTH = 128  # mesh: 32..512"):
        assert not find_knobs("t.py", source)[0].is_power


@pytest.mark.parametrize("name", portfolio.SAMPLERS)
def test_every_sampler_keeps_a_power_of_two(name: str) -> None:
    (power,) = find_knobs("t.py", "WIDTH = 128\n")
    space = [power, RATE]
    rng = Random(3)
    trials = [
        Trial(tree=f"{n}", seq=n, values={where(k): k.sample(rng) for k in space}, loss=rng.random()) for n in range(30)
    ]
    one = portfolio.installed_samplers()[0][name]
    assert {one.ask(space, trials, [], Random(seed)).values[where(power)] for seed in range(8)} <= {*power.numbers()}
