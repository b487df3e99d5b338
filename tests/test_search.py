"""The benchmark of the samplers: its problems, its virtual workers and its figures."""

import itertools
import math
import statistics

import pytest

from agents.search.knobs import find_knobs
from benchmarks.parts import search_peers, search_swarm
from benchmarks.parts.search_figures import METHODS, Search, difference, interval_on, iqm, paired, scores, worst
from benchmarks.parts.search_problems import Problem
from benchmarks.search import GOALS, WORKERS, figures

PROBLEM = Problem(1, 3)


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
    assert PROBLEM.value([float(k.value) for k in knobs]) > PROBLEM.value([1, 1, 1, 1, 5, 3, 7, 7, 0, 0]) - 1000


def test_durations_are_the_same_for_every_method_and_log_normal() -> None:
    first = list(itertools.islice(PROBLEM.durations(1), 500))
    assert first == list(itertools.islice(PROBLEM.durations(1), 500))
    assert 0.9 < statistics.median(first) < 1.1
    assert 0.45 < statistics.stdev(math.log(each) for each in first) < 0.55


@pytest.mark.parametrize("peer", METHODS[1:])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_peer_makes_its_evaluations_and_the_same_again(peer: str, workers: int) -> None:
    found = search_peers.search(peer, PROBLEM, workers, 40, 1)
    assert len(found) == 40
    assert found == search_peers.search(peer, PROBLEM, workers, 40, 1)


@pytest.mark.parametrize("workers", [1, 8])
async def test_the_swarm_finds_what_its_roles_do_the_same_again_and_better_values(workers: int) -> None:
    found = await search_swarm.search(PROBLEM, workers, 40, 1)
    assert found == await search_swarm.search(PROBLEM, workers, 40, 1)
    assert len(found) == 40
    assert min(found) < min(search_peers.search("random", PROBLEM, workers, 40, 1))


def ends(**by_method: float) -> dict[Search, float]:
    """Searches of two functions with three seeds, whose ends are the seed plus a number per method."""
    return {
        Search(method, workers, function, 1, seed): by_method[method] + seed * function
        for workers in WORKERS
        for function in (1, 2)
        for seed in (1, 2, 3)
        for method in METHODS
    }


def test_a_score_is_0_at_randoms_median_and_1_at_the_best_seen() -> None:
    found = scores(ends(mesh=0.0, tpe=5.0, catcma=5.0, random=9.0))
    assert found[Search("mesh", 8, 1, 1, 1)] == 1.0
    assert found[Search("random", 8, 1, 1, 2)] == 0.0
    assert found[Search("tpe", 8, 1, 1, 2)] == 0.4
    assert min(scores(ends(mesh=0.0, tpe=500.0, catcma=5.0, random=9.0)).values()) == -1.0


def test_the_middle_half_counts_and_differences_come_with_an_interval() -> None:
    assert iqm([0, 1, 2, 3, 4, 5, 6, 100]) == 3.5
    functions, ours, theirs = paired(scores(ends(mesh=0.0, tpe=5.0, catcma=5.0, random=9.0)), "mesh", "tpe", 8)
    middle, low, high = difference(functions, ours, theirs)
    assert 0 < low <= middle <= high
    least, function = worst(functions, ours, theirs)
    assert least == pytest.approx(0.45454545)
    low, high = interval_on(function, functions, ours, theirs)
    assert low <= least <= high


def test_every_goal_has_its_figure() -> None:
    told = figures(ends(mesh=0.0, tpe=5.0, catcma=5.0, random=9.0))
    assert GOALS.keys() <= told.keys()
    assert told["iqm.mesh.8"] > told["iqm.tpe.8"] > told["iqm.random.8"]
