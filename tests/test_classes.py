"""Scores are compared inside one class of workers, also when the workers of a class are gone."""

import pytest
from msgspec.structs import replace

from agents.curation.admission import decide
from agents.curation.run_requests import SEEDS
from mesh.board import Board
from mesh.events import (
    AnyEvent,
    ProposalPromoted,
    ProposalRetired,
    RunRequested,
    WorkerJoined,
    WorkerLeft,
)
from mesh.evidence import claim
from mesh.fleet import queue_depth
from mesh.testing import SPEC, Log, content_hash, git_hash, opened, requested
from tests.test_race import NOISY, due, play, verdicts

BASE, IDEA, NEW, OTHER, FAST, BEST, ONE, TWO = map(
    git_hash, ("base", "idea", "new", "other", "fast", "best", "one", "two")
)

GPU = "cuda-h200"


def join(log: Log, name: str, worker_class: str) -> None:
    log.add(name, WorkerJoined(boot=name, worker_class=worker_class, device=worker_class, slots=20))


def leave(log: Log, name: str) -> None:
    log.add(name, WorkerLeft(boot=name))


def scored(log: Log, tree: str, result: float, worker_class: str) -> None:
    log.propose(tree)
    log.finish(log.request(tree), result, worker_class=worker_class)


def asked(events: list[AnyEvent]) -> list[tuple[str, str, int, str]]:
    return [(e.proposal, e.lane, e.seed, e.worker_class) for e in events if isinstance(e, RunRequested)]


def take(log: Log, *results: float | str, worker_class: str) -> list[RunRequested]:
    """Take in what is due, and finish its runs with these results, the last for all others."""
    events = due(log)
    for event in events:
        log.add("curator", event)
    runs = [event for event in events if isinstance(event, RunRequested)]
    for number, run in enumerate(runs):
        log.finish(run.run, results[min(number, len(results) - 1)], worker_class=worker_class)  # type: ignore[arg-type]
    return runs


@pytest.fixture
def noisy() -> Log:
    """A noisy arena with CPU and GPU workers, whose baseline was run on CPUs and is champion there with about 10."""
    log = Log(NOISY)
    log.open()
    join(log, "w", "cpu")
    log.propose(BASE, how="baseline")
    play(log, {BASE: [10.0, 10.2, 9.8]})
    join(log, "g", GPU)
    assert log.board.champion == BASE
    return log


@pytest.mark.parametrize("value", [1.0, 99.0])
def test_a_claim_of_workers_that_are_gone_is_measured_again_where_the_champion_was_run(
    noisy: Log, value: float
) -> None:
    scored(noisy, IDEA, value, GPU)
    leave(noisy, "g")
    # however good or bad it looks beside scores of another class
    assert verdicts(noisy) == []
    [again] = take(noisy, 9.0, worker_class="cpu")
    assert (again.proposal, again.lane, again.seed, again.worker_class) == (IDEA, "explore", 1, "cpu")
    # then it is judged by what it scored there
    assert claim(noisy.board, IDEA) == (9.0, "cpu")
    assert asked(due(noisy)) == [(IDEA, "confirm", SEEDS + 1, "cpu"), (BASE, "control", SEEDS + 1, "cpu")]


def test_a_claim_measured_again_that_does_not_reach_the_champion_is_retired(noisy: Log) -> None:
    scored(noisy, IDEA, 1.0, GPU)
    leave(noisy, "g")
    take(noisy, 12.0, worker_class="cpu")
    [verdict] = verdicts(noisy)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.proposal, verdict.why, verdict.mean) == (IDEA, "not_better", 12.0)


def test_what_fails_on_the_workers_that_are_there_is_given_up(noisy: Log) -> None:
    scored(noisy, IDEA, 1.0, GPU)
    leave(noisy, "g")
    take(noisy, "out_of_memory", worker_class="cpu")
    [verdict] = verdicts(noisy)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.proposal, verdict.why) == (IDEA, "failed")
    assert verdict.text == "all its scores come from workers that have left, and the remaining workers gave it none"


def test_a_claim_is_compared_with_what_the_champion_scored_among_those_that_are_gone(noisy: Log) -> None:
    scored(noisy, IDEA, 5.0, GPU)
    meeting = take(noisy, 4.0, 4.1, worker_class=GPU)
    assert {(run.proposal, run.worker_class) for run in meeting} == {(BASE, GPU)}
    leave(noisy, "g")
    # 5.0 is better than 10 on CPUs, and worse than 4 on GPUs
    [verdict] = verdicts(noisy)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.proposal, verdict.why) == (IDEA, "not_better")


def test_where_nobody_is_there_such_a_claim_waits(noisy: Log) -> None:
    scored(noisy, IDEA, 1.0, GPU)
    leave(noisy, "g")
    leave(noisy, "w")
    assert due(noisy) == []


def test_a_race_whose_workers_are_gone_is_redone_on_the_remaining_workers(noisy: Log) -> None:
    # given a race on CPUs, half of it run, and a champion that GPUs know
    scored(noisy, OTHER, 5.0, GPU)
    take(noisy, 20.0, 20.2, worker_class=GPU)
    noisy.add("curator", ProposalRetired(proposal=OTHER, round=1, why="not_better"))
    scored(noisy, IDEA, 9.5, "cpu")
    for event in due(noisy):
        noisy.add("curator", event)
    out = [noisy.board.runs[name].requested for name in noisy.board.unfinished]
    assert asked([*out]) == [(IDEA, "confirm", SEEDS + 1, "cpu"), (BASE, "control", SEEDS + 1, "cpu")]
    noisy.finish(out[0].run, 9.0)
    assert due(noisy) == []
    # when the CPUs are gone
    leave(noisy, "w")
    # then nobody is given up for having no score there, and all are run again on GPUs
    assert verdicts(noisy) == []
    again = [*take(noisy, 10.0, 20.0, worker_class=GPU), *take(noisy, 10.1, 20.1, 10.2, 20.2, worker_class=GPU)]
    seeds = (SEEDS + 1, SEEDS + 2, SEEDS + 3)
    assert asked([*again]) == [
        (tree, lane, seed, GPU) for seed in seeds for tree, lane in ((IDEA, "confirm"), (BASE, "control"))
    ]
    [verdict] = verdicts(noisy)
    assert isinstance(verdict, ProposalPromoted)
    assert (verdict.proposal, verdict.seeds) == (IDEA, seeds)
    assert verdict.mean == pytest.approx(10.1)


def test_a_baseline_whose_workers_are_gone_is_run_on_those_that_are_there() -> None:
    log = Log(NOISY)
    log.open()
    join(log, "g", GPU)
    log.propose(BASE, how="baseline")
    log.finish(log.request(BASE), 1.0, worker_class=GPU)
    for event in due(log):
        log.add("curator", event)
    leave(log, "g")
    join(log, "w", "cpu")
    runs = take(log, 10.0, 10.2, 9.8, worker_class="cpu")
    assert asked([*runs]) == [(BASE, "control", seed, "cpu") for seed in (1, 2, 3)]
    [verdict] = verdicts(log)
    assert isinstance(verdict, ProposalPromoted)
    assert (verdict.mean, verdict.seeds) == (10.0, (1, 2, 3))


def test_runs_that_nobody_can_take_leave_the_queue_to_others(noisy: Log) -> None:
    noisy.propose(IDEA)
    depth = queue_depth(noisy.board)
    for seed in range(depth):
        noisy.add("curator", on(GPU, requested(IDEA, seed=seed, lane="audit")))
    noisy.propose(NEW, "bob")
    assert asked(due(noisy)) == []
    leave(noisy, "g")
    assert (NEW, "explore", 1, "any") in asked(due(noisy))


def on(worker_class: str, event: RunRequested) -> RunRequested:
    return replace(event, worker_class=worker_class)


@pytest.fixture
def exact() -> Log:
    """An arena of an exact metric whose champion scored 10 on a CPU; GPUs are there too."""
    log = Log(SPEC)
    log.open()
    join(log, "w", "cpu")
    join(log, "g", GPU)
    scored(log, BEST, 10.0, "cpu")
    for event in decide(log.board, log.board.time):
        log.add("curator", event)
    assert log.board.champion == BEST
    return log


@pytest.mark.parametrize(("theirs", "wins"), [(4.0, False), (6.0, True)])
def test_an_exact_score_meets_the_champion_in_its_own_class(exact: Log, theirs: float, wins: bool) -> None:
    scored(exact, FAST, 5.0, GPU)
    assert verdicts(exact) == []
    [meeting] = take(exact, theirs, worker_class=GPU)
    assert (meeting.proposal, meeting.lane, meeting.worker_class) == (BEST, "control", GPU)
    [verdict] = verdicts(exact)
    assert isinstance(verdict, ProposalPromoted if wins else ProposalRetired)
    assert (verdict.proposal, verdict.mean) == (FAST, 5.0)


def test_an_exact_score_of_workers_that_are_gone_is_measured_again(exact: Log) -> None:
    scored(exact, FAST, 5.0, GPU)
    leave(exact, "g")
    assert verdicts(exact) == []
    [again] = take(exact, 11.0, worker_class="cpu")
    assert (again.proposal, again.lane, again.worker_class) == (FAST, "explore", "cpu")
    [verdict] = verdicts(exact)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.proposal, verdict.mean) == (FAST, 11.0)


def test_of_two_classes_the_better_of_each_is_promoted_after_the_other(exact: Log) -> None:
    scored(exact, ONE, 9.0, "cpu")
    scored(exact, TWO, 5.0, GPU)
    take(exact, 6.0, worker_class=GPU)
    board: Board = exact.board
    assert (board.champion, list(board.undecided)) == (ONE, [TWO])
    take(exact, 4.0, worker_class=GPU)
    [verdict] = verdicts(exact)
    assert isinstance(verdict, ProposalRetired)
    assert (verdict.proposal, verdict.met) == (TWO, ONE)


def fixed(worker_class: str) -> Log:
    """A noisy arena whose runs are of one class alone, opened."""
    log = Log(replace(NOISY, worker=replace(NOISY.worker, class_=worker_class)))
    log.open()
    return log


def finish(log: Log, *results: float, worker_class: str) -> None:
    """Finish as many of the runs that are out."""
    for name, result in zip(list(log.board.unfinished), results, strict=False):
        log.finish(name, result, worker_class=worker_class)


def test_where_an_arena_names_its_class_a_baseline_waits_for_such_workers_to_come_back() -> None:
    log = fixed(GPU)
    join(log, "w", "cpu")
    join(log, "g", GPU)
    log.propose(BASE, how="baseline")
    log.finish(log.request(BASE), 10.0, worker_class=GPU)
    for event in due(log):
        log.add("curator", event)
    leave(log, "g")
    assert due(log) == []
    join(log, "g2", GPU)
    finish(log, 10.2, 9.8, worker_class=GPU)
    [verdict] = verdicts(log)
    assert isinstance(verdict, ProposalPromoted)
    assert verdict.seeds == (1, 2, 3)


def test_where_an_arena_names_its_class_a_race_waits_for_such_workers_to_come_back() -> None:
    log = fixed(GPU)
    join(log, "w", "cpu")
    join(log, "g", GPU)
    scored(log, BASE, 10.0, GPU)
    take(log, 10.2, 9.8, worker_class=GPU)
    for event in due(log):
        log.add("curator", event)
    assert log.board.champion == BASE
    scored(log, ONE, 9.0, GPU)
    scored(log, TWO, 9.5, GPU)
    for event in due(log):
        log.add("curator", event)
    scored(log, "later", 9.2, GPU)
    # neither is anybody judged by half of a stage, nor is another race begun, which would leave this one behind
    for done in (0, 1):
        finish(log, *[10.0] * done, worker_class=GPU)
        leave(log, f"g{done or ''}")
        assert due(log) == []
        join(log, f"g{done + 1}", GPU)
        assert due(log) == []


@pytest.mark.parametrize("reason", ["lost", "killed"])
def test_a_champion_whose_first_runs_in_a_class_are_lost_is_run_there_again(noisy: Log, reason: str) -> None:
    leave(noisy, "w")
    for _ in range(2):
        assert asked([*take(noisy, reason, worker_class=GPU)])
    assert {(run.proposal, run.worker_class) for run in take(noisy, 20.0, 20.2, worker_class=GPU)} == {(BASE, GPU)}
    scored(noisy, IDEA, 19.0, GPU)
    assert {tree for tree, _, _, _ in asked(due(noisy))} == {IDEA, BASE}


def test_a_champion_that_nobody_can_finish_in_a_class_is_not_asked_for_ever(noisy: Log) -> None:
    leave(noisy, "w")
    asked_for = [len(take(noisy, "lost", worker_class=GPU)) for _ in range(10)]
    assert asked_for[-1] == 0
    assert sum(asked_for) <= 9


def test_a_champion_awaited_of_workers_that_are_gone_is_measured_by_those_that_are_there(noisy: Log) -> None:
    noisy.add("operator", replace(opened(noisy.spec), evaluator=content_hash("f"), version=2))
    [rescored] = take(noisy, "crash", worker_class="cpu")
    assert (rescored.proposal, rescored.worker_class) == (BASE, "any")
    for event in due(noisy):
        noisy.add("curator", event)
    assert {noisy.board.runs[name].requested.worker_class for name in noisy.board.unfinished} == {"cpu"}
    leave(noisy, "w")
    assert asked(due(noisy)) == [(BASE, "control", seed, GPU) for seed in (2, 3)]


def test_a_champion_that_fails_on_the_workers_that_are_left_holds_nobody_back(noisy: Log) -> None:
    leave(noisy, "w")
    assert take(noisy, "out_of_memory", worker_class=GPU)
    assert due(noisy) == []
    scored(noisy, IDEA, 30.0, GPU)
    scored(noisy, OTHER, 40.0, GPU)
    runs = take(noisy, 31.0, 31.2, 30.8, worker_class=GPU)
    assert asked([*runs]) == [(IDEA, "confirm", seed, GPU) for seed in (2, 3, 4)]
    [verdict] = verdicts(noisy)
    assert isinstance(verdict, ProposalPromoted)
    assert (verdict.proposal, verdict.met, verdict.seeds) == (IDEA, BASE, (2, 3, 4))
    noisy.add("curator", verdict)
    [verdict] = verdicts(noisy)
    assert isinstance(verdict, ProposalRetired)
    assert verdict.proposal == OTHER


def test_a_claim_of_workers_on_which_the_champion_fails_is_measured_again_in_the_confirming_class(noisy: Log) -> None:
    scored(noisy, IDEA, 1.0, GPU)
    scored(noisy, OTHER, 2.0, GPU)
    meeting = take(noisy, "out_of_memory", worker_class=GPU)
    assert {(run.proposal, run.worker_class) for run in meeting} == {(BASE, GPU)}
    runs = take(noisy, 12.0, "crash", worker_class="cpu")
    assert asked([*runs]) == [(IDEA, "explore", 1, "cpu"), (OTHER, "explore", 1, "cpu")]
    assert [(verdict.proposal, verdict.why) for verdict in verdicts(noisy) if isinstance(verdict, ProposalRetired)] == [
        (IDEA, "not_better"),
        (OTHER, "failed"),
    ]
