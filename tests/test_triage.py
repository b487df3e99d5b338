"""What a worker does with a run that it is given: execute it, leave it to others, or end it without a trial."""

import pytest
from msgspec.structs import replace

from gpu_worker.triage import (
    DECLINED_S,
    MAX_ATTEMPTS,
    OTHER_CLASS_S,
    Decision,
    Drop,
    End,
    Execute,
    Leave,
    Taker,
    triage,
)
from mesh import events as e
from mesh.board import Board
from tests.support.history import T1, Fact, entries, finish, opened, proposal, request

ME = Taker(
    boot="me", name="gpu7", worker_class="cpu", is_fit=True, has_others=True, declines=0, handed_back=0, delivered=9
)
ASKED: list[Fact] = [("op", opened()), ("ann", proposal(T1)), ("cur", request("r", T1))]


def decision(history: list[Fact], taker: Taker = ME, run: str = "r") -> Decision:
    """Return what is decided about the first request of the history."""
    board = Board(arena="a")
    asked: tuple[e.RunRequested, int] | None = None
    for entry in entries(history):
        board.fold(entry)
        event = entry.post.event if entry.post else None
        if isinstance(event, e.RunRequested) and asked is None:
            asked = event, entry.seq
    assert asked is not None
    return triage(board, *asked, taker)


def wanted(*, worker_class: str = "any", avoid: str = "") -> list[Fact]:
    """Return a history whose run wants a certain worker."""
    return [*ASKED[:2], ("cur", replace(request("r", T1), worker_class=worker_class, avoid=avoid))]


def begun(*boots: str) -> list[Fact]:
    return [("w", e.RunStarted(run="r", attempt=n, worker=boot)) for n, boot in enumerate(boots, 1)]


def test_a_run_that_waits_is_executed() -> None:
    assert decision(ASKED) == Execute()


def test_a_run_that_is_finished_or_of_no_arena_is_dropped() -> None:
    assert decision([*ASKED, ("w", finish("r", T1, 1.0))]) == Drop()
    assert decision(ASKED[1:]) == Drop()


@pytest.mark.parametrize("taker", [ME, replace(ME, worker_class="cuda-h100", is_fit=False)])
def test_a_run_for_another_class_or_a_fitter_worker_is_left_to_it(taker: Taker) -> None:
    assert decision(wanted(worker_class="cuda-h100"), taker) == Leave(OTHER_CLASS_S)


@pytest.mark.parametrize(
    ("declines", "has_others", "expected"),
    [(0, True, Leave(DECLINED_S, declined=True)), (3, True, Execute()), (0, False, Execute())],
)
def test_a_run_that_should_avoid_this_worker_is_declined_where_others_are_and_not_for_ever(
    declines: int, has_others: bool, expected: Decision
) -> None:
    assert decision(wanted(avoid="me"), replace(ME, has_others=has_others, declines=declines)) == expected


def test_a_run_that_was_stopped_ends_as_killed() -> None:
    history: list[Fact] = [*ASKED, ("op", e.RunKilled(run="r", by="operator"))]
    assert decision(history) == End(e.Failed(reason="killed", message="the run was stopped before it began"))


def test_a_run_is_lost_when_so_many_workers_died_of_it() -> None:
    assert decision([*ASKED, *begun("a", "b")]) == Execute()
    lost = decision([*ASKED, *begun("a", "b", "c")])
    assert MAX_ATTEMPTS == 3
    assert lost == End(e.Failed(reason="lost", message="the run was started 3 times and no worker finished it"))


def test_workers_that_left_in_good_order_and_own_handing_back_do_not_count_as_deaths() -> None:
    joined = e.WorkerJoined(boot="a", worker_class="cpu", device="cpu", slots=1)
    left: list[Fact] = [("w", joined), *ASKED, *begun("a", "b", "me"), ("w", e.WorkerLeft(boot="a"))]
    assert decision(left) == Execute()
    mine = [*ASKED, *begun("me", "b", "c")]
    assert isinstance(decision(mine), End)
    assert decision(mine, replace(ME, handed_back=1)) == Execute()


def test_starts_that_no_delivery_came_before_are_no_deaths() -> None:
    forged = [*ASKED, *begun("a", "b", "c")]
    assert decision(forged, replace(ME, delivered=1)) == Execute()
    assert decision(forged, replace(ME, delivered=3)) == Execute()
    assert isinstance(decision(forged, replace(ME, delivered=4)), End)
