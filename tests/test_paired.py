"""Scores on common seeds are compared in pairs where seeds share a difficulty, and promote nobody by luck."""

import math
import random
import re
import statistics
from collections.abc import Mapping

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.special import fdtrc

from agents.curation.claims import expected_on
from benchmarks.paired import is_fooled
from benchmarks.parts.null_arenas import CorrelatedArena, Draw, contaminated, normal, student_of_3
from gateway.resolve import Named
from mesh.events import Origin, ProposalPosted
from mesh.evidence import Noise, fresh, noise, p_better
from mesh.f_test import f_tail
from mesh.leaderboard import Ranking
from mesh.paired import SeedEffect, difference, moderated, seed_effect, side_by_side
from mesh.testing import SPEC, Log, commit_hash, git_hash
from mesh.text import short
from mesh_cli.live.headline import progress_line
from mesh_cli.proposals.card import card
from mesh_cli.proposals.champion_score import score_words, scores_of
from mesh_cli.proposals.describe import about
from mesh_cli.proposals.diff import metric_of
from mesh_cli.proposals.lineage import lineage_row

Columns = list[dict[int, float]]


def worlds(rng: random.Random, correlation: float, sizes: Mapping[str, range]) -> Columns:
    """Scores of variance 1 of equal proposals on seeds."""
    shared = {seed: rng.gauss(0, correlation**0.5) for seeds in sizes.values() for seed in seeds}
    return [{seed: shared[seed] + rng.gauss(0, (1 - correlation) ** 0.5) for seed in s} for s in sizes.values()]


RACES = {
    "base": range(-3, 16),
    **{f"p{number}": range(size) for number, size in enumerate((2, 2, 2, 2, 4, 4, 8, 16))},
    "later": range(30, 38),
    "q": range(30, 34),
}
"""A race of eight on 2 to 16 seeds, with a champion that has three scores more, and two who share no seed with them."""


def child(log: Log, tree: str, parent: str) -> None:
    event = ProposalPosted(
        tree=git_hash(tree),
        commit=commit_hash(tree),
        title=tree,
        origin=Origin(how="human"),
        parents=(git_hash(parent),),
    )
    log.add("ann", event)


def test_a_difference_without_correlation_is_that_of_two_means() -> None:
    one, other = {1: 3.0, 2: 5.0}, {1: 1.0, 2: 2.0, 3: 3.0, 4: 6.0}
    assert difference(one, other, 0.0) == pytest.approx((1.0, math.sqrt(1 / 2 + 1 / 4)))


def test_levels_side_by_side_do_not_move_when_one_is_scored_while_the_machine_is_slow() -> None:
    base, middle = {1: 10.0, 2: 12.0}, {1: 8.0, 2: 10.0, 3: 18.0, 4: 19.0}
    last = {3: 17.0, 4: 18.0, 5: 40.0, 6: 41.0}
    [levels] = side_by_side({"base": base, "middle": middle, "last": last})
    assert levels["base"] - levels["middle"] == pytest.approx(2.0)
    assert levels["base"] - levels["last"] == pytest.approx(3.0)
    assert statistics.fmean(last.values()) > statistics.fmean(base.values())


def test_the_gain_over_the_baseline_does_not_shrink_while_the_machine_is_slow() -> None:
    log = Log(replace(SPEC, objective=replace(SPEC.objective, noise="measured")))
    log.open()
    log.propose("base", how="baseline")
    child(log, "p", "base")
    slow = {1: 10.0, 2: 14.0, 3: 11.0, 4: 13.0}
    for seed, took in slow.items():
        log.finish(log.request("base", seed=seed, lane="control"), took)
        log.finish(log.request("p", seed=seed, lane="confirm"), took - 2 + seed / 100)
    log.promote("p", mean=10.0)
    ranking = Ranking(log.board)
    assert ranking.gain_side_by_side(git_hash("p"), git_hash("base")) == pytest.approx(1.975)
    for seed in range(11, 31):
        log.finish(log.request("p", seed=seed, lane="control"), 30.0 + seed % 3)
    ranking = Ranking(log.board)
    row = ranking.of(git_hash("p"))
    assert row
    assert row.mean
    assert row.mean > 20
    line = progress_line(log.board, ranking, 1.0, None)
    assert "gain +1.9750 over the baseline in runs side by side" in line
    words = "gain +1.9750 in runs side by side with the baseline, whose mean is 12.0000"
    assert metric_of(log.board, git_hash("base"), git_hash("p")).gain == pytest.approx(1.975)
    shown = about(log.board, Named("proposal", git_hash("p")))
    assert [(parent.gain, parent.proven) for parent in shown["parents"]] == [(pytest.approx(1.975), True)]
    said = "\n".join(card(log.board, shown))
    assert words in said
    assert re.search(rf"^  {short(git_hash('base'))} +\+1\.975\d*  base$", said, re.MULTILINE), said
    assert words in score_words(scores_of(Ranking(log.board)))
    assert lineage_row(ranking, git_hash("p"))["gain"] == pytest.approx(1.975)


def test_a_gain_over_a_parent_that_has_only_a_candidate_score_is_called_not_proven() -> None:
    log = Log(replace(SPEC, objective=replace(SPEC.objective, noise="measured")))
    log.open()
    log.propose("lucky")
    child(log, "p", "lucky")
    log.finish(log.request("lucky", seed=1, lane="explore"), 9.0)
    for seed in (2, 3):
        log.finish(log.request("p", seed=seed, lane="confirm"), 9.5)
    log.promote("p", mean=9.5)
    said = card(log.board, about(log.board, Named("proposal", git_hash("p"))))
    [parent] = [line for line in said if line.startswith(f"  {short(git_hash('lucky'))}")]
    assert parent.split(maxsplit=2)[1].rstrip("0") == "-0.5"
    assert parent.endswith(" (not proven)  lucky")


def test_levels_side_by_side_are_those_of_least_squares() -> None:
    rng = random.Random(8)
    for _ in range(50):
        loads = [rng.gauss(0, 5) for _ in range(rng.choice((2, 10, 40)))]
        columns = {
            f"t{number}": {
                seed: 100 + loads[seed] + rng.gauss(0, 0.1)
                for seed in rng.sample(range(len(loads)), rng.randrange(min(6, len(loads))))
            }
            for number in range(rng.choice((1, 3, 20)))
        }
        cells = [(name, seed, score) for name, scores in columns.items() for seed, score in scores.items()]
        names = list(columns)
        design = np.zeros((len(cells), len(names) + len(loads)))
        for row, (name, seed, _) in enumerate(cells):
            design[row, names.index(name)] = design[row, len(names) + seed] = 1
        levels = np.linalg.lstsq(design, np.array([score for *_, score in cells]), rcond=None)[0] if cells else []
        groups = side_by_side(columns)
        assert sorted(name for group in groups for name in group) == sorted(names)
        for group in groups:
            first, *others = group
            for other in others:
                gap = levels[names.index(other)] - levels[names.index(first)]
                assert group[other] - group[first] == pytest.approx(gap, abs=1e-9)


def test_levels_without_common_seeds_are_not_compared() -> None:
    groups = side_by_side({"a": {1: 1.0, 2: 2.0}, "b": {3: 1.0}, "c": {2: 3.0}, "d": {}})
    assert [sorted(group) for group in groups] == [["a", "c"], ["b"], ["d"]]


def test_a_difference_on_common_seeds_alone_is_the_mean_of_the_differences() -> None:
    one, other = {1: 3.0, 2: 15.0, 3: 9.0}, {3: 7.0, 1: 2.0, 2: 12.0}
    assert difference(one, other, 0.8) == pytest.approx((2.0, math.sqrt(2 * 0.2 / 3)))


@pytest.mark.parametrize("correlation", [-0.4, 0.3, 0.95])
def test_a_difference_with_scores_missing_on_both_sides_is_that_of_generalised_least_squares(
    correlation: float,
) -> None:
    rng = np.random.default_rng(7)
    one = {seed: float(rng.normal()) for seed in (1, 2, 3, 8)}
    other = {seed: float(rng.normal()) for seed in (2, 3, 4, 5, 6)}
    cells = [(0, seed, score) for seed, score in one.items()] + [(1, seed, score) for seed, score in other.items()]
    covariance = np.array(
        [[1.0 if a[:2] == b[:2] else correlation if a[1] == b[1] else 0.0 for b in cells] for a in cells]
    )
    design = np.array([[float(who == 0), float(who == 1)] for who, _, _ in cells])
    weighed = design.T @ np.linalg.inv(covariance)
    cov = np.linalg.inv(weighed @ design)
    mean = cov @ weighed @ np.array([score for _, _, score in cells])
    error = math.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    assert difference(one, other, correlation) == pytest.approx((mean[0] - mean[1], error))


def test_the_effect_of_seeds_is_that_of_least_squares_over_proposals_and_seeds() -> None:
    columns = worlds(random.Random(3), 0.8, RACES)
    found = seed_effect(columns)
    assert found
    names = sorted({seed for column in columns for seed in column})
    cells = [(number, names.index(seed), score) for number, col in enumerate(columns) for seed, score in col.items()]
    design = np.zeros((len(cells), len(columns) + len(names)))
    for row, (number, place, _) in enumerate(cells):
        design[row, number] = design[row, len(columns) + place] = 1
    values = np.array([score for _, _, score in cells])
    _, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    assert found.dof == len(cells) - rank
    assert found.sd == pytest.approx(math.sqrt(rest @ rest / found.dof), rel=1e-6)
    assert found.correlation == pytest.approx(0.8, abs=0.15)


def test_seeds_that_share_nothing_are_seldom_taken_for_worlds() -> None:
    shown = sum(seed_effect(worlds(random.Random(world), 0.0, RACES)) is not None for world in range(300))
    assert shown <= 300 * 0.05 + 2.33 * math.sqrt(300 * 0.05 * 0.95)


def test_the_tail_of_the_f_distribution_is_that_of_scipy() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        one, other, ratio = int(10 ** rng.uniform(0, 3.5)), int(10 ** rng.uniform(0, 3.5)), 10 ** rng.uniform(-3, 3)
        assert f_tail(one, other, ratio) == pytest.approx(float(fdtrc(one, other, ratio)), rel=1e-8, abs=1e-12)
    assert (f_tail(3, 4, 0.0), f_tail(3, 4, math.inf)) == (1.0, 0.0)


def test_scores_without_common_seeds_or_spread_show_no_effect() -> None:
    assert seed_effect([]) is None
    assert seed_effect([{1: 1.0, 2: 5.0}, {3: 2.0, 4: 9.0}]) is None
    assert seed_effect([{1: 1.0, 2: 1.0}, {1: 2.0, 2: 2.0}]) is None


def test_a_gain_that_the_spread_of_worlds_hides_is_proven_in_pairs() -> None:
    """Figures of an arena of generated worlds: 0.145 between worlds, 0.055 between differences, a gain of 0.0456."""
    rng = random.Random(2)
    shared = [rng.gauss(0, 0.14) for _ in range(8)]
    champion = {seed: world + rng.gauss(0, 0.035) for seed, world in enumerate(shared)}
    challenger = {seed: world + 0.0456 + rng.gauss(0, 0.035) for seed, world in enumerate(shared)}
    effect = seed_effect([champion, challenger])
    assert effect
    board = CorrelatedArena({}, 0.0, normal, "any").log.board
    paired = p_better(board, challenger, champion, Noise(0.145, 14, effect))
    unpaired = p_better(board, challenger, champion, Noise(0.145, 14))
    assert paired > 0.97 > 0.87 > unpaired


def test_a_claim_is_compared_with_the_champion_on_its_own_seed_where_seeds_share_a_difficulty() -> None:
    champion = {1: 2.0, 2: 10.0, 3: 12.0}
    assert expected_on(1, champion, Noise(4.0, 5)) == 8.0
    assert expected_on(1, champion, Noise(4.0, 5, SeedEffect(0.9, 1.0, 5))) == pytest.approx(11 - 0.9 * 9)
    assert expected_on(9, champion, Noise(4.0, 5, SeedEffect(0.9, 1.0, 5))) == 8.0


def test_arenas_of_worlds_find_out_that_their_seeds_are_worlds() -> None:
    found = list[float]()
    for world in ("worlds", "a", "b", "c"):
        arena = CorrelatedArena({f"p{number}": 0.3 for number in range(12)}, 0.9, normal, world)
        arena.play()
        seeds = noise(arena.log.board, "cpu").seeds
        assert seeds
        found.append(seeds.correlation)
        assert arena.promotions >= 1
        assert fresh(arena.log.board, arena.log.board.champion)
    assert statistics.fmean(found) == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize(("correlation", "draw"), [(-0.2, normal), (0.5, contaminated), (0.9, student_of_3)])
def test_arenas_of_equals_seldom_promote_whatever_the_seeds_share(correlation: float, draw: Draw) -> None:
    made = 12
    fooled = sum(is_fooled(correlation, draw, world, proposals=12) for world in range(made))
    assert fooled <= 4  # at a rate of 0.1, five or more of twelve come once in 200 times


def test_scores_that_spread_more_than_the_noise_count_less() -> None:
    steady, wild, champion = {1: 5.0, 2: 6.0}, {1: 1.0, 2: 10.0}, {1: 0.0, 3: 2.0}
    assert moderated(1.0, steady, champion, 0.0) == 1.0
    assert moderated(1.0, {1: 9.0}, champion, 0.0) == 1.0
    assert moderated(1.0, wild, champion, 0.0) == pytest.approx(math.sqrt((4 * 1 + 40.5) / 5))
    assert moderated(1.0, wild, champion, 0.5) == 1.0  # one common seed says nothing of the spread
