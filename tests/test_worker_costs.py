"""What a life of a worker costs an arena: from its joining until it leaves, or until its last sign of life."""

import pytest

from mesh import events as e
from mesh.money import spent_usd, unknown_costs
from mesh.testing import Log, git_hash


def log_with(price: float | None = 3600.0) -> Log:
    """An open arena with a worker that costs a dollar a second."""
    log = Log()
    log.open()
    log.propose(git_hash("p"))
    log.add("gpu", worker("b1", price))
    return log


def worker(boot: str, price: float | None = 3600.0) -> e.WorkerJoined:
    return e.WorkerJoined(boot=boot, worker_class="cuda-h100", device="H100", slots=1, price_per_hour_usd=price)


def spent(log: Log) -> float:
    return spent_usd(log.board, log.board.time)


def test_a_worker_costs_until_it_leaves_idle_or_not() -> None:
    log = log_with()
    log.add("gpu", e.WorkerLeft(boot="b1"), after_s=100)
    log.add("ann", e.NotePosted(channel="general", text="later"), after_s=1000)
    assert spent(log) == pytest.approx(100)


def test_one_that_is_found_silent_costs_until_its_last_sign_of_life() -> None:
    log = log_with()
    run = log.request("p")
    log.add("gpu", e.RunStarted(run=run, attempt=1, worker="b1"), after_s=10)
    log.add("other", e.WorkerLeft(boot="b1", silent=True), after_s=86_400)
    assert spent(log) == pytest.approx(11)  # it was asked for a second after the joining


def test_the_next_attempt_of_its_run_is_a_sign_that_it_lived_until_then() -> None:
    log = log_with()
    run = log.request("p")
    log.add("gpu", e.RunStarted(run=run, attempt=1, worker="b1"), after_s=10)
    log.add("own", worker("b2", 0.0))
    log.add("own", e.RunStarted(run=run, attempt=2, worker="b2"), after_s=30)
    log.add("other", e.WorkerLeft(boot="b1", silent=True), after_s=86_400)
    assert spent(log) == pytest.approx(1 + 10 + 1 + 30)


def test_another_life_of_its_name_ends_the_one_before_without_counting_the_time_between() -> None:
    log = log_with()
    log.add("gpu", worker("b2"), after_s=86_400)  # it was killed, and started again on the next day
    log.add("gpu", e.WorkerLeft(boot="b2"), after_s=50)
    assert spent(log) == pytest.approx(50)


def test_an_unknown_price_is_counted_and_is_not_zero() -> None:
    log = log_with(None)
    assert (spent(log), unknown_costs(log.board)) == (0.0, 1)
    log.add("rex", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(tokens_in=5, tokens_out=5)))
    assert unknown_costs(log.board) == 2


def test_models_and_judges_are_spent_too() -> None:
    log = log_with(0.0)
    log.add("rex", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=1.5)))
    assert spent(log) == pytest.approx(1.5)
