"""A budget holds: what is spent never exceeds what was granted, whatever a simulated fleet does."""

import datetime as dt

import pytest
from msgspec.structs import replace

from agents.curation.admission import decide
from agents.curation.stopping import within_budget
from mesh import events as e
from mesh.log_clock import LogClock
from mesh.money import (
    END_S,
    GHOSTS_S,
    Reservation,
    cost_line,
    is_used_up,
    limit_usd,
    may_begin,
    must_end,
    reserved_usd,
    spent_usd,
    why_no_call,
    why_unpaid,
)
from mesh.spec import ScoreSpec
from mesh.testing import Log, git_hash
from mesh.worker_costs import SPARE_S, longest_run_s
from tests.support.priced_fleet import CALL_USD, NIGHT, Fleet, Machine, asking, granted, joined


@pytest.mark.parametrize("seed", range(12))
def test_a_fleet_of_eight_never_spends_more_than_was_granted(seed: int) -> None:
    log = granted(usd=30.0)
    fleet = Fleet(log, seed)
    most = 30.0
    for number, _ in enumerate(fleet.live(hours=24)):
        assert fleet.owed_usd() <= most
        if number == 400 and log.board.closed is None and seed % 3 == 0:
            fleet.add("operator", e.BudgetGranted(n=2, usd=7.5))
            most += 7.5
        assert limit_usd(log.board) == most
    assert log.board.closed is not None
    assert (log.board.closed.reason, log.board.finished > 20) == ("budget", True)


@pytest.mark.parametrize("seed", range(8))
def test_work_without_a_deadline_and_a_dead_curator_never_spend_more_either(seed: int) -> None:
    log = granted(usd=30.0)
    fleet = Fleet(log, seed)
    fleet.overstays = 0.1
    killed = 0
    for number, _ in enumerate(fleet.live(hours=24)):
        assert fleet.owed_usd() <= 30.0
        killed = sum(run.killed for run in log.board.runs.values())
        if number == 150 and seed % 2:
            fleet.has_curator = False
    assert fleet.owed_usd() <= 30.0
    assert spent_usd(log.board, fleet.now) > 15.0
    if fleet.has_curator:
        assert log.board.closed is not None
        assert (log.board.closed.reason, killed > 0) == ("budget", "has not ended" in log.board.closed.text)
    else:
        assert {machine.price for machine in fleet.machines.values()} <= {0.0}


def test_a_run_that_outlives_its_money_is_killed_by_the_budget_and_the_arena_closes() -> None:
    log = granted(longest_run_s(NIGHT) + SPARE_S + 5)
    log.add("gpu", joined("b1", 3600.0))  # a dollar a second
    run = log.request("base")
    log.add("gpu", e.RunStarted(run=run, attempt=1, worker="b1"))
    limit = limit_usd(log.board) or 0.0
    joined_at = log.board.worker_costs.lives["b1"].since
    before, after = (joined_at + dt.timedelta(seconds=limit - END_S + more) for more in (-1, 1))
    assert not must_end(log.board, before)
    assert decide(log.board, before) == []
    [killed, closed] = decide(log.board, after)
    assert killed == e.RunKilled(
        run=run, by="budget", text=f"spent ${limit - END_S + 1:,.2f} of ${limit:,.2f}, and the run has not ended"
    )
    assert isinstance(closed, e.ArenaClosed)
    assert (closed.reason, closed.text) == ("budget", f"{killed.text}: it took longer than its deadlines")
    log.add("curator", killed)
    assert log.board.runs[run].killed
    free = granted(1.0)
    free.add("own", joined("b1", 0.0))
    assert not must_end(free.board, free.board.time + dt.timedelta(days=1))


def test_agents_that_ask_in_one_moment_are_all_paid_for_or_do_not_ask() -> None:
    log = granted(1.0)
    for name in ("ann", "bob", "cleo"):
        log.add(name, asking(name))
    now = log.board.time
    assert reserved_usd(log.board) == pytest.approx(3 * CALL_USD)
    log.add("dan", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=0.25)))
    assert [why_no_call(log.board, CALL_USD, now, name=name) for name in ("ann", "bob", "cleo")] == ["", "", ""]
    assert why_no_call(log.board, CALL_USD, now, name="dan") == (
        "arena a has spent $0.25 of $1.00, calls of other agents $0.7500, and one more call may cost $0.2500"
    )
    log.add("dan", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=0.01)))
    assert why_no_call(log.board, CALL_USD, now, name="ann").startswith("arena a has spent $0.26 of $1.00")
    log.add("bob", e.AgentLeft(boot="bob-first"))  # in good order: nothing of it is under way
    assert why_no_call(log.board, CALL_USD, now, name="ann") == ""


def test_what_an_agent_may_have_spent_before_it_was_cut_off_is_kept_until_it_returns() -> None:
    log = granted(1.0)
    log.add("ann", asking("ann"))
    log.add("ann", e.AgentLeft(boot="ann-first", owes_usd=0.2))
    assert reserved_usd(log.board) == pytest.approx(0.2)
    log.add("ann", asking("ann", "second"))
    assert reserved_usd(log.board) == pytest.approx(CALL_USD)
    log.add("ann", e.AgentLeft(boot="ann-first"))  # of its first life: says nothing of the second
    assert reserved_usd(log.board) == pytest.approx(CALL_USD)
    log.add("ann", e.AgentLeft(boot="ann-second"))
    assert reserved_usd(log.board) == 0.0


def test_an_idle_fleet_costs_while_the_log_is_silent_and_calls_know_it() -> None:
    whole = longest_run_s(NIGHT) + SPARE_S
    log = granted(2 * whole)
    log.add("gpu", joined("b1", 3600.0))
    log.add("ann", asking("ann"))
    later = log.board.time + dt.timedelta(seconds=whole)
    assert why_no_call(log.board, whole / 2, log.board.time, name="ann") == ""
    assert why_no_call(log.board, whole / 2, later, name="ann").startswith(f"arena a has spent ${whole + 1:.2f} of")


def test_the_time_of_the_log_counts_and_not_the_clock_of_a_machine() -> None:
    log = granted(longest_run_s(NIGHT) + SPARE_S + 60)
    log.add("gpu", joined("b1", 3600.0))
    clock = LogClock()
    now = clock.now(log.board)  # the clock of this machine is months away from the times of this log
    assert 0 <= (now - log.board.time).total_seconds() < 30
    assert may_begin(log.board, now)
    log.add("ann", e.NotePosted(channel="general", text="later"), after_s=3600)
    assert 0 <= (clock.now(log.board) - log.board.time).total_seconds() < 30
    assert not may_begin(log.board, clock.now(log.board))


def test_a_night_of_twenty_dollars_ends_at_twenty_dollars_or_less() -> None:
    log = granted(usd=20.0)
    fleet = Fleet(log, seed=1, agents=0)
    for number in range(8):
        fleet.add(f"box{number}", joined(f"box{number}", 0.6, 1))
        fleet.machines[f"box{number}"] = Machine(f"box{number}", f"box{number}", 0.6, 1)
    spent = [spent_usd(log.board, fleet.now) for _ in fleet.live(hours=24)]
    assert log.board.closed is not None
    assert log.board.closed.reason == "budget"
    assert max(spent) <= 20.0
    assert spent[-1] > 15.0  # it was used, too
    assert log.board.closed.text.startswith("spent $")


def test_without_the_budget_the_same_fleet_spends_more() -> None:
    log = granted(usd=None)
    fleet = Fleet(log, seed=1)
    for _ in fleet.live(hours=24):
        if spent_usd(log.board, fleet.now) > 30.0:
            return
    raise AssertionError("the fleet is too cheap to show anything")


def test_a_run_is_requested_only_if_the_whole_fleet_can_be_paid_until_it_has_ended() -> None:
    whole = longest_run_s(NIGHT) + SPARE_S  # seconds of the fleet that a run may take
    for usd, is_requested in [(whole + 10, True), (whole - 10, False)]:
        log = granted(usd)
        log.add("gpu", joined("b1", 3600.0))  # a dollar a second
        asked = [event for event in decide(log.board, log.board.time) if isinstance(event, e.RunRequested)]
        assert bool(asked) is is_requested


def test_idle_workers_are_paid_for_while_another_one_runs() -> None:
    whole = longest_run_s(NIGHT) + SPARE_S
    log = granted(1.5 * whole)
    log.add("one", joined("b1", 3600.0))
    log.add("two", joined("b2", 3600.0))
    lives = log.board.worker_costs.lives
    assert (lives["b1"].is_paid, lives["b2"].is_paid) == (True, False)
    assert "cannot pay for a run with worker two" in why_unpaid(log.board, "two", "b2", 3600.0)
    log.add("operator", e.BudgetGranted(n=2, usd=whole))
    assert why_unpaid(log.board, "two", "b2", 3600.0) == ""


def test_a_worker_without_a_price_is_handed_nothing_and_told_why() -> None:
    log = granted(20.0)
    assert why_unpaid(log.board, "gpu7", "b7", None) == (
        "worker gpu7 has no price, but arena a has a budget of $20.00: give --price-per-hour USD "
        "(0 if the machine costs nothing)"
    )
    assert why_unpaid(log.board, "own", "b8", 0.0) == ""
    assert why_unpaid(granted(None).board, "gpu7", "b7", None) == ""


def test_a_free_worker_joins_an_arena_whose_money_is_gone() -> None:
    log = granted(1.0)
    log.add("rex", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=1.0)))
    log.add("own", joined("b1", 0.0))
    assert log.board.worker_costs.lives["b1"].is_paid


def test_an_open_run_keeps_its_money_and_the_next_one_of_its_slot_needs_as_much() -> None:
    log = granted(2 * longest_run_s(NIGHT) + SPARE_S + 60)
    log.add("gpu", joined("b1", 3600.0))
    reservation = Reservation(log.board, log.board.time)
    assert [reservation.admits(_request(log, seed)) for seed in (1, 2, 3)] == [True, True, False]


def test_proof_comes_before_search_when_money_is_short() -> None:
    log = granted(longest_run_s(NIGHT) + SPARE_S + 60)  # for one run
    log.add("gpu", joined("b1", 3600.0))
    search, proof = replace(_request(log, 1), lane="explore"), _request(log, 2)
    note = e.NotePosted(channel="search", text="a decision that costs nothing")
    assert within_budget(log.board, log.board.time, [search, note, proof]) == [note, proof]
    assert within_budget(log.board, log.board.time, [search, note]) == [search, note]


def test_no_one_explains_why_a_blocked_proposal_runs_that_does_not() -> None:
    log = granted(longest_run_s(NIGHT))
    log.add("gpu", joined("b1", 0.01))
    log.add("rex", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=longest_run_s(NIGHT))))
    why = e.CritiquePosted(target=git_hash("p"), verdict="endorse", rule="overruled", text="runs despite a block")
    assert within_budget(log.board, log.board.time, [why, replace(_request(log, 1), lane="explore")]) == []


def _request(log: Log, seed: int) -> e.RunRequested:
    return e.RunRequested(
        run=f"r{seed}",
        lane="confirm",
        proposal=git_hash("p"),
        commit=git_hash("c"),
        seed=seed,
        budget_s=300,
        deadline_s=400,
    )


def test_an_arena_closes_for_its_budget_after_its_open_runs_and_not_before_the_dead_are_found() -> None:
    log = granted(longest_run_s(NIGHT) + SPARE_S + 5)
    log.add("gpu", joined("b1", 3600.0))
    [request] = [each for each in decide(log.board, log.board.time) if isinstance(each, e.RunRequested)][:1]
    log.add("curator", request)
    log.add("gpu", e.RunStarted(run=request.run, attempt=1, worker="b1"))
    later = log.board.time + dt.timedelta(seconds=GHOSTS_S + 1)
    assert not is_used_up(log.board, later)  # a run is under way
    log.finish(request.run, 1.0)
    soon = log.board.time + dt.timedelta(seconds=1)
    assert not is_used_up(log.board, soon)  # the log has just begun, or gone on: workers that count may be dead
    assert is_used_up(log.board, later)
    [closed] = decide(log.board, later)
    assert isinstance(closed, e.ArenaClosed)
    assert closed.reason == "budget"


def test_the_line_says_what_an_hour_costs_what_waits_and_what_is_spent() -> None:
    log = granted(20.0)
    log.add("gpu", joined("b1", 2.69))
    assert cost_line(log.board, log.board.time) == "about $2.69/h; spent $0.00 of $20.00"
    log.propose("p")
    run = log.request("p")
    done = e.RunFinished(run=run, proposal=git_hash("p"), outcome=e.Scored(value=1.0), worker="b1", worker_class="x")
    log.add("gpu", replace(done, trial_s=1800.0, score_s=600.0))
    for seed in (2, 3, 4):
        log.request("p", seed=seed)
    line = cost_line(log.board, log.board.time, more_per_hour_usd=2.69, more_slots=1)
    assert line == "about $5.38/h; queue 3 runs ≈ $5.38; spent $0.00 of $20.00"


def test_a_first_grant_begins_with_what_was_spent_before() -> None:
    log = granted(None)
    log.add("rex", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=4.0)))
    log.add("operator", e.BudgetGranted(n=1, usd=20.0))
    assert limit_usd(log.board) == 24.0
    log.add("operator", e.BudgetGranted(n=2, tokens=5))  # says nothing of dollars
    assert limit_usd(log.board) == 24.0


def test_scorings_that_may_begin_in_one_moment_are_all_reserved() -> None:
    spec = replace(
        NIGHT, score=ScoreSpec(how="command", command=("python", "s.py")), judge=replace(NIGHT.judge, usd_per_run=2.0)
    )
    for usd, may in [(5.9, False), (6.1, True)]:
        log = granted(usd, spec)
        log.add("own", joined("b1", 0.0, slots=3))
        for seed in range(1, 5):
            log.request("base", seed=seed)  # four runs wait, and three or more slots may take them
            if seed == 3:
                assert may_begin(log.board, log.board.time) is may
        assert not may_begin(log.board, log.board.time)  # four cost 8 dollars
    log = granted(6.1, spec)
    log.add("own", joined("b1", 0.0, slots=1))
    for seed in range(1, 5):
        log.request("base", seed=seed)
    assert may_begin(log.board, log.board.time)  # one slot: a run, and the next one while the first is scored


def test_scoring_that_asks_models_is_reserved_with_its_run() -> None:
    spec = replace(
        NIGHT, score=ScoreSpec(how="command", command=("python", "s.py")), judge=replace(NIGHT.judge, usd_per_run=2.0)
    )
    for usd, may in [(1.9, False), (2.1, True)]:
        assert may_begin(granted(usd, spec).board, granted(usd, spec).board.time) is may
