"""Which scores are audited, by whom, and who decides where two differ: the requests of the curator."""

import datetime as dt

import pytest
from msgspec.structs import replace

from agents.curation import audits
from agents.curation.audits import AUDITED_SHARE, AUDITS_AT_ONCE, due_audits, is_drawn
from gpu_worker.seeds import told_seed
from mesh import events as e
from tests.support.history import T1, Fact, opened, proposal
from tests.test_audits import FLEET, OPENED, audit, joined, ran
from tests.test_keeper import board_of


@pytest.fixture
def all_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every score of search one that is audited."""
    monkeypatch.setattr(audits, "AUDITED_SHARE", 1.0)


def test_one_score_in_twenty_is_drawn_and_no_name_says_which() -> None:
    assert AUDITED_SHARE == 0.05
    run = board_of([*FLEET, *ran("r1", "gpu7", 2.0)]).runs["r1"]
    at = run.finished_at
    assert at is not None
    drawn = 0
    for number in range(4000):
        run.finished_at = at + dt.timedelta(microseconds=number)
        drawn += is_drawn(run)
    assert 150 <= drawn <= 250  # 200 expected, deviation 14


@pytest.mark.usefixtures("all_drawn")
def test_a_score_that_is_drawn_is_asked_for_again_of_another_owner_with_the_same_seed() -> None:
    board = board_of([*FLEET, *ran("r1", "gpu7", 2.0)])
    [asked] = due_audits(board)
    assert (asked.run, asked.lane, asked.seed) == ("r1-audit", "audit", 1)
    assert asked.not_by in (("gpu7", "gpu8"), ("gpu7", "gpu9"))
    assert asked.audit is not None
    assert replace(asked.audit, tolerance=0.0) == e.Audit(run="r1", worker="gpu7", value=2.0, tolerance=0.0)
    assert asked.audit.tolerance < 1e-9
    assert told_seed(OPENED, asked) == told_seed(OPENED, board.runs["r1"].requested)
    assert due_audits(board_of([*FLEET, *ran("r1", "gpu7", 2.0), ("cur", asked)])) == []


@pytest.mark.usefixtures("all_drawn")
def test_who_does_an_audit_is_drawn_among_the_other_owners_of_the_class() -> None:
    fleet: list[Fact] = [("op", OPENED), joined("gpu7", "lab"), joined("gpu6", "lab"), joined("cuda", "uni", "cuda")]
    fleet += [*(joined(f"w{number}") for number in range(4)), ("ann", proposal(T1))]
    free = list[str]()
    for number in range(40):
        [asked] = due_audits(board_of([*fleet, *ran(f"r{number}", "gpu7", 2.0)]))
        left = {"gpu6", "gpu7", "cuda", "w0", "w1", "w2", "w3"} - {*asked.not_by}
        assert len(left) == 1
        free += left
    assert {name: free.count(name) > 3 for name in free} == dict.fromkeys(("w0", "w1", "w2", "w3"), True)


@pytest.mark.usefixtures("all_drawn")
def test_a_third_owner_decides_between_two_scores_that_differ() -> None:
    first = [*FLEET, *ran("r1", "gpu7", 2.0), *audit("r1", "gpu7", 2.0, "gpu8", 5.0)]
    [asked] = due_audits(board_of(first))
    checked = e.Audit(run="r1", worker="gpu7", value=2.0, tolerance=0.0, other="gpu8", other_value=5.0)
    assert (asked.run, asked.lane, asked.not_by, asked.audit) == ("r1-audit2", "audit", ("gpu7", "gpu8"), checked)
    assert due_audits(board_of([*first, ("cur", asked)])) == []
    two: list[Fact] = [("op", OPENED), joined("gpu7"), joined("gpu8"), ("ann", proposal(T1)), *first[len(FLEET) :]]
    assert due_audits(board_of(two)) == []
    assert [each.run for each in due_audits(board_of([*two, joined("gpu9")]))] == ["r1-audit2"]


@pytest.mark.usefixtures("all_drawn")
def test_nobody_is_audited_where_nobody_else_is_there_or_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[Fact] = [("op", OPENED), joined("gpu7"), ("ann", proposal(T1)), *ran("r1", "gpu7", 2.0)]
    assert due_audits(board_of(alone)) == []
    assert due_audits(board_of([*alone, joined("gpu8", worker_class="cuda")])) == []
    assert len(due_audits(board_of([*alone, joined("gpu8")]))) == 1
    one_owner: list[Fact] = [("op", OPENED), joined("gpu7", "lab"), joined("gpu8", "lab"), ("ann", proposal(T1))]
    assert due_audits(board_of([*one_owner, *ran("r1", "gpu7", 2.0)])) == []
    assert due_audits(board_of([("op", opened()), *FLEET[1:], *ran("r1", "gpu7", 2.0)])) == []
    monkeypatch.setattr(audits, "AUDITED_SHARE", 1e-9)
    assert due_audits(board_of([*FLEET, *ran("r1", "gpu7", 2.0)])) == []


@pytest.mark.usefixtures("all_drawn")
def test_few_audits_are_out_at_a_time() -> None:
    history = [*FLEET, *(fact for number in range(6) for fact in ran(f"r{number}", "gpu7", 2.0))]
    asked = due_audits(board_of(history))
    assert len(asked) == AUDITS_AT_ONCE
    assert due_audits(board_of([*history, *(("cur", each) for each in asked)])) == []
