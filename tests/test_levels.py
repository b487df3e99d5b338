"""The level of each race, and who races more than once: error control over the whole life of an arena."""

import random

import pytest

from agents.curation.error_control import level
from agents.curation.race_log import current_race, families_proven
from agents.curation.run_requests import SEEDS
from benchmarks.parts.long_run import power_after
from mesh.events import ProposalRetired
from mesh.testing import Log, git_hash
from tests.test_race import after_one_stage, asked, claimed, due, play, verdicts
from tests.test_race import log as log

BASE, GOOD, BETTER, FAST, A, B, C = map(git_hash, ("base", "good", "better", "fast", "a", "b", "c"))


def test_the_levels_of_all_races_sum_up_to_the_false_discovery_rate() -> None:
    assert sum(level(family, (), 0.1) for family in range(1, 1_000_000)) == pytest.approx(0.1, rel=1e-3)
    assert level(40, (3,), 0.1) == level(40, (), 0.1)
    assert level(40, (3, 30), 0.1) == pytest.approx(level(40, (), 0.1) + 0.1 * 10**-1.5 / 2.612, rel=1e-3)


def test_all_levels_up_to_a_family_are_paid_by_the_promotions_before_it() -> None:
    rng = random.Random(3)
    for _ in range(20):
        proven: list[int] = []
        spent = 0.0
        for family in range(1, 300):
            spent += level(family, proven, 0.1)
            assert spent <= 0.1 * max(1, len(proven)) + 1e-9
            assert level(family, proven, 0.1) <= level(1, (), 0.1)
            if rng.random() < 0.1:
                proven.append(family)


def test_where_gains_are_found_now_and_then_a_hundred_races_later_a_real_one_is_still_proven() -> None:
    assert power_after(0) > 0.9
    assert power_after(105, every=10) > 0.5
    assert power_after(105) < 0.15
    assert power_after(105, gain=0.0, every=10) < 0.01


def test_who_leaves_for_better_ones_but_looks_better_than_the_champion_races_once_more(log: Log) -> None:
    claimed(log, b=9.0, c=9.1, a=9.2)
    after_one_stage(log, b=9.6, c=9.6, a=9.9, base=10.0)
    assert {who for who, lane, _ in asked(log) if lane == "confirm"} == {B, C}
    assert verdicts(log) == []
    after_one_stage(log, b=11.5, c=11.5, base=10.0)
    assert {v.proposal for v in verdicts(log)} == {B, C}
    for event in due(log):
        log.add("curator", event)
    assert asked(log) == [(A, "confirm", 2 * SEEDS + 1), (BASE, "control", 2 * SEEDS + 1)]
    after_one_stage(log, a=9.9, base=10.0)
    after_one_stage(log, a=11.5, base=10.0)
    [verdict] = verdicts(log)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.proposal, verdict.seeds) == (A, (2 * SEEDS + 1, 2 * SEEDS + 2, 2 * SEEDS + 3))


def test_the_families_of_promotions_by_proof_are_read_from_the_log(log: Log) -> None:
    assert families_proven(log.board) == []
    claimed(log, good=4.0, better=0.5)
    play(log, {GOOD: [5.0, 5.1, 4.9] * 6, BETTER: [1.0, 1.1, 0.9] * 6, BASE: [10.0, 10.1, 9.9] * 6})
    assert (log.board.champion, families_proven(log.board)) == (BETTER, [1])
    claimed(log, fast=-6.0)
    play(log, {FAST: [-5.0, -5.1, -4.9] * 6, BETTER: [1.0, 1.1, 0.9] * 6, GOOD: [5.0, 5.1, 4.9] * 6})
    assert (log.board.champion, families_proven(log.board)) == (FAST, [1, current_race(log.board) + 1])
