"""Claims become promotions by races on fresh seeds: given a log, what is due; and what is promoted under pure luck."""

import datetime as dt
import random

import msgspec
import numpy as np
import pytest
from scipy.special import ndtri

from agents.curation.admission import decide
from agents.curation.claims import WAITING
from agents.curation.group_sequential import bounds, nominal, spent_by
from agents.curation.multiplicity import each
from agents.curation.race import HOPELESS, SIZE, UNLIKELY
from agents.curation.race_log import current_race, stages
from agents.curation.run_requests import SEEDS, race_of
from mesh.events import AnyEvent, FailureReason, ProposalPromoted, ProposalRetired, RunRequested, WorkerJoined
from mesh.evidence import Noise, estimate, fresh, noise, pooled
from mesh.spec import ArenaSpec, ObjectiveSpec, SelectionSpec
from mesh.testing import SPEC, Log, git_hash, requested

BASE, WORSE, LUCKY, GOOD, BETTER, SHAKY, FAST, ONE, TWO, A, B, C, D = map(
    git_hash, ("base", "worse", "lucky", "good", "better", "shaky", "fast", "one", "two", "a", "b", "c", "d")
)

LEAST = (HOPELESS, HOPELESS, UNLIKELY, UNLIKELY)
NOISY = msgspec.structs.replace(
    SPEC,
    objective=ObjectiveSpec(metric="loss", direction="minimize"),
    selection=SelectionSpec(baseline_seeds=3, confirm_seeds=8),
)


def due(log: Log) -> list[AnyEvent]:
    return decide(log.board, log.board.time + dt.timedelta(seconds=60))


def asked(log: Log) -> list[tuple[str, str, int]]:
    """Proposal, lane and seed of the runs that are due."""
    return [(e.proposal, e.lane, e.seed) for e in due(log) if isinstance(e, RunRequested)]


def verdicts(log: Log) -> list[ProposalPromoted | ProposalRetired]:
    return [e for e in due(log) if isinstance(e, ProposalPromoted | ProposalRetired)]


def run(log: Log, tree: str, lane: str, seed: int, result: float | FailureReason) -> None:
    log.finish(log.request(tree, seed=seed, lane=lane), result)  # type: ignore[arg-type]


def play(log: Log, result: dict[str, list[float]]) -> None:
    """Take in what is due, runs with the next of each proposal's results, until nothing is due."""
    for _ in range(100):
        events = due(log)
        if not events:
            return
        for event in events:
            log.add("curator", event)
        for event in events:
            if isinstance(event, RunRequested):
                log.finish(event.run, result[event.proposal].pop(0))
    raise AssertionError("something is always due")


@pytest.fixture
def log() -> Log:
    """A noisy arena with one worker of 20 slots, whose baseline has the losses 10.0, 10.2 and 9.8 and is champion."""
    log = Log(NOISY)
    log.open()
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
    log.propose(BASE, how="baseline")
    play(log, {BASE: [10.0, 10.2, 9.8]})
    assert log.board.champion == BASE
    return log


def claimed(log: Log, **claims: float) -> None:
    for tree, value in claims.items():
        log.propose(tree)
        log.score(tree, value)


def test_the_baseline_is_run_on_several_seeds_before_it_is_champion() -> None:
    log = Log(NOISY)
    log.open()
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0)
    spec = of("cpu")
    assert due(log) == [requested(BASE, seed=seed, lane="control", spec=spec) for seed in (2, 3)]
    run(log, BASE, "control", 2, 10.2)
    assert verdicts(log) == []
    run(log, BASE, "control", 3, 9.8)
    [first] = verdicts(log)
    assert isinstance(first, ProposalPromoted)
    assert (first.proposal, first.met, first.round, first.seeds) == (BASE, "", 1, (1, 2, 3))
    assert first.mean == pytest.approx(10.0)
    assert first.low == pytest.approx(10.0 - 4.303 * 0.2 / 3**0.5, abs=1e-3)  # Student's t, two degrees of freedom


def of(worker_class: str) -> ArenaSpec:
    """The arena's specification for runs that are asked of one class."""
    return msgspec.structs.replace(NOISY, worker=msgspec.structs.replace(NOISY.worker, class_=worker_class))


def test_a_claim_that_does_not_reach_the_champion_is_retired_with_its_chance(log: Log) -> None:
    claimed(log, worse=10.4)
    [verdict] = verdicts(log)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.proposal, verdict.why, verdict.met, verdict.mean) == (WORSE, "not_better", BASE, 10.4)
    assert verdict.p_better == pytest.approx(0.113, abs=0.001)


def test_a_better_score_alone_promotes_nobody(log: Log) -> None:
    claimed(log, lucky=1.0)
    assert verdicts(log) == []
    assert asked(log) == [(LUCKY, "confirm", SEEDS + 1), (BASE, "control", SEEDS + 1)]


def test_a_run_names_its_race_and_in_old_logs_its_seed_does(log: Log) -> None:
    claimed(log, good=4.0)
    wanted = [e for e in due(log) if isinstance(e, RunRequested)]
    assert {e.race for e in wanted} == {1}
    for stage in (wanted, []):
        old = [msgspec.structs.replace(e, race=0) for e in stage or due(log) if isinstance(e, RunRequested)]
        assert {race_of(e) for e in old} == {1}
        for event in old:
            log.add("curator", event)
            log.finish(event.run, 5.0 if event.proposal == GOOD else 10.0)
        assert current_race(log.board) == 1
    [verdict] = verdicts(log)
    assert (verdict.proposal, verdict.text.partition(":")[0]) == (GOOD, "better than the champion in race 1")


def test_another_worker_than_the_finder_is_to_confirm(log: Log) -> None:
    claimed(log, lucky=1.0)
    confirms = [e for e in due(log) if isinstance(e, RunRequested) and e.lane == "confirm"]
    assert {(e.avoid, e.worker_class) for e in confirms} == {("w", "cpu")}


def test_who_is_far_better_on_three_fresh_seeds_is_promoted_for_these_alone(log: Log) -> None:
    claimed(log, good=4.0)
    play(log, {GOOD: [5.0, 5.2, 5.1], BASE: [10.0, 10.1, 9.9]})
    assert log.board.champion == GOOD
    assert fresh(log.board, GOOD) == {SEEDS + 1: 5.0, SEEDS + 2: 5.2, SEEDS + 3: 5.1}
    assert log.board.proposals[BASE].verdict == "past_champion"


def test_a_lucky_seed_is_found_out_and_the_champion_stays(log: Log) -> None:
    claimed(log, lucky=1.0)
    play(log, {LUCKY: [9.9, 10.1] + [10.0] * 20, BASE: [10.0, 10.1] + [10.0] * 20})
    assert log.board.champion == BASE
    assert log.board.proposals[LUCKY].why == "not_better"


def after_one_stage(log: Log, **results: float) -> None:
    """Take in what is due, runs with each proposal's result, up and down by 0.14; the seeds share nothing."""
    values = {git_hash(name): value for name, value in results.items()}
    places = {tree: place for place, tree in enumerate(values)}
    for event in due(log):
        log.add("curator", event)
        if isinstance(event, RunRequested):
            off = 0.14 * (-1) ** (event.seed + places[event.proposal])
            log.finish(event.run, values[event.proposal] + off)


def test_of_several_two_go_on_and_then_one(log: Log) -> None:
    claimed(log, a=9.0, b=9.1, c=9.2, d=9.3)
    first = asked(log)
    assert [who for who, lane, seed in first if lane == "confirm" and seed == SEEDS + 1] == [A, B, C, D]
    assert len([who for who, _, _ in first if who == BASE]) == 1
    after_one_stage(log, a=10.2, b=9.8, c=9.85, d=10.3, base=10.0)
    assert {v.proposal for v in verdicts(log)} == {A, D}
    assert {(who, seed) for who, lane, seed in asked(log) if lane == "confirm"} == {
        (who, seed) for who in (B, C) for seed in (SEEDS + 2, SEEDS + 3)
    }
    for event in verdicts(log):
        log.add("curator", event)
    after_one_stage(log, b=9.75, c=9.85, base=10.0)
    assert verdicts(log) == []
    assert {who for who, lane, _ in asked(log) if lane == "confirm"} == {B}


def test_among_themselves_the_members_of_a_race_are_ranked_by_their_claims_too(log: Log) -> None:
    claimed(log, a=9.4, b=9.7, c=9.75, d=9.8)
    after_one_stage(log, a=9.9, b=9.85, c=9.8, d=10.3, base=10.0)
    kept = {who for who, lane, _ in asked(log) if lane == "confirm"}
    assert kept == {A, C}


def test_a_race_goes_on_against_the_champion_that_it_made_which_runs_ahead(log: Log) -> None:
    claimed(log, a=4.0, b=4.1, c=9.5)
    after_one_stage(log, a=5.0, b=5.05, c=9.9, base=10.0)
    assert [v.proposal for v in verdicts(log)] == [C]
    after_one_stage(log, a=5.0, b=5.05, base=10.0)
    [won] = verdicts(log)
    assert isinstance(won, ProposalPromoted)
    log.add("curator", won)
    assert (log.board.champion, won.seeds) == (A, (SEEDS + 1, SEEDS + 2, SEEDS + 3))
    assert asked(log) == [(A, "control", SEEDS + seed) for seed in range(4, 9)]
    after_one_stage(log, a=5.1)
    assert asked(log) == [(B, "confirm", SEEDS + seed) for seed in range(4, 9)]


def test_a_challenger_that_fails_on_a_fresh_seed_is_retired(log: Log) -> None:
    claimed(log, shaky=1.0)
    for event in due(log):
        log.add("curator", event)
        if isinstance(event, RunRequested):
            log.finish(event.run, "crash" if event.proposal == SHAKY and event.seed == SEEDS + 1 else 10.0)
    [verdict] = verdicts(log)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.why, verdict.text) == ("failed", "failed on a fresh seed: crash")


def test_of_many_claims_the_weakest_are_given_up(log: Log) -> None:
    claimed(log, **{f"p{number}": 9.0 + number / 100 for number in range(WAITING + 2)})
    assert {v.proposal for v in verdicts(log)} == {git_hash(f"p{number}") for number in (WAITING, WAITING + 1)}


def test_scores_of_another_class_of_workers_prove_nothing_until_the_champion_has_met_it(log: Log) -> None:
    log.add("g", WorkerJoined(boot="g", worker_class="cuda-h200", device="h200", slots=1))
    log.propose(FAST)
    request = requested(FAST)
    log.add("curator", request)
    post = log.finish(request.run, 1.0)
    assert verdicts(log) == []
    assert post.event is not None
    log.board.runs[request.run].finished = msgspec.structs.replace(post.event, worker_class="cuda-h200")  # type: ignore[assignment]
    wanted = [e for e in due(log) if isinstance(e, RunRequested)]
    assert [(e.proposal, e.lane, e.worker_class) for e in wanted] == [(BASE, "control", "cuda-h200")] * 2


def test_a_champion_is_run_again_after_enough_search(log: Log) -> None:
    for number in range(25):
        claimed(log, **{f"worse-{number}": 11.0})
        for event in verdicts(log):
            log.add("curator", event)
    assert asked(log) == [(BASE, "control", SEEDS + 500)]


def test_a_champion_that_its_controls_do_not_bear_out_is_demoted(log: Log) -> None:
    claimed(log, good=4.0)
    play(log, {GOOD: [5.0, 5.2, 5.1], BASE: [10.0, 10.1, 9.9]})
    for seed, value in enumerate((12.0, 12.1, 11.9, 12.0), SEEDS + 500):
        run(log, GOOD, "control", seed, value)
    again, demoted = verdicts(log)
    assert isinstance(again, ProposalPromoted)
    assert isinstance(demoted, ProposalRetired)
    assert (again.proposal, again.met) == (BASE, GOOD)
    assert (demoted.proposal, demoted.why, demoted.met) == (GOOD, "demoted", BASE)
    for event in (again, demoted):
        log.add("curator", event)
    assert log.board.champion == BASE
    assert log.board.proposals[GOOD].why == "demoted"


def test_where_the_baseline_fails_the_best_claim_is_run_on_fresh_seeds() -> None:
    log = Log(NOISY)
    log.open()
    log.propose(BASE, how="baseline")
    claimed(log, one=5.0, two=4.0)
    log.score(BASE, "crash")
    play(log, {TWO: [4.5, 4.6, 4.7], ONE: [5.0] * 20})
    assert log.board.champion == TWO
    assert log.board.proposals[BASE].why == "failed"


def test_who_would_have_been_first_champion_but_for_a_later_claim_meets_the_one_who_is() -> None:
    log = Log(NOISY)
    log.open()
    log.propose(BASE, how="baseline")
    claimed(log, one=5.0)
    log.score(BASE, "crash")
    for _ in ("the baseline is given up", "the best claim is to be run"):
        for event in due(log):
            log.add("curator", event)
    claimed(log, two=4.0)
    play(log, {TWO: [5.5, 5.6, 5.7]})
    assert (log.board.champion, list(log.board.undecided)) == (TWO, [ONE])
    for name in list(log.board.unfinished):
        log.finish(name, 4.4)
    play(log, {TWO: [5.5, 5.6] * 10, ONE: [4.4, 4.5] * 10})
    assert log.board.champion == ONE
    assert not log.board.undecided


def test_noise_is_pooled_over_what_was_run_on_several_seeds(log: Log) -> None:
    found = noise(log.board, "cpu")
    assert found.dof == 2
    assert found.sd == pytest.approx(0.2)
    several = pooled([[1.0, 3.0], [5.0], [2.0, 2.0, 2.0]])
    assert several.dof == 3
    assert several.sd == pytest.approx((2 / 3) ** 0.5)
    assert estimate([1.0, 2.0], Noise(float("inf"), 0)).low == -float("inf")


def test_stages_double() -> None:
    assert [stages(n) for n in (2, 3, 5, 8, 16)] == [[1, 2], [1, 3], [1, 3, 5], [1, 3, 8], [1, 3, 7, 16]]
    assert stages(100) == [1, 3, 7, 15, 31, 63, 100]


def test_the_level_is_spent_by_the_last_look_and_hardly_at_the_first() -> None:
    assert [spent_by(n) for n in (1, 2, 3)] == [[1.0], [0.0, 1.0], [0.0, 0.03, 1.0]]
    assert spent_by(4) == [0.0, 0.03, 0.75, 1.0]
    assert spent_by(6) == pytest.approx([0.0, 0.03, 0.75, 0.75 + 0.25 / 3, 0.75 + 0.5 / 3, 1.0])


def test_the_bounds_of_several_looks_spend_the_level_and_no_more() -> None:
    looks, level = (1, 3, 7, 16), 0.05
    bars = -ndtri(np.array(bounds(looks, level)))
    walks = np.random.default_rng(0).standard_normal((200_000, looks[-1])).cumsum(axis=1)
    at = np.array(looks)
    passed = (walks[:, at - 1] / np.sqrt(at) > bars).any(axis=1)
    assert passed.mean() == pytest.approx(level, abs=0.002)
    assert bounds((8,), level) == pytest.approx((level,))
    assert nominal(looks, 0, level) == 0
    assert nominal(looks, 1, level) < 1e-12
    assert nominal(looks, 5, level) == bounds(looks, level)[1]


def test_the_level_of_each_of_many_lies_between_a_share_and_the_whole() -> None:
    looks, level = (1, 3, 7, 16), 0.08
    one, few, many = (each(looks, level, size, 3, LEAST) for size in (1, 4, SIZE))
    assert one == level
    assert level / SIZE < many < few < level
    assert each(looks, 1e-4, SIZE, 3, LEAST) == 1e-4 / SIZE


@pytest.mark.parametrize("gain", [0.0, 3.0])
def test_where_all_are_equal_luck_hardly_ever_promotes(gain: float) -> None:
    """All are equal, and to the baseline, so that every promotion is false; or far better, so that every second is."""
    false, made = 0.0, 80
    for world in range(made):
        rng = random.Random(f"{world} {gain}")
        log = Log(NOISY)
        log.open()
        log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
        log.propose(BASE, how="baseline")
        for number in range(30):
            log.propose(f"p{number}", f"author-{number}")
        for _ in range(200):
            events = due(log)
            for event in events:
                log.add("curator", event)
            for event in events:
                if isinstance(event, RunRequested):
                    log.finish(event.run, rng.gauss(10 - gain * (event.proposal != BASE), 1))
            if not events:
                break
        assert not log.board.undecided
        promotions = len(log.board.champions) - 1
        false += max(0, promotions - (gain > 0)) / max(1, promotions)
    assert false / made <= 0.1 + 2.33 * (0.1 * 0.9 / made) ** 0.5  # at a rate of 0.1 more would come once in 100 times


@pytest.mark.parametrize("seed", range(3))
def test_decisions_are_the_same_for_everybody_who_has_read_as_far(log: Log, seed: int) -> None:
    rng = random.Random(seed)
    claimed(log, **{f"p{number}": rng.gauss(9.9, 0.2) for number in range(12)})
    assert due(log) == due(log)
