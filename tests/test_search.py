"""The benchmark of the samplers: its problems, its virtual workers and its figures."""

import itertools
import math
import statistics
from pathlib import Path

import pytest

from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Trial
from benchmarks.parts import search_learn, search_peers, search_swarm
from benchmarks.parts.search_cache import CourseFile, line_of
from benchmarks.parts.search_figures import METHODS, difference, iqm, paired, ratio, scores, trials_to_target, worst
from benchmarks.parts.search_problems import (
    EVALUATIONS,
    JUDGE,
    LEARN,
    Problem,
    branin,
    hartmann6,
    problems,
    sample,
)
from benchmarks.parts.search_virtual import Course, Search, run
from benchmarks.search import GOALS, WORKERS, figures, run_all
from mesh.knobs import find_knobs

PROBLEM = Problem("mixint", "1", 3)
CRASH = Problem("crash", "b", 3)


def test_a_problem_is_a_train_py_whose_knobs_are_its_variables() -> None:
    knobs = find_knobs("train.py", PROBLEM.source())
    assert [(k.name, k.low, k.high, k.is_int) for k in knobs] == [
        (k.name, k.low, k.high, k.whole) for k in PROBLEM.knobs
    ]
    assert [(k.high, k.whole) for k in PROBLEM.knobs] == [
        *((high, True) for high in (1.0, 1.0, 3.0, 3.0, 7.0, 7.0, 15.0, 15.0)),
        (5.0, False),
        (5.0, False),
    ]
    assert PROBLEM.exact([k.value for k in knobs]) == PROBLEM.value([k.start for k in PROBLEM.knobs])


def test_the_formulas_have_their_published_minima() -> None:
    assert hartmann6([0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]) == pytest.approx(-3.32237, abs=1e-5)
    for x, y in ((-math.pi, 12.275), (math.pi, 2.275), (9.42478, 2.475)):
        assert branin(x, y) == pytest.approx(0.397887, abs=1e-5)


def test_the_halves_have_no_problem_in_common_and_the_same_families() -> None:
    learn, judge = problems("learn"), problems("judge")
    assert not {*learn} & {*judge}
    assert not {*LEARN} & {*JUDGE}
    assert {p.family for p in learn} == {p.family for p in judge} == EVALUATIONS.keys()
    assert len(judge) == len(learn) == 86


@pytest.mark.parametrize("half", ["learn", "judge"])
def test_a_sample_has_every_function_once_and_begins_with_all_families(half: str) -> None:
    found = sample(half)
    assert {*found} <= {*problems(half)}
    assert len({(p.family, p.name.split()[0] if p.family == "tables" else p.name) for p in found}) == len(found) == 43
    assert {p.family for p in found[:7]} == EVALUATIONS.keys()
    assert {p.instance for p in found} == {0, *(LEARN if half == "learn" else JUDGE)}


def test_the_prior_is_learned_from_problems_that_nothing_is_judged_by_and_from_all_families() -> None:
    assert {*search_learn.PROBLEMS} <= {*problems("learn")}
    assert {p.family for p in search_learn.PROBLEMS} == EVALUATIONS.keys()
    assert portfolio.PRIOR.keys() == {*portfolio.LEARNING}


def test_the_rate_of_a_sampler_is_its_improvement_per_proposal_as_a_share_of_the_mean() -> None:
    by = [("", 9.0), ("tpe", 5.0), ("tpe", 20.0), ("cmaes", 4.0)]  # gains: 0, 1, 1 / 3, 1
    found = search_learn.rates([Trial(tree=f"{n}", seq=n, values={}, loss=x, by=b) for n, (b, x) in enumerate(by)])
    assert found == pytest.approx(dict.fromkeys(portfolio.LEARNING, 0.0) | {"tpe": 2.4, "cmaes": 3.6})
    assert search_learn.rates([]) == dict.fromkeys(portfolio.LEARNING, 1.0)


async def test_a_search_that_is_on_disk_is_not_run_again_and_a_line_cut_off_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = [Search("random", 8, PROBLEM, seed, most=30) for seed in (1, 2, 3)]
    known = Course([9.0, 5.0, 5.0, *[4.0] * 27], 2)
    file = CourseFile(tmp_path)
    file.add(line_of(todo[0], known, 0.1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40] + b"\n")
    found = await run_all(todo[:2], file, math.inf)
    assert found == {todo[0]: known, todo[1]: run(todo[1])}
    assert file.read(todo).keys() == {*todo[:2]}
    assert file.read(todo)[todo[1]].course() == found[todo[1]]
    assert await run_all(todo, file, 0.0) == found  # no time for the third


def test_the_artifact_crashes_where_its_constraints_say() -> None:
    start = {knob.name: knob.start for knob in CRASH.knobs}
    assert (start["N_EMBD"], start["N_HEAD"], start["BATCH"], start["PARTS"]) == (192, 6, 32, 2)

    def runs(**changed: float) -> bool:
        return CRASH.exact(list((start | changed).values())) is not None

    assert runs()
    assert runs(N_HEAD=8)
    assert not runs(N_HEAD=5)
    assert not runs(PARTS=3)
    assert not runs(BATCH=128, LENGTH=512)
    assert not runs(LR=0.9)


def test_durations_are_the_same_for_every_method_and_log_normal() -> None:
    first = list(itertools.islice(PROBLEM.durations(1), 500))
    assert first == list(itertools.islice(PROBLEM.durations(1), 500))
    assert 0.9 < statistics.median(first) < 1.1
    assert 0.45 < statistics.stdev(math.log(each) for each in first) < 0.55


@pytest.mark.parametrize("peer", ["tpe", "catcma", "sobol", "random"])
@pytest.mark.parametrize("problem", [PROBLEM, CRASH])
def test_a_peer_makes_its_evaluations_and_the_same_again_from_the_baseline(peer: str, problem: Problem) -> None:
    found = search_peers.search(peer, problem, 8, 40, 1)
    assert len(found) == 40
    assert found == search_peers.search(peer, problem, 8, 40, 1)
    assert [knob.start for knob in problem.knobs] in [point for point, _ in found]


def test_the_swarm_finds_what_its_roles_do_and_better_values_than_chance() -> None:
    course = run(Search("mesh", 8, PROBLEM, 1, most=40))
    assert course == run(Search("mesh", 8, PROBLEM, 1, most=40))
    assert len(course.best) == 40
    assert course.best[-1] < run(Search("random", 8, PROBLEM, 1, most=40)).best[-1]


async def test_the_real_explorer_searches_as_its_strategy_does_and_the_same_again() -> None:
    found = await search_swarm.search(PROBLEM, 8, 40, 1)
    assert found == await search_swarm.search(PROBLEM, 8, 40, 1)
    assert len(found) == 40
    chance = [run(Search("random", 8, PROBLEM, seed, most=40)).best[-1] for seed in range(1, 10)]
    assert min(found) < statistics.median(chance)


def courses(**by_method: float) -> dict[Search, Course]:
    """Two problems with three seeds, whose ends are the seed plus a number per method; they are there at once."""
    return {
        Search(method, workers, Problem(family, "1", 1), seed): Course([100.0, by_method.get(method, 9.0) + seed], 0)
        for workers in WORKERS
        for family in EVALUATIONS
        for seed in (1, 2, 3)
        for method in METHODS
    }


def test_a_score_is_0_at_randoms_median_and_1_at_the_best_seen() -> None:
    problem = Problem("classic", "1", 1)
    found = scores(courses(mesh=0.0, tpe=5.0))
    assert found[Search("mesh", 8, problem, 1)] == 1.0
    assert found[Search("random", 8, problem, 2)] == 0.0
    assert found[Search("tpe", 8, problem, 2)] == 0.4
    assert min(scores(courses(mesh=0.0, tpe=500.0)).values()) == -1.0


def test_the_middle_half_counts_and_differences_come_with_an_interval() -> None:
    assert iqm([0, 1, 2, 3, 4, 5, 6, 100]) == 3.5
    functions, ours, theirs = paired(scores(courses(mesh=0.0, tpe=5.0)), "tpe", 8)
    middle, low, high = difference(functions, ours, theirs)
    assert 0 < low <= middle <= high
    assert worst(functions, ours, theirs)[0] == pytest.approx(0.5)


def test_trials_to_a_target_that_was_missed_are_twice_the_trials() -> None:
    needed = trials_to_target(courses(mesh=0.0, tpe=0.0))
    assert needed["mesh", "classic", 8] == {("1", 1, seed): 2 for seed in (1, 2, 3)}
    assert set(needed["random", "classic", 8].values()) == {4}


def test_a_ratio_is_of_geometric_means_with_an_interval_of_the_pairs_that_both_have() -> None:
    needed = {
        ("mesh", "classic", 8): {("a", n, 1): 10.0 for n in range(40)},
        ("tpe", "classic", 8): {("a", n, 1): (5.0, 20.0)[n % 2] for n in range(40)},
        ("random", "classic", 8): {("a", n, 1): 40.0 for n in range(40)},
    }
    middle, low, high = ratio(needed, ["tpe", "random"], "classic", 8)
    assert middle == pytest.approx(1.0)
    assert 0.7 < low < 1 < high < 1.4  # 2 to the power of 1.96 / 40 ** 0.5 is 1.24
    needed["random", "classic", 8] = {("a", 0, 1): 5.0, ("b", 0, 1): 1.0}
    assert ratio(needed, ["random"], "classic", 8) == pytest.approx((2.0, 2.0, 2.0))


def test_every_goal_has_its_figure() -> None:
    told = figures(courses(mesh=0.0, tpe=5.0))
    assert GOALS.keys() - {"ms.10000", "missing"} <= told.keys()
    assert told["iqm.mesh.8"] > told["iqm.tpe.8"] > told["iqm.random.8"]
    assert told["ratio.classic.8"] == pytest.approx(2 / 32 ** (1 / 3))


def test_figures_of_a_part_leave_out_what_is_not_there_and_compare_on_what_both_have() -> None:
    every = courses(mesh=0.0, tpe=5.0)
    part = {
        one: c
        for one, c in every.items()
        if one.workers == 8 and (one.method != "tpe" or one.seed < 3) and not one.method.startswith("mesh:")
    }
    told = figures(part)
    assert "iqm.mesh.1" not in told
    assert "over.mesh:gaussian.8" not in told
    assert len(paired(scores(part), "tpe", 8)[0]) == 2 * len(EVALUATIONS)
    assert told["over.tpe.8"] > 0
    assert told["ratio.classic.8"] == pytest.approx(2 / 4)  # of random: that of tpe is not whole
