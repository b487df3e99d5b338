"""People and models come before the backlog of the samplers, and everybody sees the place of a proposal."""

import pytest

from agents.curation.admission import decide
from mesh.admission_order import QueuePlace, admission_order, place_words, queue_place
from mesh.events import Origin, ProposalPosted, RunRequested, WorkerJoined
from mesh.testing import Log, commit_hash, git_hash

BACKLOG = 40


@pytest.fixture
def log() -> Log:
    """An arena with a measured champion, a worker of one slot, and a full backlog of samplers."""
    log = Log()
    log.open()
    log.propose("base", how="baseline")
    log.score("base", 1.0)
    log.promote("base", mean=1.0)
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=1))
    for number in range(BACKLOG):
        log.propose(f"s{number}", author=f"explorer-{number % 4}")
    return log


def human(log: Log, tree: str, how: str = "human") -> None:
    origin = Origin(how="model" if how == "model" else "human", name="ann")
    log.add("ann", ProposalPosted(tree=git_hash(tree), commit=commit_hash(tree), title=tree, origin=origin))


def admit(log: Log) -> list[str]:
    """Post what the curator requests now, and return the proposals."""
    wanted = [event for event in decide(log.board, log.board.time) if isinstance(event, RunRequested)]
    for event in wanted:
        log.add("curator", event)
    return [event.proposal for event in wanted]


@pytest.mark.parametrize("how", ["human", "model"])
def test_a_proposal_of_a_person_or_a_model_is_admitted_before_the_backlog(log: Log, how: str) -> None:
    assert admit(log) == [git_hash("s0"), git_hash("s1")]  # the queue is full: twice the slots
    human(log, "mine", how)
    assert admit(log) == []
    assert queue_place(log.board, git_hash("mine")) == QueuePlace("queued", 1, BACKLOG - 1)
    assert queue_place(log.board, git_hash("s2")) == QueuePlace("queued", 2, BACKLOG - 1)
    log.finish(log.board.current_runs(git_hash("s0"))[0].requested.run, 2.0)
    assert admit(log) == [git_hash("mine")]


def test_people_and_models_keep_the_order_of_the_log(log: Log) -> None:
    human(log, "first")
    human(log, "second", "model")
    human(log, "third")
    assert [*admission_order(log.board)][:4] == [git_hash(name) for name in ("first", "second", "third", "s0")]


def test_the_place_of_a_proposal_is_said_until_its_verdict(log: Log) -> None:
    admit(log)
    human(log, "mine")
    mine = git_hash("mine")
    first, second = (log.board.current_runs(git_hash(name))[0].requested.run for name in ("s0", "s1"))
    log.finish(first, 2.0)
    admit(log)
    assert place_words(queue_place(log.board, mine)) == "its run is requested; 1 run waits before it"
    log.finish(second, 2.0)
    assert queue_place(log.board, mine) == QueuePlace("requested", 1, 1)
    log.finish(log.board.current_runs(mine)[0].requested.run, 2.0)
    assert queue_place(log.board, mine) == QueuePlace("measured")
    log.retire("mine")
    assert queue_place(log.board, mine) == QueuePlace("decided")


def test_before_the_baseline_has_a_number_it_is_admitted_alone() -> None:
    log = Log()
    log.open()
    human(log, "mine")
    log.propose("base", how="baseline")
    assert [*admission_order(log.board)] == [git_hash("base")]
    assert queue_place(log.board, git_hash("mine")) == QueuePlace("queued", 2, 2)
