"""Samplers: what they are asked they answer from the log alone, inside the space, and better than chance."""

import math
import statistics
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from agents.explorer import Explorer
from agents.search.history import History
from agents.search.samplers.portfolio import (
    FLOOR,
    LEARNING,
    SAMPLERS,
    choose_kind,
    first_points,
    gains,
    installed_samplers,
    shares,
)
from agents.search.samplers.protocol import Sampler, Trial, Values, at_place, best_first, place, where
from agents.search.samplers.trial_log import BEST, LATEST, window
from mesh import events as e
from mesh.agent.code_reader import CodeReader
from mesh.agent.draft import Draft
from mesh.board import Board
from mesh.events import KnobChange, Origin, ProposalPosted
from mesh.knobs import Knob, are_near
from mesh.testing import FILES, TRAIN, Arena, commit_hash, git_hash, run_of
from tests.support.folding import folded, rows
from tests.support.history import T1, T2, T3, T4, T5, finish, opened, request

LR = Knob(file="t.py", name="LR", value=0.01, low=1e-4, high=1.0, log=True)
WIDTH = Knob(file="t.py", name="WIDTH", value=8, low=1, high=64)
BIAS = Knob(file="t.py", name="BIAS", value=False, choices=(False, True))
ACT = Knob(file="t.py", name="ACT", value="tanh", choices=("tanh", "relu", "gelu"))
MANY = Knob(file="t.py", name="MANY", value=500, low=1, high=100_000, log=True)
SPACE = [LR, WIDTH, BIAS, ACT, MANY]


def sampler(name: str) -> Sampler:
    made, missing = installed_samplers()
    assert not missing
    return made[name]


def drawn(rng: Random) -> Values:
    return {where(knob): knob.sample(rng) for knob in SPACE}


def loss(values: Values) -> float:
    """Least at LR 0.1, WIDTH 48, BIAS True, ACT gelu, MANY 1000."""
    near = {"LR": 0.1, "WIDTH": 48, "MANY": 1000}
    far = sum((knob.place(float(values[where(knob)])) - knob.place(near[knob.name])) ** 2 for knob in (LR, WIDTH, MANY))
    return far + (not values[where(BIAS)]) * 0.2 + (values[where(ACT)] != "gelu") * 0.2


def trial(seq: int, values: Values, result: float | None = None, by: str = "", seconds: float = 1.0) -> Trial:
    return Trial(tree=f"t{seq}", seq=seq, values=values, loss=result, by=by, seconds=seconds)


def history(count: int, seed: int = 1, failed: float = 0.0) -> list[Trial]:
    rng = Random(seed)
    points = [drawn(rng) for _ in range(count)]
    return [trial(n, p, None if rng.random() < failed else loss(p), rng.choice(LEARNING)) for n, p in enumerate(points)]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("count", [0, 1, 7, 60])
def test_what_is_asked_for_is_in_the_space_and_of_its_types(name: str, count: int) -> None:
    trials, pending = history(count, failed=0.2), [trial(1000, drawn(Random(9)))]
    one = sampler(name)
    for seed in range(5):
        values = one.ask(SPACE, trials, pending, Random(seed)).values
        assert values.keys() == {where(knob) for knob in SPACE}
        for knob in SPACE:
            value = values[where(knob)]
            assert type(value) is type(knob.value)
            assert value in knob.choices if knob.choices else knob.low <= float(value) <= knob.high


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_a_sampler_remembers_only_saves_work(name: str) -> None:
    trials = history(90, failed=0.1)
    used = sampler(name)
    for upto in (20, 55, 90):
        used.ask(SPACE, trials[:upto], [], Random(upto))
    late = [*trials[:70], trial(70, trials[70].values, 0.0), *trials[71:]]  # a result of long ago changes
    for told in (trials, late, trials[:40]):
        assert used.ask(SPACE, told, [], Random(5)) == sampler(name).ask(SPACE, told, [], Random(5))


@pytest.mark.parametrize("name", LEARNING)
def test_a_sampler_that_learns_is_better_than_chance_and_learns_from_everybody(name: str) -> None:
    trials = [*history(100), *(trial(200, drawn(Random(n)), None) for n in range(5))]
    one = sampler(name)
    asked = [loss(one.ask(SPACE, trials, [], Random(seed)).values) for seed in range(40)]
    chance = [loss(drawn(Random(seed))) for seed in range(200)]
    assert statistics.median(asked) < 0.7 * statistics.median(chance)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_where_all_has_failed_it_asks_on_without_a_warning(name: str, count: int) -> None:
    asked = sampler(name).ask(SPACE, history(count, failed=1.0), history(2, seed=2, failed=1.0), Random(3))
    assert set(asked.values) <= {where(knob) for knob in SPACE}
    one = sampler(name).ask(SPACE, [*history(count, failed=1.0), trial(99, drawn(Random(4)), 1.0)], [], Random(3))
    assert set(one.values) <= {where(knob) for knob in SPACE}


def test_a_quadratic_model_of_many_knobs_is_better_than_chance_after_few_trials() -> None:
    space = [Knob(file="t.py", name=f"K{number}", value=0.5, low=0.0, high=1.0) for number in range(12)]

    def bowl(values: Values) -> float:
        return sum((float(value) - 0.3) ** 2 for value in values.values())

    draws = [{where(knob): knob.sample(rng) for knob in space} for rng in map(Random, range(160))]
    trials = [trial(seq, values, bowl(values)) for seq, values in enumerate(draws[:60])]
    asked = [bowl(sampler("quadratic").ask(space, trials, [], Random(seed)).values) for seed in range(20)]
    assert statistics.median(asked) < 0.5 * statistics.median(bowl(values) for values in draws[60:])


@pytest.mark.parametrize("name", ["quadratic", "cmaes", "tpe"])
def test_regions_that_run_out_of_memory_are_avoided(name: str) -> None:
    space = [Knob(file="t.py", name="WIDTH", value=500, low=1, high=1000), LR]
    rng = Random(3)
    trials = []
    for seq in range(120):
        values = {where(knob): knob.sample(rng) for knob in space}
        wide = float(values[where(space[0])])
        trials.append(trial(seq, values, None if wide > 600 else 1 - wide / 1000))  # better the wider, until it bursts
    one = sampler(name)
    widths = [float(one.ask(space, trials, [], Random(s)).values[where(space[0])]) for s in range(40)]
    assert sum(width > 750 for width in widths) <= 4
    assert statistics.median(widths) > 300


def test_a_knob_that_older_code_lacked_is_unknown_and_no_reason_to_forget_the_others() -> None:
    old = [trial(t.seq, {at: v for at, v in t.values.items() if at != where(ACT)}, t.loss) for t in history(60)]
    for name in SAMPLERS:
        assert sampler(name).ask(SPACE, old, [], Random(1)).values.keys() == {where(knob) for knob in SPACE}
    asked = [sampler("cmaes").ask(SPACE, old, [], Random(s)).values for s in range(20)]
    assert statistics.median(loss({**values, where(ACT): "gelu"}) for values in asked) < 0.5


def test_askers_who_know_the_same_ask_for_different_values() -> None:
    trials = history(60)
    for name in LEARNING:
        asked = [sampler(name).ask(SPACE, trials, [], Random(f"explorer-{n}")).values for n in range(8)]
        assert len({str(values) for values in asked}) >= 6, name


def test_an_ask_takes_no_longer_in_a_long_log() -> None:
    rng = Random(1)
    trials = [trial(seq, values := drawn(rng), loss(values)) for seq in range(20_000)]
    pending = [trial(seq, drawn(rng)) for seq in range(20_000, 20_064)]
    one = sampler("tpe")
    took: dict[int, list[float]] = {500: [], 20_000: []}
    for _ in range(6):  # the first asks of each also import and compile
        for length, seconds in took.items():
            began = time.process_time()
            one.ask(SPACE, trials[:length], pending, rng)
            seconds.append(time.process_time() - began)
    assert min(took[20_000]) < 2 * min(took[500])


def test_a_window_holds_the_latest_and_the_best_of_the_older() -> None:
    trials = [trial(seq, {}, float(seq)) for seq in range(1000)]
    assert [t.seq for t in window(trials)] == [*range(BEST), *range(1000 - LATEST, 1000)]
    assert window(trials[:50]) == trials[:50]
    assert [t.seq for t in best_first([trial(1, {}, 2.0), trial(2, {}), trial(3, {}, 1.0), trial(4, {}, 2.0)])] == [
        3,
        1,
        4,
    ]


def test_a_value_has_a_place_and_a_place_a_value() -> None:
    for knob in SPACE:
        for seed in range(20):
            value = knob.sample(Random(seed))
            at = place(knob, value)
            assert at is not None
            assert 0 <= at <= 1
            assert at_place(knob, at) == value
    assert [place(ACT, "elu"), place(LR, None), place(LR, "x")] == [None, None, None]


def test_near_is_within_a_share_of_the_range_in_every_numeric_knob() -> None:
    one: Values = {where(LR): 0.01, where(WIDTH): 8, where(ACT): "relu"}
    space = [LR, WIDTH, ACT]
    assert are_near(space, one, one | {where(LR): 0.0102}, 0.01)
    assert not are_near(space, one, one | {where(LR): 0.02}, 0.01)
    assert not are_near(space, one, one | {where(WIDTH): 9}, 0.01)
    assert not are_near(space, one, one | {where(ACT): "tanh"}, 0.01)
    assert not are_near(space, one, {where(LR): 0.01, where(WIDTH): 8}, 0.01)


def test_sobol_points_fill_the_space_more_evenly_than_chance() -> None:
    space = [Knob(file="t.py", name=name, value=0.5, low=0, high=1) for name in "AB"]
    one = sampler("sobol")
    found: list[Values] = []
    for number in range(16):
        values = one.ask(space, [trial(n, v, 1.0, "sobol") for n, v in enumerate(found)], [], Random(number)).values
        found.append(values)
    quarters = Counter((float(v[where(space[0])]) < 0.5, float(v[where(space[1])]) < 0.5) for v in found)
    assert min(quarters[a, b] for a in (True, False) for b in (True, False)) >= 2
    assert [first_points(n) for n in (1, 4, 10, 30)] == [4, 4, 7, 11]


def test_cma_es_restarts_when_its_numbers_diverge() -> None:
    one, rng = sampler("cmaes"), Random(1)
    trials = history(10)
    for seq in range(1000, 1300):  # the same few points again and again leave no direction to measure
        trials.append(trial(seq, trials[seq % 3].values, rng.random()))
        values = one.ask(SPACE, trials, [], Random(seq)).values
        assert values.keys() == {where(knob) for knob in SPACE}


def test_who_improves_more_per_second_gets_more_and_none_gets_nothing() -> None:
    trials = [trial(0, {}, 100.0), trial(1, {}, 100.0)]
    for n in range(200):
        by = LEARNING[n % len(LEARNING)]
        trials.append(trial(n + 2, {}, 99.0 - n if by == "tpe" else 100.0, by))
    its = shares(LEARNING, trials)
    assert math.isclose(sum(its.values()), 1)
    assert its["tpe"] == max(its.values())
    assert its["mutate"] < shares(LEARNING, [])["mutate"]
    assert min(its.values()) >= FLOOR
    dear = [trial(t.seq, {}, t.loss, t.by, 20.0 if t.by == "tpe" else 1.0) for t in trials]
    assert shares(LEARNING, dear)["tpe"] < its["tpe"]
    picked = Counter(choose_kind(LEARNING, trials, Random(seed))[0] for seed in range(1000))
    assert all(abs(picked[kind] / 1000 - its[kind]) < 0.06 for kind in LEARNING)


ONE, TWO, WAITS = map(git_hash, ("one", "two", "waits"))


async def test_the_history_knows_every_proposal_with_its_values_and_its_result(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    fetched: list[str] = []

    async def files(board: Board, tree: str) -> dict[str, bytes]:
        fetched.append(tree)
        return await CodeReader(arena.code).files(board, tree)

    def proposal(tree: str, *knobs: KnobChange, parent: str = "") -> ProposalPosted:
        origin = Origin(how="sampler", name="tpe")
        return ProposalPosted(
            tree=tree, commit=commit_hash(tree), title="t", origin=origin, knobs=knobs, parents=(parent or arena.base,)
        )

    baseline = Origin(how="baseline")
    arena.add("ann", ProposalPosted(tree=arena.base, commit=arena.base_commit, title="as it is", origin=baseline))
    arena.add("ann", proposal(ONE, KnobChange(file="train.py", name="WIDTH", old=8, new=9)))
    arena.add("ann", proposal(TWO, KnobChange(file="train.py", name="LR", old=0.001, new=0.5), parent=ONE))
    human = arena.propose_files(FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", b"WIDTH = 11")})
    assert isinstance(human.event, ProposalPosted)
    arena.add("ann", proposal(WAITS, KnobChange(file="train.py", name="WIDTH", old=8, new=10)))
    arena.score(arena.base, 10.0)
    arena.score(ONE, "out_of_memory")
    arena.score(TWO, 3.0, 5.0)
    arena.score(human.event.tree, 4.0)
    base: Values = {
        ("train.py", "LR"): 0.001,
        ("train.py", "WIDTH"): 8,
        ("train.py", "BIAS"): False,
        ("train.py", "ACT"): "tanh",
    }
    known = await History(files).read(arena.board)
    assert known.trials == [
        Trial(tree=arena.base, seq=2, values=base, loss=10.0),
        Trial(tree=ONE, seq=3, values=base | {("train.py", "WIDTH"): 9}, loss=None, by="tpe"),
        Trial(tree=TWO, seq=4, values=base | {("train.py", "WIDTH"): 9, ("train.py", "LR"): 0.5}, loss=4.0, by="tpe"),
        Trial(tree=human.event.tree, seq=5, values=base | {("train.py", "WIDTH"): 11}, loss=4.0),
    ]
    assert known.pending == [Trial(tree=WAITS, seq=6, values=base | {("train.py", "WIDTH"): 10}, loss=None, by="tpe")]
    assert (known.barred, known.seq) == ([], arena.board.seq)
    assert fetched == [arena.base, human.event.tree]


async def test_the_knobs_of_a_proposal_that_names_none_are_read_from_its_code(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    arena.propose_baseline()
    wider = TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9")
    agent = Explorer(arena.context("ann"))
    [fact] = await arena.facts([Draft({"train.py": wider}, "wider", origin=Origin(how="sampler", name="mine"))], agent)
    arena.add("ann", fact)
    known = await History(CodeReader(arena.code).files).read(arena.board)
    assert [trial.values["train.py", "WIDTH"] for trial in known.pending] == [8, 9]


def test_a_result_earns_by_its_place_among_the_best_so_far() -> None:
    trials = [trial(n, {}, value) for n, value in enumerate((4.0, 2.0, None, 3.0, 9.0, 1.0))]
    assert [gain for _, gain in gains(trials)] == [0.0, 1.0, 0.0, 1 / 2, 1 / 4, 1.0]
    many = [trial(n, {}, float(n)) for n in range(20)]
    assert [gain for _, gain in gains(many)] == [0.0, *(1 / (n + 1) for n in range(1, 10)), *([0.0] * 10)]


async def test_the_log_tells_what_each_sampler_and_each_agent_earned(tmp_path: Path) -> None:
    def said(tree: str, name: str) -> list[e.AnyEvent]:
        how = e.Origin(how="sampler", name=name) if name else e.Origin(how="baseline")
        return [
            e.ProposalPosted(tree=tree, commit=commit_hash(tree), title=tree, origin=how),
            request(run_of(tree), tree),
        ]

    outcomes: list[tuple[str, str, float | e.Failed]] = [
        (T1, "", 9.0),
        (T2, "tpe", 5.0),
        (T3, "mutate", 7.0),
        (T4, "tpe", e.Failed(reason="out_of_memory", message="")),
        (T5, "mutate", 4.0),
    ]
    facts = [fact for tree, name, _ in outcomes for fact in said(tree, name)]
    facts += [finish(run_of(tree), tree, outcome) for tree, _, outcome in outcomes]
    history = [("ann", fact) for fact in (opened(), e.AgentJoined(boot="b", role="explorer"), *facts)]
    async with folded(tmp_path / "a.duckdb", history) as queries:
        assert await rows(queries, "SELECT * EXCLUDE (arena, first_share, last_share, mean_share) FROM samplers") == [
            ["tpe", 2, 2, 1, 1, 4.0, 4.0, 1.0, 0],
            ["mutate", 2, 2, 0, 1, 1.0, 4.0, 0.25, 0],
        ]
        assert await rows(queries, "SELECT agent, improvement, worker_s, earned_per_s FROM agents") == [
            ["ann", 5.0, 10.0, 0.5]
        ]
