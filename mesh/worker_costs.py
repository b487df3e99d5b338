"""What the time of workers costs, and what calls may cost: running sums of a board, which `mesh.money` asks. Pure.

A life of a worker costs its price per hour from its joining until it leaves, runs or not. Where it left without a word
(it was silent, or another life of its name joined), it costs until its last sign of life. A life without a price has
an unknown cost. In an arena with a budget of dollars such a life is unpaid: it is handed nothing and costs the arena
nothing. So is one that joined when the budget could not pay for one more run with it in the fleet.

Of an agent that asks models, the budget keeps what its calls of one moment may cost, from its joining until it leaves.
For one that was killed it is kept until its name joins and leaves again: its last calls may be in no fact. Time does
not change that, and agents without a given name return under the same one (`mesh.agent.own_name`).
`mesh.stated_costs` bounds what it keeps of those that are not the swarm's own, and what counts of the costs they say.
"""

import datetime as dt
from collections.abc import Collection, Container
from typing import Protocol, Self

import msgspec

from mesh import events as e
from mesh.records import JudgeTotal
from mesh.spec import ArenaSpec
from mesh.stated_costs import BY_RESERVE, StatedCosts

SPARE_S = 120.0
"""Seconds of the fleet that a budget keeps for the end of the arena, and for the wait before it."""


_DOWN = dt.timedelta(seconds=300)
"""Without a fact for so long, a swarm may have been down, and workers that still count may be dead."""

COSTING = frozenset(
    {
        e.RunStarted,
        e.RunFinished,
        e.ArenaOpened,
        e.AgentJoined,
        e.AgentLeft,
        e.WorkerJoined,
        e.WorkerLeft,
        e.BudgetGranted,
    }
)
"""Facts that matter here; `WorkerCosts.take` takes no others."""

WAITS = 5
"""How many times its CPU seconds a score program may take in wall seconds, with `WAITS_S`: for what only waits."""
WAITS_S = 5.0


class Spending(Protocol):
    """What of a board counts here: `spent` is what models cost each author, `judge` what scoring asked of models."""

    time: dt.datetime
    opened: e.ArenaOpened | None
    spent: dict[str, float]
    judge: JudgeTotal

    @property
    def unfinished(self) -> Container[str]:
        """The runs that somebody still waits for."""


class PaidLife(msgspec.Struct):
    """One life of a worker that has not left: it costs from `since` on; `last` is its last sign of life.

    `is_paid` is false where the budget does not pay for it.
    """

    name: str
    since: dt.datetime
    last: dt.datetime
    worker_class: str
    slots: int
    price_per_hour_usd: float | None = None
    is_paid: bool = True

    @property
    def usd_per_s(self) -> float:
        """What the arena pays for a second of it."""
        return (self.price_per_hour_usd or 0.0) / 3600 if self.is_paid else 0.0

    def usd(self, now: dt.datetime) -> float:
        """Return what it has cost the arena."""
        return self.usd_per_s * max(0.0, (now - self.since).total_seconds())


class WorkerCosts(msgspec.Struct):
    """What workers cost, and what the arena may spend.

    `limit_usd` is what was granted in all, None without a budget; it began with what was spent before the first grant.
    `unpriced` counts the lives that had no price, ended ones too. `ended_usd` is the cost of the lives that have ended,
    `lives` are the others by boot id, and `boots` their boot ids by name. `under_way` has the runs that workers have
    begun, each with that life and when it began. `cheapest_per_hour_usd` is the lowest price that a paid life had,
    `overhead_s` the sum over `overheads` runs of what they took beside trial and scoring.
    `asking` has what the calls of an agent may cost in dollars, by its name, with the boot id of its present life.
    `stated` says how much counts of the costs that authors have said.
    `last` is the time of the last fact that matters here, and `woken` that of the last one after a long silence.
    """

    limit_usd: float | None = None
    grants: int = 0
    unpriced: int = 0
    ended_usd: float = 0.0
    lives: dict[str, PaidLife] = {}
    boots: dict[str, str] = {}
    under_way: dict[str, tuple[str, dt.datetime]] = {}
    cheapest_per_hour_usd: float | None = None
    overhead_s: float = 0.0
    overheads: int = 0
    last: dt.datetime | None = None
    woken: dt.datetime | None = None
    asking: dict[str, tuple[str, float]] = {}
    stated: StatedCosts = msgspec.field(default_factory=StatedCosts)

    def take(self, board: Spending, at: dt.datetime, author: str, event: e.AnyEvent) -> None:
        """Take the next fact that counts and is of `COSTING`; `board` has it already.

        Args:
            board: The board whose costs these are.
            at: The time of the entry.
            author: Who posted the fact.
            event: The fact.
        """
        if self.last is None or at - self.last > _DOWN:
            self.woken = at
        self.last = at
        match event:
            case e.RunFinished():
                self._finish(at, event)
            case e.RunStarted():
                self._start(board, at, event)
            case e.AgentLeft():
                self._stop_asking(author, event)
            case e.AgentJoined():
                most = max(event.reserves_usd or 0.0, self.asking.get(author, ("", 0.0))[1])
                if most:
                    self.asking[author] = event.boot, most
            case e.WorkerJoined():
                self._join(board, at, author, event)
            case e.WorkerLeft():
                if life := self.lives.get(event.boot):
                    self._end(event.boot, life.last if event.silent else at)
                    self._pay_more(board, at)
            case e.BudgetGranted():
                self._grant(board, at, event)
            case e.ArenaOpened():
                self.stated.by_reserve = event.rules >= BY_RESERVE
                self.stated.opened_by = author if event.rules else ""

    def _stop_asking(self, author: str, event: e.AgentLeft) -> None:
        if self.asking.get(author, ("", 0.0))[0] != event.boot:
            return
        if event.owes_usd:
            most = self.asking[author][1] if self.stated.is_bounded(author) else event.owes_usd
            self.asking[author] = event.boot, min(event.owes_usd, most)
        else:
            del self.asking[author]

    def _start(self, board: Spending, at: dt.datetime, event: e.RunStarted) -> None:
        if (begun := self.under_way.get(event.run)) and (before := self.lives.get(begun[0])):
            before.last = at  # until now its lease kept others from the run
        if life := self.lives.get(event.worker):
            life.last = at
            if event.run in board.unfinished:
                self.under_way[event.run] = (event.worker, at)

    def _finish(self, at: dt.datetime, event: e.RunFinished) -> None:
        begun = self.under_way.pop(event.run, None)
        if life := self.lives.get(event.worker):
            life.last = at
            if begun and begun[0] == event.worker:
                took = (at - begun[1]).total_seconds() - event.trial_s - event.score_s
                self.overhead_s, self.overheads = self.overhead_s + max(0.0, took), self.overheads + 1

    def without_silent(self, answering: Collection[str]) -> Self:
        """Return these costs as if the lives that do not answer a roll call had ended at their last signs of life.

        Args:
            answering: Boot ids of those that answer.
        """
        found = msgspec.structs.replace(self, lives=dict(self.lives), boots=dict(self.boots))
        for boot, life in self.lives.items():
            if boot not in answering:
                found._end(boot, life.last)
        return found

    def spent_usd(self, board: Spending, now: dt.datetime) -> float:
        """Return what the arena has spent up to `now`, as far as prices are known."""
        models = sum(board.spent.values(), 0.0) + board.judge.usd
        return models + self.ended_usd + sum(life.usd(now) for life in self.lives.values())

    def asking_usd(self, but: str = "") -> float:
        """Return what calls of agents may cost that are under way, but for those of one agent."""
        own = sum((usd for name, (_, usd) in self.asking.items() if self._is_own(name, but)), 0.0)
        return own + min(self.others_asking_usd(but), self.stated.others_left_usd)

    def others_asking_usd(self, but: str = "") -> float:
        """Return the same of those agents alone of which a budget keeps no more than a share."""
        return sum((self.kept_usd(name) for name in self.asking if name != but and self.stated.is_bounded(name)), 0.0)

    def _is_own(self, name: str, but: str) -> bool:
        return name != but and not self.stated.is_bounded(name)

    def kept_usd(self, name: str) -> float:
        """Return what a budget keeps for the calls of an agent."""
        return min(self.asking.get(name, ("", 0.0))[1], self.stated.left_usd(name))

    def count_usd(self, board: Spending, author: str, usd: float) -> float:
        """Take what an author says that a model call has cost, and return how much of it counts, in dollars.

        What was not reserved, or what the budget keeps for others, does not count.
        """
        if self.limit_usd is None or not self.stated.is_bounded(author):
            return usd
        asked = len(self.under_way) * board.opened.spec.judge.usd_per_run if board.opened else 0.0
        room = self.limit_usd - self.spent_usd(board, board.time) - self.asking_usd(but=author) - asked
        return self.stated.count(author, usd, min(self.asking.get(author, ("", 0.0))[1], max(0.0, room)))

    @property
    def usd_per_s(self) -> float:
        """What the arena pays for a second of all workers."""
        return sum((life.usd_per_s for life in self.lives.values()), 0.0)

    @property
    def least_per_s(self) -> float:
        """What a second of the cheapest worker costs that the arena could pay for; 0 if none is known."""
        prices = [life.price_per_hour_usd for life in self.lives.values() if life.price_per_hour_usd is not None]
        known = [] if self.cheapest_per_hour_usd is None else [self.cheapest_per_hour_usd]
        return min([*prices, *known], default=0.0) / 3600

    @property
    def mean_overhead_s(self) -> float:
        """Mean seconds of a run beside its trial and its scoring."""
        return self.overhead_s / self.overheads if self.overheads else 0.0

    def longest_s(self, spec: ArenaSpec, worker_class: str = "") -> float:
        """Return how many seconds a run may take on the workers that are there, and on those of another class."""
        classes = [*(life.worker_class for life in self.lives.values()), *filter(None, [worker_class])]
        on_cpu = any(not each.startswith("cuda") for each in classes)
        return longest_run_s(spec, on_cpu=on_cpu) + self.mean_overhead_s

    def pays(
        self,
        board: Spending,
        now: dt.datetime,
        usd_per_s: float,
        *,
        seconds: float = 0.0,
        asked_usd: float = 0.0,
        worker_class: str = "",
    ) -> bool:
        """Tell whether the budget pays for workers until a run that begins now has ended, and the arena after it.

        Args:
            board: The board whose costs these are.
            now: The time.
            usd_per_s: What a second of all workers costs.
            seconds: How long the run may wait before it begins.
            asked_usd: What the scoring of other runs may ask of models meanwhile, in dollars.
            worker_class: The class of a worker that is about to join; "" for none.
        """
        if self.limit_usd is None or board.opened is None:
            return True
        spec, spent = board.opened.spec, self.spent_usd(board, now)
        lasts = seconds + self.longest_s(spec, worker_class) + SPARE_S
        asked = max(asked_usd, len(self.under_way) * spec.judge.usd_per_run) + spec.judge.usd_per_run
        if not (needs := usd_per_s * lasts + asked):
            return spent <= self.limit_usd  # what costs nothing goes on where only the last calls are paid for
        return spent + needs + self.asking_usd() <= self.limit_usd

    def _join(self, board: Spending, at: dt.datetime, author: str, event: e.WorkerJoined) -> None:
        if (earlier := self.boots.get(author)) and (before := self.lives.get(earlier)):
            self._end(earlier, before.last)
        price = event.price_per_hour_usd
        life = PaidLife(author, at, at, event.worker_class, event.slots, price, is_paid=False)
        self.lives[event.boot], self.boots[author] = life, event.boot
        life.is_paid, self.unpriced = self._may_pay(board, at, life), self.unpriced + (price is None)
        self._note_price(life)

    def _may_pay(self, board: Spending, at: dt.datetime, life: PaidLife) -> bool:
        """Tell whether the budget pays for one more life; for one that costs nothing it always does."""
        price = life.price_per_hour_usd
        if self.limit_usd is None or price == 0:
            return True
        return price is not None and self.pays(board, at, self.usd_per_s + price / 3600)

    def _note_price(self, life: PaidLife) -> None:
        price = life.price_per_hour_usd
        if life.is_paid and price is not None:
            known = self.cheapest_per_hour_usd
            self.cheapest_per_hour_usd = price if known is None else min(price, known)

    def _end(self, boot: str, at: dt.datetime) -> None:
        life = self.lives.pop(boot)
        self.ended_usd += life.usd(at)
        if self.boots.get(life.name) == boot:
            del self.boots[life.name]
        self.under_way = {run: begun for run, begun in self.under_way.items() if begun[0] != boot}

    def _grant(self, board: Spending, at: dt.datetime, event: e.BudgetGranted) -> None:
        """Add to the limit; lives that the budget did not pay for are paid from now on where it does."""
        self.grants = max(self.grants, event.n)
        if event.usd is None:
            return
        self.stated.granted_usd = (self.stated.granted_usd or 0.0) + event.usd
        before = self.spent_usd(board, at) if self.limit_usd is None else self.limit_usd
        self.limit_usd = before + event.usd
        self._pay_more(board, at)

    def _pay_more(self, board: Spending, at: dt.datetime) -> None:
        """Pay for lives that the budget did not pay for, from now on, where it does; for none without a price."""
        for life in self.lives.values() if self.limit_usd is not None else ():
            if life.price_per_hour_usd is None:
                life.is_paid = False
            elif not life.is_paid and self._may_pay(board, at, life):
                life.is_paid, life.since = True, at
                self._note_price(life)


class KeptBooks(msgspec.Struct):
    """What a projector keeps of the money of an arena: as of its checkpoint, what a board has in these fields."""

    spent: dict[str, float] = {}
    judge: JudgeTotal = msgspec.field(default_factory=JudgeTotal)
    worker_costs: WorkerCosts = msgspec.field(default_factory=WorkerCosts)


def longest_run_s(spec: ArenaSpec, *, on_cpu: bool = False) -> float:
    """Return how many wall seconds trial and scoring of a run may take: all deadlines together.

    Args:
        spec: The arena.
        on_cpu: Whether scoring counts in CPU seconds, and so may wait.
    """
    scorings = [stage.deadline_s or spec.score.deadline_s for stage in spec.score.stage] + [spec.score.deadline_s]
    waited = [WAITS * deadline_s + WAITS_S if on_cpu else deadline_s for deadline_s in scorings]
    return spec.trial.deadline_s + sum(stage.budget_s for stage in spec.score.stage) + sum(waited)
