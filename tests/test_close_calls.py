"""Close calls get one more race, on seeds of their own; proof takes no more than its share of the workers' time."""

import random
import re

import msgspec
import pytest

from agents.curation.close_calls import close_calls, races_of
from agents.curation.proof_share import affords
from agents.curation.run_requests import SEEDS
from agents.curation.waiting_claims import waiting_words
from gateway.resolve import Named
from mesh.board import Board
from mesh.events import ArenaClosed, ProposalRetired, RunFinished, RunRequested, Scored, WorkerJoined, WorkerLeft
from mesh.evidence import CLOSE
from mesh.leaderboard import Ranking, leaderboard
from mesh.spec import SelectionSpec
from mesh.testing import SPEC, Log, git_hash
from mesh.text import short
from mesh.worker_time import ALLOWANCE
from mesh_cli.live.status import spending_of
from mesh_cli.live.summary import standing_claim, unproven
from mesh_cli.proposals.card import card
from mesh_cli.proposals.describe import about
from tests.test_own_seeds_proof import finish
from tests.test_race import BASE, NOISY, asked, claimed, due, play

NEAR, FRESH, SEARCHING = map(git_hash, ("near", "fresh", "searching"))
OFF = (0.2, -0.2, 0.2, -0.2, -0.2, 0.2, -0.2, 0.2)
"""Noise of the baseline on eight seeds, and with the other sign that of the challenger."""


@pytest.fixture
def close() -> Log:
    """`closely` with a program without a seed of its own."""
    return closely(0)


def closely(own_seeds: int) -> Log:
    """A noisy arena in which a challenger was better by half a standard deviation on eight seeds, and was retired."""
    log = Log(NOISY)
    log.open()
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
    log.propose(BASE, how="baseline")
    play(log, {BASE: [10.0, 10.2, 9.8]})
    claimed(log, near=9.55)
    for _ in range(100):
        events = due(log)
        for event in events:
            log.add("curator", event)
            if isinstance(event, RunRequested):
                off = OFF[(event.seed - 1) % 8]
                score = 9.88 - off if event.proposal == NEAR else 10.0 + off
                finish(log, event.run, score, own_seeds) if own_seeds else log.finish(event.run, score)
        if any(isinstance(event, ProposalRetired) for event in events):
            return log
    raise AssertionError("nobody was retired")


def test_who_is_probably_better_is_a_close_call_and_is_told_what_a_proof_would_cost(close: Log) -> None:
    last = close.board.proposals[NEAR].rulings[-1]
    assert isinstance(last, ProposalRetired)
    assert (last.why, last.met) == ("not_better", BASE)
    assert CLOSE <= (last.p_better or 0) < 1
    assert "a gain like this would be proven by about" in last.text
    assert {row.proposal: row.state for row in leaderboard(close.board)} == {BASE: "champion", NEAR: "close"}


def test_mesh_up_ends_with_what_proof_took_and_what_more_proof_would_take(close: Log) -> None:
    [counts, call] = unproven(close.board)
    assert counts == f"close: 1 not proven, but better than the champion with a probability of {CLOSE} or more"
    assert re.match(
        rf"  {NEAR[:10]} 0\.[89]\d  not significantly better .*; a gain .* proven by about \d+ seeds$", call
    )
    close.board.seconds = {"confirm": 20.0, "control": 10.0, "explore": 70.0, "sealed": 20.0}
    proofs = len(close.board.proofs)
    assert unproven(close.board)[0] == f"proof took 25% of the worker time, 30.0 seconds for {proofs} runs"


def test_the_whole_sentence_on_a_close_call_is_shown_also_where_it_is_the_longest() -> None:
    board = closely(1).board
    last = board.proposals[NEAR].rulings[-1]
    assert isinstance(last, ProposalRetired)
    assert last.text.endswith("the program seeds itself: its claim has its own seed, and the fresh runs have others")
    assert unproven(board)[-1].endswith(f"  {last.text}")
    assert any(line.endswith(f": {last.text}") for line in card(board, about(board, Named("proposal", NEAR))))


def test_a_close_call_has_one_more_race_in_which_its_old_scores_prove_nothing(close: Log) -> None:
    assert close_calls(close.board, "cpu") == [NEAR]
    assert asked(close) == [(NEAR, "confirm", 2 * SEEDS + 1), (BASE, "control", 2 * SEEDS + 1)]
    before = len(close.board.proposals[NEAR].rulings)
    play(close, {NEAR: [10.3, 10.5] * 8, BASE: [10.0, 10.1] * 8})
    assert close.board.champion == BASE
    assert races_of(close.board, NEAR) == {1, 2}
    assert close_calls(close.board, "cpu") == []
    assert len(close.board.proposals[NEAR].rulings) == before


def test_a_close_call_that_wins_its_second_race_is_champion(close: Log) -> None:
    play(close, {NEAR: [5.0, 5.2] * 8, BASE: [10.0, 10.1] * 8})
    assert close.board.champion == NEAR
    assert leaderboard(close.board)[0].state == "champion"


def test_claims_race_before_close_calls(close: Log) -> None:
    claimed(close, fresh=9.0)
    assert {who for who, lane, _ in asked(close) if lane == "confirm"} == {FRESH}


def test_a_close_call_against_an_earlier_champion_is_none_any_more(close: Log) -> None:
    claimed(close, fresh=4.0)
    play(close, {FRESH: [5.0, 5.1] * 8, BASE: [10.0, 10.1] * 8, NEAR: []})
    assert close.board.champion == FRESH
    assert close_calls(close.board, "cpu") == []


def timed(*, proof: int, search: int, share: float, waits: bool = True) -> Board:
    """A board whose runs took a second each, so many of proof and of search."""
    log = Log(msgspec.structs.replace(NOISY, selection=SelectionSpec(proof_share=share)))
    log.open()
    log.propose(BASE, how="baseline")
    for number in range(proof + search):
        run = log.request(BASE, seed=number, lane="control" if number < proof else "explore")
        done = RunFinished(
            run=run,
            proposal=BASE,
            outcome=Scored(value=1.0),
            worker="w",
            worker_class="cpu",
            trial_s=0.75,
            score_s=0.25,
        )
        log.add("w", done)
    if waits:
        log.request(BASE, seed=10**6)
    return log.board


@pytest.mark.parametrize("share", [0.2, 0.4, 0.7])
def test_proof_waits_when_it_has_had_its_share_and_search_has_runs(share: float) -> None:
    rng = random.Random(share)
    for _ in range(20):
        proof, search, runs = rng.randrange(1, 60), rng.randrange(60), rng.randrange(1, 20)
        may = proof + runs - ALLOWANCE <= share * (proof + search + runs)
        assert affords(timed(proof=proof, search=search, share=share), runs) is may
        assert affords(timed(proof=proof, search=search, share=share, waits=False), runs)


def test_the_time_of_trials_and_scoring_counts() -> None:
    board = timed(proof=3, search=5, share=0.4)
    assert board.seconds == {"control": 3.0, "explore": 5.0}


def beginning(seeds: int) -> Log:
    """A baseline with so many scores, eight claims, and search that has a run."""
    log = Log(msgspec.structs.replace(NOISY, selection=SelectionSpec(proof_share=0.25, baseline_seeds=seeds)))
    log.open()
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
    log.propose(BASE, how="baseline")
    play(log, {BASE: [10.0 + (-1) ** seed / 10 for seed in range(seeds)]})
    claimed(log, **{f"p{number}": 9.0 + number / 10 for number in range(8)})
    log.propose(SEARCHING)
    log.request(SEARCHING)
    return log


def racing(log: Log) -> set[str]:
    return {tree for tree, lane, _ in asked(log) if lane == "confirm"}


def test_a_race_takes_as_many_of_the_best_claims_as_proof_can_afford() -> None:
    log = beginning(9)
    racers = racing(log)
    assert racers == {git_hash(f"p{number}") for number in range(4)}
    proofs, finished = len(log.board.proofs), log.board.finished
    may = [proofs + size + 1 - ALLOWANCE <= 0.25 * (finished + size + 1) for size in (4, 5)]
    assert may == [True, False]


def test_a_race_begins_once_search_has_run_enough() -> None:
    log = beginning(14)
    before = 0
    while not racing(log):
        before += 1
        claimed(log, **{f"worse-{before}": 11.0})
    assert racing(log) == {git_hash("p0")}
    proofs, finished = len(log.board.proofs), log.board.finished
    assert proofs + 2 - ALLOWANCE <= 0.25 * (finished + 2)
    assert proofs + 2 - ALLOWANCE > 0.25 * (finished - 1 + 2)


def test_where_proof_has_had_its_share_status_and_the_end_of_mesh_up_say_that_claims_wait() -> None:
    log = beginning(14)
    said = (
        "8 claims wait until proof is within its 25% of the worker time again; raise selection.proof_share in "
        "arena.toml to prove sooner"
    )
    assert waiting_words(log.board) == said
    assert spending_of(log.board)["advice"][0] == said
    assert said in unproven(log.board)
    log.add("w", WorkerLeft(boot="w"))
    assert waiting_words(log.board) == said  # the swarm has ended, and they still wait
    log.add("w", WorkerJoined(boot="w2", worker_class="cpu", device="cpu", slots=20))
    while not racing(log):
        assert waiting_words(log.board) == said
        claimed(log, **{f"worse-{log.board.seq}": 11.0})
    assert waiting_words(log.board) == ""
    assert waiting_words(beginning(9).board) == ""


def test_a_race_that_waits_for_search_counts_among_the_claims_that_wait() -> None:
    log = one_race([9.8, 10.1, 9.95], share=0.1, claim=9.95)
    assert waiting_words(log.board).startswith("1 claim waits until proof is within its 10% of the worker time again")
    claimed(log, fresh=5.0)
    assert waiting_words(log.board).startswith("2 claims wait until proof is within its 10%")
    log.add("op", ArenaClosed(version=1, reason="operator"))
    assert waiting_words(log.board) == ""


def one_race(scores: list[float], *, share: float, claim: float) -> Log:
    """An arena with a race of one challenger that has these scores on three seeds, and where search has a run."""
    log = Log(msgspec.structs.replace(NOISY, selection=SelectionSpec(proof_share=share)))
    log.open()
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
    log.propose(BASE, how="baseline")
    play(log, {BASE: [10.0, 10.2, 9.8]})
    claimed(log, near=claim)
    log.propose(SEARCHING)
    log.request(SEARCHING)
    left = {NEAR: list(scores), BASE: [10.1, 10.0, 10.05]}
    while (events := due(log)) and all(left[who] for who, _, _ in asked(log)):
        for event in events:
            log.add("curator", event)
            if isinstance(event, RunRequested):
                log.finish(event.run, left[event.proposal].pop(0))
    return log


def test_a_race_that_proof_cannot_afford_to_go_on_with_gives_way_to_a_better_claim() -> None:
    log = one_race([9.8, 10.1, 9.95], share=0.1, claim=9.95)
    assert racing(log) == set()
    assert log.board.proposals[NEAR].verdict == "open"
    claimed(log, worse=9.99)  # better than the champion's mean, but not than the challenger
    assert due(log) == []
    claimed(log, lucky=9.85)  # better than the challenger's mean, but not more than luck explains
    assert due(log) == []
    claimed(log, fresh=5.0)
    [given_up] = due(log)
    assert isinstance(given_up, ProposalRetired)
    assert (given_up.proposal, given_up.why) == (NEAR, "not_better")
    assert "gives its place to a better claim" in given_up.text
    log.add("curator", given_up)
    while not (begun := racing(log)):
        claimed(log, **{f"bad-{log.board.seq}": 11.0})
    assert begun == {FRESH}


def test_a_race_that_is_nearly_decided_does_not_give_way() -> None:
    log = one_race([9.6, 9.9, 9.75], share=0.1, claim=9.55)
    assert racing(log) == set()
    assert log.board.proposals[NEAR].verdict == "open"
    claimed(log, fresh=5.0)
    assert due(log) == []  # it waits until search has run more, and is not given up for what is newer


def test_a_race_that_it_can_afford_gives_way_to_a_claim_that_is_clearly_better() -> None:
    log = one_race([10.2, 10.1, 9.95], share=1.0, claim=9.9)
    assert racing(log) == {NEAR}
    claimed(log, little=9.85)
    assert racing(log) == {NEAR}
    claimed(log, fresh=5.0)
    [given_up] = due(log)
    assert isinstance(given_up, ProposalRetired)
    assert (given_up.proposal, given_up.why, given_up.met) == (NEAR, "not_better", BASE)
    assert "gives its place to a better claim: this race was not nearly decided" in given_up.text
    log.add("curator", given_up)
    assert racing(log) == {FRESH, git_hash("little")}


def test_who_looks_better_than_the_champion_in_such_a_race_races_again() -> None:
    log = one_race([9.9, 10.0, 9.95], share=1.0, claim=9.9)
    claimed(log, fresh=5.0)
    assert racing(log) == {FRESH}
    play(log, {FRESH: [10.4, 10.3] * 8, BASE: [10.1, 10.0] * 8, NEAR: [10.2, 10.3] * 8})
    assert (races_of(log.board, NEAR), races_of(log.board, FRESH)) == ({1, 3}, {2})
    assert {log.board.proposals[tree].verdict for tree in (NEAR, FRESH)} == {"retired"}


def test_a_race_that_it_can_afford_and_that_is_nearly_decided_goes_on() -> None:
    log = one_race([9.6, 9.9, 9.75], share=1.0, claim=9.55)
    claimed(log, fresh=5.0)
    assert racing(log) == {NEAR}


def test_the_best_claim_that_is_not_decided_is_named_with_the_way_to_take_it() -> None:
    log = Log(msgspec.structs.replace(SPEC, objective=msgspec.structs.replace(SPEC.objective, noise="measured")))
    log.open()
    for name, score in (("base", 10.0), ("worse", 10.5), ("good", 9.5), ("best", 9.25)):
        log.propose(name, how="baseline" if name == "base" else "sampler")
        log.finish(log.request(name, seed=1, lane="explore"), score)
        if name == "base":
            log.promote("base", mean=10.0)
            assert standing_claim(Ranking(log.board)) == ""
    said = standing_claim(Ranking(log.board))
    assert said.startswith(f"best claim {log.board.spec.objective.metric} 9.25")
    assert f"of 1 run, not proven: {short(git_hash('best'))} by " in said
    assert said.endswith(f"apply {short(git_hash('best'))} --arena {log.board.arena}")
    log.retire("best")
    assert short(git_hash("good")) in standing_claim(Ranking(log.board))
