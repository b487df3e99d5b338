"""A simulated fleet of workers with prices, and of agents that ask models, in an arena with a budget."""

import datetime as dt
import random
from collections.abc import Iterator

from msgspec.structs import replace

from agents.curation.admission import decide
from mesh import events as e
from mesh.money import may_begin, must_end, spent_usd, why_no_call
from mesh.spec import ArenaSpec, TrialSpec
from mesh.testing import SPEC, Log, git_hash
from mesh.worker_costs import longest_run_s

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


CALL_USD = 0.25
"""The most that a model call of the simulated agents costs."""


class Fleet:
    """Workers that come, go, are taken back, are killed, and change their prices, in an order that a seed decides.

    Some runs do not end by themselves, as where an environment is built or data is fetched for hours. Agents ask their
    models at the same moment, without knowing of each other, and are killed in the middle of calls; they come again
    under their names, at once or after up to `stays_dead_s` seconds, and others come meanwhile. Without a curator,
    nobody requests runs and nobody closes the arena.
    """

    def __init__(self, log: Log, seed: int, *, most: int = 8, agents: int = 4) -> None:
        self.log, self.random, self.most = log, random.Random(seed), most
        self.calls: dict[str, tuple[dt.datetime, float]] = {}
        self.dead: dict[str, tuple[dt.datetime, float]] = {}
        self.stays_dead_s = 0.0
        self.has_curator, self.overstays = True, 0.0
        for number in range(agents):
            self.log.add(f"rex{number}", asking(f"rex{number}"))
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
        for event in decide(self.log.board, self.now) if self.has_curator else []:
            self.add("curator", event)
        if self.log.board.closed is None:
            self._ask()
            self._begin()
        for boot, machine in list(self.machines.items()):
            if machine.price and must_end(self.log.board, self.now):
                self.leave(boot, "budget")

    def _ask(self) -> None:
        """Let agents post what their calls have cost, be killed and come again, and ask: all of them in one moment."""
        board = self.log.board
        for name, (ends, usd) in list(self.calls.items()):
            if ends <= self.now:
                del self.calls[name]
                if self.random.random() < 0.1:
                    back = self.now + dt.timedelta(seconds=self.random.uniform(0, self.stays_dead_s))
                    self.dead[name] = back, usd
                    if self.stays_dead_s:
                        self.newcomer()
                else:
                    self.add(name, e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=usd)))
        self.return_dead(self.now)
        idle = [name for name in sorted(board.worker_costs.asking) if name not in self.calls and name not in self.dead]
        for name in [each for each in idle if not why_no_call(board, CALL_USD, self.now, name=each)]:
            if self.random.random() < 0.3:
                usd = self.random.choice([CALL_USD, CALL_USD, 0.01])
                self.calls[name] = self.now + dt.timedelta(seconds=self.random.choice([1, 30, 200])), usd

    def newcomer(self) -> None:
        """Let one more agent join, under a new name."""
        self.lives += 1
        self.add(f"new{self.lives}", asking(f"new{self.lives}"))

    def return_dead(self, by: dt.datetime) -> None:
        """Let agents that were killed in a call come again under their names, and post what the call has cost."""
        for name, (back, usd) in list(self.dead.items()):
            if back <= by:
                del self.dead[name]
                self.add(name, asking(name, self.now.isoformat()))
                self.add(name, e.ModelAsked(model="m", purpose="x", ok=False, cost=e.Cost(usd=usd)))

    def owed_usd(self) -> float:
        """What is spent, with the calls that nobody has posted yet."""
        unposted = sum(usd for calls in (self.calls, self.dead) for _, usd in calls.values())
        return spent_usd(self.log.board, self.now) + unposted

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
                if self.random.random() < self.overstays:
                    took = 1e6  # it builds an environment, or fetches data
                machine.runs[run] = self.now + dt.timedelta(seconds=took)
                attempt = board.runs[run].attempts + 1
                self.add(machine.name, e.RunStarted(run=run, attempt=attempt, worker=machine.boot))

    def live(self, hours: float) -> Iterator[None]:
        """Go on until the arena is closed, or nobody is left where there is no curator; then all workers leave."""
        until = self.now + dt.timedelta(hours=hours)
        while self.now < until and self.log.board.closed is None and (self.has_curator or self.machines):
            self.step()
            yield
        self.now += dt.timedelta(seconds=5)
        for boot in list(self.machines):
            self.leave(boot, "arena closed")
        yield


def asking(name: str, boot: str = "") -> e.AgentJoined:
    life = "".join(filter(str.isalnum, boot or "first"))
    return e.AgentJoined(boot=f"{name}-{life}", role="researcher", model="m", reserves_usd=CALL_USD)
