"""Runs that were scored by another evaluator than the arena's, as a worker of 0.1.0 does, are asked for again."""

from msgspec.structs import replace

from agents.curation.admission import decide
from agents.curation.audits import with_other_owners
from mesh import events as e
from mesh.bounds import MAX_KEY
from mesh.hand_outs import BY_STARTER
from mesh.testing import content_hash, run_of
from tests.support.history import T0, T1, Fact, finish, opened, proposal
from tests.test_facts_about_others import board_of

BASE = run_of(T0, "explore", 1)


def worker(name: str) -> Fact:
    return name, e.WorkerJoined(boot=f"b-{name}", worker_class="cpu", device="cpu", slots=1)


FLEET: list[Fact] = [("op", replace(opened(), rules=BY_STARTER)), worker("old"), worker("new")]
FLEET += [("op", proposal(T0, how="baseline"))]


def scored(asked: e.RunRequested, by: str, evaluator: str) -> list[Fact]:
    """Return the facts of a run that a worker scores by an evaluator."""
    done = replace(finish(asked.run, asked.proposal, 1.0), worker=f"b-{by}", evaluator=content_hash(evaluator))
    return [("cur", asked), (by, e.RunStarted(run=asked.run, attempt=1, worker=f"b-{by}")), (by, done)]


def asked_of(history: list[Fact]) -> list[e.RunRequested]:
    board, _ = board_of(history)
    return [fact for fact in decide(board, board.time) if isinstance(fact, e.RunRequested)]


def test_a_run_that_another_evaluator_scored_is_asked_for_again_of_other_workers() -> None:
    [first] = asked_of(FLEET)
    assert (first.run, first.not_by) == (BASE, ())
    history = [*FLEET, *scored(first, "old", "of 0.1.0")]
    [again] = asked_of(history)
    assert again == replace(first, run=f"{BASE}-again", not_by=("old",))
    assert asked_of([*history, ("cur", again)]) == []
    board, counted = board_of([*history, *scored(again, "old", "of 0.1.0")])
    assert counted[-3:] == [True, False, False]
    board, counted = board_of([*history, *scored(again, "new", "ev")])
    assert board.scores(T0) == [1.0]
    assert {each.seed for each in asked_of([*history, *scored(again, "new", "ev")])} == {2, 3}


def test_names_stay_short_and_new_however_many_workers_have_another_evaluator() -> None:
    history, names = [*FLEET], [f"old-{number:02}" for number in range(30)]
    for name in names:
        history.append(worker(name))
        [asked] = asked_of(history)
        history += scored(asked, name, "of 0.1.0")
    [asked] = asked_of(history)
    runs = [fact.run for _, fact in history if isinstance(fact, e.RunRequested)]
    assert [*runs[:3], runs[-1], asked.run] == [
        BASE, f"{BASE}-again", f"{BASE}-again2", f"{BASE}-again29", f"{BASE}-again30"
    ]  # fmt: skip
    assert len({*runs, asked.run}) == 31
    assert asked.not_by == tuple(names)
    assert max(map(len, runs)) <= MAX_KEY


def test_what_proves_again_names_them_beside_the_workers_of_the_same_owner() -> None:
    history = [*FLEET, worker("own"), ("own", proposal(T1))]
    board, _ = board_of(history)
    asked = replace(asked_of(FLEET)[0], run="c", lane="confirm", proposal=T1, not_by=("old",))
    assert with_other_owners(board, [asked]) == [replace(asked, not_by=("old", "own"))]
