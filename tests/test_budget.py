"""A budget holds: what is spent never exceeds what was granted, whatever a simulated fleet does."""

import datetime as dt
import random
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from agents.curation.admission import decide
from agents.curation.stopping import within_budget
from mesh import events as e
from mesh.money import (
    GHOSTS_S,
    Reservation,
    cost_line,
    is_used_up,
    limit_usd,
    may_begin,
    spent_usd,
    why_no_call,
    why_unpaid,
)
from mesh.spec import ArenaSpec, ScoreSpec, TrialSpec
from mesh.testing import SPEC, Log, git_hash
from mesh.worker_costs import SPARE_S, longest_run_s

NIGHT = replace(
    SPEC,
    trial=TrialSpec(command=("python", "train.py"), budget_s=300, deadline_s=400),
    score=replace(SPEC.score, deadline_s=60),
)
"""Trials of five minutes."""


def joined(boot: str, price: float | None, slots: int = 1, worker_class: str = "cuda-h100") -> e.WorkerJoined:
    return e.WorkerJoined(
        boot=boot, worker_class=worker_class, device=worker_class, slots=slots, price_per_hour_usd=price
    )


def granted(usd: float | None, spec: ArenaSpec = NIGHT) -> Log:
    """An open arena with its baseline posted, and a budget."""
    log = Log(spec)
    log.open()
    if usd is not None:
        log.add("operator", e.BudgetGranted(n=1, usd=usd))
    log.propose(git_hash("base"), how="baseline")
    return log


class Machine:
    """A simulated worker; `free_at` are the times at which its slots end what they do, with the run."""

    def __init__(self, name: str, boot: str, price: float, slots: int) -> None:
        self.name, self.boot, self.price, self.slots = name, boot, price, slots
        self.runs: dict[str, dt.datetime] = {}


class Fleet:
    """Workers that come, go, are taken back, are killed, and change their prices, in an order that a seed decides."""

    def __init__(self, log: Log, seed: int, *, most: int = 8) -> None:
        self.log, self.random, self.most = log, random.Random(seed), most
        self.machines: dict[str, Machine] = {}
        self.killed: dict[str, tuple[Machine, dt.datetime]] = {}
        self.now = log.board.time
        self.lives = self.posted = 0

    def add(self, author: str, event: e.AnyEvent) -> None:
        """Post a fact at the present moment."""
        self.log.add(author, event, after_s=max(0.0, (self.now - self.log.board.time).total_seconds()))

    def join(self, name: str | None = None) -> None:
        self.lives += 1
        boot, price = f"b{self.lives}", self.random.choice([0.0, 0.34, 0.6, 1.99, 2.69, 4.29, 12.0])
        name = name or f"gpu{self.lives}"
        if self.random.random() < 0.05:
            self.add(name, joined(boot, None))  # it has no price: it is handed nothing, and leaves
            self.add(name, e.WorkerLeft(boot=boot))
            return
        slots = self.random.choice([1, 1, 2, 4])
        self.add(name, joined(boot, price, slots, self.random.choice(["cuda-h100", "cuda-l40s"])))
        if self.log.board.worker_costs.lives[boot].is_paid:
            self.machines[boot] = Machine(name, boot, price, slots)
        else:
            self.add(name, e.WorkerLeft(boot=boot, reason="unpaid"))

    def leave(self, boot: str, reason: str = "preempted") -> None:
        machine = self.machines.pop(boot)
        self.add(machine.name, e.WorkerLeft(boot=boot, reason=reason))

    def step(self) -> None:
        """Let some seconds pass, and then everybody act in turn."""
        self.now += dt.timedelta(seconds=self.random.choice([1.0, 5.0, 20.0]))
        for boot, (machine, died) in list(self.killed.items()):
            if self.now - died > dt.timedelta(seconds=60):  # others find it silent
                del self.killed[boot]
                self.add("other", e.WorkerLeft(boot=machine.boot, silent=True))
        self._finish()
        self._come_and_go()
        self._propose()
        for event in decide(self.log.board, self.now):
            self.add("curator", event)
        if self.log.board.closed is None:
            self._begin()

    def _come_and_go(self) -> None:
        chance = self.random.random()
        if len(self.machines) < self.most and chance < 0.1:
            self.join()
        elif self.machines and chance < 0.12:
            self.leave(self.random.choice(sorted(self.machines)))
        elif self.machines and chance < 0.14:  # the price changes: the machine joins again
            machine = self.machines[self.random.choice(sorted(self.machines))]
            self.leave(machine.boot, "price")
            self.join(machine.name)
        elif self.machines and chance < 0.15:
            boot = self.random.choice(sorted(self.machines))
            self.killed[boot] = (self.machines.pop(boot), self.now)
        elif chance < 0.2 and not why_no_call(self.log.board, 0.05):
            self.add("rex", e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=self.random.random() * 0.05)))

    def _finish(self) -> None:
        for machine in list(self.machines.values()):
            for run, at in list(machine.runs.items()):
                if at <= self.now:
                    del machine.runs[run]
                    asked = self.log.board.runs[run]
                    if not asked.finished:
                        self.add(machine.name, self._end(machine, run, asked.requested.proposal))

    def _end(self, machine: Machine, run: str, proposal: str) -> e.RunFinished:
        outcome = e.Scored(value=self.random.random())
        return e.RunFinished(
            run=run,
            proposal=proposal,
            outcome=outcome,
            worker=machine.boot,
            worker_class=self.log.board.worker_costs.lives[machine.boot].worker_class,
            trial_s=300.0,
            evaluator=self.log.board.opened.evaluator if self.log.board.opened else "",
        )

    def _propose(self) -> None:
        while len(self.log.board.undecided) < 12:
            self.posted += 1
            self.log.propose(f"p{self.posted}", self.random.choice(["ann", "bob", "cleo"]))
            self.now = max(self.now, self.log.board.time)

    def _begin(self) -> None:
        board, held = self.log.board, {run for machine in self.machines.values() for run in machine.runs}
        waiting = [run for run in board.unfinished if run not in held]
        for machine in self.random.sample(
            sorted(self.machines.values(), key=lambda each: each.boot), len(self.machines)
        ):
            while waiting and len(machine.runs) < machine.slots and may_begin(board, self.now):
                run = waiting.pop(0)
                took = self.random.uniform(0.2, 1.0) * longest_run_s(board.spec)
                machine.runs[run] = self.now + dt.timedelta(seconds=took)
                attempt = board.runs[run].attempts + 1
                self.add(machine.name, e.RunStarted(run=run, attempt=attempt, worker=machine.boot))

    def live(self, hours: float) -> Iterator[None]:
        """Go on until the arena is closed; then all workers leave."""
        until = self.now + dt.timedelta(hours=hours)
        while self.now < until and self.log.board.closed is None:
            self.step()
            yield
        self.now += dt.timedelta(seconds=5)
        for boot in list(self.machines):
            self.leave(boot, "arena closed")
        yield


@pytest.mark.parametrize("seed", range(12))
def test_a_fleet_of_eight_never_spends_more_than_was_granted(seed: int) -> None:
    log = granted(usd=30.0)
    fleet = Fleet(log, seed)
    most = 30.0
    for number, _ in enumerate(fleet.live(hours=24)):
        assert spent_usd(log.board, fleet.now) <= most
        if number == 400 and log.board.closed is None and seed % 3 == 0:
            fleet.add("operator", e.BudgetGranted(n=2, usd=7.5))
            most += 7.5
        assert limit_usd(log.board) == most
    assert log.board.closed is not None
    assert (log.board.closed.reason, log.board.finished > 20) == ("budget", True)


def test_a_night_of_twenty_dollars_ends_at_twenty_dollars_or_less() -> None:
    log = granted(usd=20.0)
    fleet = Fleet(log, seed=1)
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


def test_scoring_that_asks_models_is_reserved_with_its_run() -> None:
    spec = replace(
        NIGHT, score=ScoreSpec(how="command", command=("python", "s.py")), judge=replace(NIGHT.judge, usd_per_run=2.0)
    )
    for usd, may in [(1.9, False), (2.1, True)]:
        assert may_begin(granted(usd, spec).board, granted(usd, spec).board.time) is may
