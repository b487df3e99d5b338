"""A metric whose scores show no noise is taken as exact: one fresh run proves, until a score differs."""

import msgspec
import pytest

from agents.curation.run_requests import SEEDS
from mesh.events import WorkerJoined
from mesh.evidence import fresh
from mesh.spec import SelectionSpec
from mesh.testing import Log, git_hash
from tests.test_race import BASE, BETTER, GOOD, NOISY, SHAKY, asked, claimed, play, verdicts

BEST, NEXT, SAME = map(git_hash, ("best", "next", "same"))


def equal(value: float, seeds: int = 3) -> Log:
    """A noisy arena whose baseline has this score on all seeds and is champion."""
    log = Log(msgspec.structs.replace(NOISY, selection=SelectionSpec(baseline_seeds=seeds, confirm_seeds=8)))
    log.open()
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
    log.propose(BASE, how="baseline")
    play(log, {BASE: [value] * seeds})
    return log


def test_a_metric_whose_baseline_shows_no_noise_is_proven_by_one_run() -> None:
    log = equal(0.1)
    first = log.board.proposals[BASE].rulings[-1].text
    assert first.endswith("all scores are equal, so the metric is taken as exact, and one fresh run proves")
    claimed(log, good=0.07, better=0.05, worse=0.2)
    assert asked(log) == [(BETTER, "confirm", SEEDS + 1)]
    play(log, {BETTER: [0.05]})
    assert log.board.champion == BETTER
    assert log.board.proposals[GOOD].why == "not_better"
    claimed(log, best=0.04)
    play(log, {BEST: [0.04]})
    assert log.board.champion == BEST


@pytest.mark.parametrize("value", [0.1, 1 / 3, -2.7, 1e9 / 7])
def test_an_equal_score_without_noise_is_no_claim(value: float) -> None:
    log = equal(value)
    claimed(log, same=value)
    assert [(v.proposal, v.text) for v in verdicts(log)] == [(SAME, "its score is not better than the champion's")]
    assert asked(log) == []


def test_a_fresh_score_that_differs_from_the_claim_ends_the_belief_in_an_exact_metric() -> None:
    log = equal(10.0)
    claimed(log, shaky=9.0)
    play(log, {SHAKY: [9.9, 10.3] * 4, BASE: [10.0] * 8})
    assert log.board.champion == BASE
    assert len(fresh(log.board, SHAKY)) >= 2
    claimed(log, next=9.0)
    assert asked(log)[:2] == [(NEXT, "confirm", 2 * SEEDS + 1), (BASE, "control", 2 * SEEDS + 1)]


def test_two_equal_scores_do_not_show_that_a_metric_is_exact() -> None:
    log = equal(10.0, seeds=2)
    claimed(log, better=9.0)
    assert len(asked(log)) == 2  # one seed, and the champion runs too
