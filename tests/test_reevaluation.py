"""A new evaluator makes old scores stale: what matters is measured again, and nobody wins over an empty champion."""

import datetime as dt

import msgspec
import pytest

from agents.curation.admission import decide
from agents.curation.reevaluation import TOP
from mesh.events import AnyEvent, FailureReason, Lane, ProposalPromoted, ProposalRetired, RunRequested, WorkerJoined
from mesh.spec import Direction, ObjectiveSpec
from mesh.testing import SPEC, Log, content_hash, git_hash, opened, requested

BASE, BETTER, NEW, ONE, TWO = map(git_hash, ("base", "better", "new", "one", "two"))


def due(log: Log) -> list[AnyEvent]:
    return decide(log.board, log.board.time + dt.timedelta(seconds=60))


def anew(tree: str, lane: Lane = "audit", *, evaluator: str = "f", version: int = 2) -> RunRequested:
    """The request of a run under a newer evaluator."""
    asked = requested(tree, lane=lane)
    return msgspec.structs.replace(
        asked, run=f"{asked.run}-v{version}", evaluator=content_hash(evaluator), version=version
    )


def promoted(tree: str, mean: float, *, round_: int, met: str) -> ProposalPromoted:
    text = "best score so far (the metric has no noise)"
    return ProposalPromoted(proposal=tree, round=round_, met=met, mean=mean, seeds=(1,), text=text)


def not_better(tree: str, mean: float, *, round_: int, met: str) -> ProposalRetired:
    return ProposalRetired(proposal=git_hash(tree), round=round_, why="not_better", met=met, mean=mean)


def reopen(log: Log, evaluator: str = "f", version: int = 2) -> None:
    log.add("operator", msgspec.structs.replace(opened(log.spec), evaluator=content_hash(evaluator), version=version))


def measure(log: Log, asked: RunRequested, result: float | FailureReason) -> None:
    """Ask for a run and finish it."""
    log.add("curator", asked)
    log.finish(asked.run, result)


def decided(direction: Direction = "minimize", slots: int = 20) -> Log:
    """An arena with a past champion, a champion, and eight retired proposals of scores 11 to 18."""
    log = Log(msgspec.structs.replace(SPEC, objective=ObjectiveSpec(metric="m", direction=direction, noise="none")))
    log.open()
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=slots))
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0)
    log.add("curator", promoted(BASE, 10.0, round_=1, met=""))
    log.propose(BETTER)
    log.score(BETTER, 9.0)
    log.add("curator", promoted(BETTER, 9.0, round_=2, met=BASE))
    for score in range(11, 19):
        log.propose(f"old-{score}")
        log.score(f"old-{score}", float(score))
        log.add("curator", not_better(f"old-{score}", float(score), round_=2, met=BETTER))
    assert due(log) == []
    return log


@pytest.mark.parametrize(
    ("direction", "best"), [("minimize", range(11, 11 + TOP)), ("maximize", range(18, 18 - TOP, -1))]
)
def test_champion_past_champions_and_the_best_few_are_scored_again(direction: Direction, best: range) -> None:
    log = decided(direction)
    reopen(log)
    assert due(log) == [anew(BETTER, "control"), anew(BASE), *(anew(f"old-{score}") for score in best)]


def test_what_is_asked_for_is_not_asked_for_again_whatever_came_of_it() -> None:
    log = decided()
    reopen(log)
    wanted = due(log)
    for event in wanted:
        log.add("curator", event)
    assert due(log) == []
    for event in wanted:
        assert isinstance(event, RunRequested)
        log.finish(event.run, "crash")
    assert due(log) == []


def test_re_scoring_comes_before_new_proposals_and_takes_no_more_than_the_queue_holds() -> None:
    log = decided(slots=1)
    log.propose(NEW)
    reopen(log)
    assert due(log) == [anew(BETTER, "control"), anew(BASE)]


def test_a_champion_that_somebody_made_without_a_run_is_run() -> None:
    log = Log()
    log.open()
    log.propose(ONE)
    log.propose(TWO)
    log.add("ann", promoted(ONE, 0.0, round_=1, met=""))
    log.score(TWO, 5.0)
    assert due(log) == [requested(ONE, lane="control")]


def test_a_version_with_the_same_evaluator_asks_for_nothing() -> None:
    log = decided()
    reopen(log, evaluator="e")
    assert due(log) == []


def test_an_evaluator_that_comes_back_brings_its_scores_back() -> None:
    log = decided()
    reopen(log)
    reopen(log, evaluator="e", version=3)
    assert due(log) == []


def test_nobody_is_promoted_while_the_champion_waits_for_its_score() -> None:
    log = decided()
    reopen(log)
    log.propose(NEW)
    measure(log, anew(NEW, "explore"), 1.0)
    control = anew(BETTER, "control")
    log.add("curator", control)
    assert [event for event in due(log) if not isinstance(event, RunRequested)] == []
    log.finish(control.run, 2.0)
    assert due(log)[0] == promoted(NEW, 1.0, round_=3, met=BETTER)


def test_a_challenger_that_does_not_beat_the_new_score_of_the_champion_is_retired() -> None:
    log = decided()
    reopen(log)
    log.propose(NEW)
    measure(log, anew(NEW, "explore"), 3.0)
    measure(log, anew(BETTER, "control"), 2.0)
    assert due(log)[0] == not_better(NEW, 3.0, round_=2, met=BETTER)


def test_a_champion_that_fails_under_the_new_evaluator_holds_nobody_back() -> None:
    log = decided()
    reopen(log)
    log.propose(NEW)
    measure(log, anew(NEW, "explore"), 50.0)
    measure(log, anew(BETTER, "control"), "crash")
    assert due(log)[0] == promoted(NEW, 50.0, round_=3, met=BETTER)


@pytest.mark.parametrize("tree", [BASE, git_hash("old-13")], ids=["base", "old-13"])
def test_who_is_better_under_the_new_evaluator_becomes_champion(tree: str) -> None:
    log = decided()
    reopen(log)
    measure(log, anew(BETTER, "control"), 5.0)
    measure(log, anew(tree), 4.0)
    first = promoted(tree, 4.0, round_=3, met=BETTER)
    assert due(log)[0] == first
    log.add("curator", first)
    assert log.board.champion == tree
    assert [event for event in due(log) if not isinstance(event, RunRequested)] == []


def test_an_undecided_proposal_whose_run_was_of_the_old_evaluator_is_run_again() -> None:
    log = decided()
    log.propose(NEW)
    log.score(NEW, 1.0)
    reopen(log)
    assert [e for e in due(log) if isinstance(e, RunRequested) and e.proposal == NEW] == []
    measure(log, anew(BASE), 3.0)  # the baseline comes first
    assert [e for e in due(log) if isinstance(e, RunRequested) and e.proposal == NEW] == [anew(NEW, "explore")]
    assert [e for e in due(log) if isinstance(e, ProposalRetired | ProposalPromoted)] == []


def test_only_scores_of_the_evaluator_that_measured_last_say_who_is_among_the_best() -> None:
    log = decided()
    reopen(log)
    measure(log, anew(BETTER, "control"), 5.0)
    measure(log, anew("old-18"), 6.0)
    reopen(log, evaluator="g", version=3)
    assert due(log) == [
        anew(BETTER, "control", evaluator="g", version=3),
        anew(BASE, evaluator="g", version=3),
        anew("old-18", evaluator="g", version=3),
    ]
