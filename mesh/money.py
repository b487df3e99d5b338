"""Money of an arena: what is granted, what is spent, and whether one more run may be requested or begun. Pure.

A budget holds by reservation. Nothing begins unless the budget can pay for the whole fleet, idle workers too, until
the longest run that begins now has ended and the arena is closed. Who begins a run need not know what others begin:
the same seconds of the fleet pay for all of them. A worker is paid for only if the budget can pay for a run with it in
the fleet. Of each agent that asks models, the budget keeps what its calls of one moment may cost, so agents that ask at
the same time need not know of each other either. A worker that costs something leaves before the money is gone,
whatever it does then. So what is spent never exceeds what was granted.

`mesh.worker_costs` keeps the sums.
"""

import datetime as dt
from collections import Counter

from mesh.board import Board
from mesh.events import RunRequested
from mesh.fleet import is_awaited
from mesh.stated_costs import NAME_SHARE, OTHERS_SHARE
from mesh.times import duration
from mesh.worker_costs import SPARE_S

GHOSTS_S = 75.0
"""Seconds after a silence of the log in which no arena is closed for its budget.

A worker that was killed costs as if it were there until somebody finds it silent, which takes up to a minute. Where a
whole swarm was down, that may be the time since yesterday.
"""

END_S = GHOSTS_S + 15.0
"""Seconds of the fleet with which workers that cost something hand their runs back and leave: less than `SPARE_S`, so
that no run that keeps to its deadlines is met.
"""


def limit_usd(board: Board) -> float | None:
    """Return how many dollars the arena may spend in all; None without a budget."""
    return board.worker_costs.limit_usd


def spent_usd(board: Board, now: dt.datetime) -> float:
    """Return what the arena has spent up to `now`: models, and the time of workers with a price, idle or not."""
    return board.worker_costs.spent_usd(board, now)


def burn_per_hour_usd(board: Board) -> float:
    """Return what all workers together cost in an hour, as far as prices are known."""
    return 3600 * board.worker_costs.usd_per_s


def unpriced_workers(board: Board) -> list[str]:
    """Return the names of the workers whose price nobody knows."""
    return [life.name for life in board.worker_costs.lives.values() if life.price_per_hour_usd is None]


def unknown_costs(board: Board) -> int:
    """Return how many costs nobody knows: of lives of workers without a price, and of agents whose model has none."""
    return board.worker_costs.unpriced + sum(author not in board.spent for author in board.tokens)


def why_unpaid(board: Board, name: str, boot: str, price_per_hour_usd: float | None) -> str:
    """Return why the budget does not pay for a life of a worker, so that it is handed nothing; "" if it does.

    Args:
        board: The board of the arena.
        name: The worker's name.
        boot: The id of that life, which may not have joined yet.
        price_per_hour_usd: What it costs; None for unknown.
    """
    if (limit := limit_usd(board)) is None:
        return ""
    if price_per_hour_usd is None:
        return (
            f"worker {name} has no price, but arena {board.arena} has a budget of ${limit:,.2f}: "
            "give --price-per-hour USD (0 if the machine costs nothing)"
        )
    life = board.worker_costs.lives.get(boot)
    if life is None or life.is_paid:
        return ""
    return (
        f"the budget of arena {board.arena}, ${limit:,.2f}, cannot pay for a run with worker {name} "
        f"(${price_per_hour_usd:,.2f}/h) as well: `mesh budget grant USD` grants more"
    )


def may_begin(board: Board, now: dt.datetime) -> bool:
    """Tell whether the budget pays for a run that begins now, and for those that others may begin in this moment."""
    costs = board.worker_costs
    return costs.pays(board, now, costs.usd_per_s, asked_usd=_asked_at_once_usd(board))


def _asked_at_once_usd(board: Board) -> float:
    """Return what scorings may ask of models: of runs that have begun, and of all but one that may begin at once.

    A slot may begin its next run while its last one is scored.
    """
    costs = board.worker_costs
    if board.opened is None or not (usd := board.spec.judge.usd_per_run):
        return 0.0
    begun, slots = len(costs.under_way), sum(life.slots for life in costs.lives.values() if life.is_paid)
    at_once = min(2 * slots - begun, len(board.unfinished) - begun)
    return usd * (begun + max(0, at_once - 1))


def pays_with(board: Board, now: dt.datetime, more_per_hour_usd: float, *, worker_class: str, name: str = "") -> bool:
    """Tell whether the budget pays for one more run with another worker in the fleet.

    Args:
        board: The board of the arena.
        now: The time.
        more_per_hour_usd: What that worker costs in an hour.
        worker_class: Its class, "" if that is not known.
        name: Its name: an earlier life of that name costs no more.
    """
    costs = board.worker_costs
    before = costs.lives.get(costs.boots.get(name, ""))
    per_s = costs.usd_per_s - (before.usd_per_s if before else 0.0) + more_per_hour_usd / 3600
    return costs.pays(board, now, per_s, worker_class=worker_class)


def runs_usd(board: Board) -> float:
    """Return what the budget keeps for runs that have begun: the time of the fleet, and what their scoring may ask."""
    costs = board.worker_costs
    if board.opened is None:
        return 0.0
    asked = len(costs.under_way) * board.spec.judge.usd_per_run
    return costs.usd_per_s * (costs.longest_s(board.spec) + SPARE_S) + asked


def reserved_usd(board: Board) -> float:
    """Return what the budget keeps for what goes on: for runs that have begun, and for model calls."""
    return runs_usd(board) + board.worker_costs.asking_usd()


def why_no_call(board: Board, usd: float, now: dt.datetime, *, name: str) -> str:
    """Return why the budget of the arena does not pay for more model calls of an agent; "" if it does.

    Args:
        board: The board of the arena.
        usd: What the calls of this moment may cost, those included whose cost is not in the log yet.
        now: The time.
        name: The agent.
    """
    costs, limit = board.worker_costs, board.worker_costs.limit_usd
    if limit is None or board.opened is None:
        return ""
    if beyond := _why_beyond_share(board, usd, name):
        return beyond
    kept, others, spent = runs_usd(board), costs.asking_usd(but=name), costs.spent_usd(board, now)
    if spent + kept + others + usd <= limit:
        return ""
    runs = f", runs may take ${kept:.2f}" if kept else ""
    asked = f", calls of other agents ${others:.4f}" if others else ""
    so_far = f"arena {board.arena} has spent ${spent:.2f} of ${limit:,.2f}{runs}{asked}"
    return f"{so_far}, and one more call may cost ${usd:.4f}"


def _why_beyond_share(board: Board, usd: float, name: str) -> str:
    """Return why more calls of an agent would exceed the share of the budget that it may have; "" if they do not."""
    costs, stated = board.worker_costs, board.worker_costs.stated
    if not stated.is_bounded(name):
        return ""
    kept = costs.others_asking_usd(but=name)
    if usd <= stated.left_usd(name) and usd + kept <= stated.others_left_usd:
        return ""
    granted, used = stated.granted_usd or 0.0, stated.counted_usd
    most, own = NAME_SHARE * granted, stated.counted.get(name, 0.0)
    return (
        f"{name} may use ${most:,.2f} of the ${granted:,.2f} that arena {board.arena} was granted, "
        f"and all agents that are not its own ${OTHERS_SHARE * granted:,.2f}: it has used ${own:.4f}, "
        f"all of them ${used:.4f}, calls of the others may cost ${kept:.4f}, and one more call may cost ${usd:.4f}"
    )


def stated_usd(board: Board, name: str) -> float:
    """Return what an agent says that all its calls have cost, also what does not count against a budget."""
    return board.spent.get(name, 0.0) + board.worker_costs.stated.uncounted.get(name, 0.0)


class Reservation:
    """What of the budget open runs have, and whether more may be requested; made for one decision.

    The fleet needs at most so many rounds for all runs as the slots that may take them, and costs its price meanwhile.
    """

    def __init__(self, board: Board, now: dt.datetime) -> None:
        """Count the open runs that a worker can still finish."""
        self._board, self._now, self._costs = board, now, board.worker_costs
        self.is_limited = self._costs.limit_usd is not None and board.opened is not None
        self._open, self._slots = Counter[str](), Counter[str]()
        if not self.is_limited:
            return
        waiting = (board.runs[name] for name in board.unfinished)
        self._open.update(run.requested.worker_class for run in waiting if is_awaited(board, run))
        for life in self._costs.lives.values():
            if life.is_paid:
                self._slots[life.worker_class] += life.slots

    def admits(self, request: RunRequested) -> bool:
        """Tell whether the budget pays for this run as well; if so, it counts as open from now on."""
        if not self.is_limited:
            return True
        more = self._open + Counter([request.worker_class])
        waits_s = (self._rounds(more) - 1) * self._costs.longest_s(self._board.spec)
        asked = (more.total() - 1) * self._board.spec.judge.usd_per_run
        per_s = self._costs.usd_per_s if self._slots else self._costs.least_per_s
        if not self._costs.pays(self._board, self._now, per_s, seconds=max(0.0, waits_s), asked_usd=max(0.0, asked)):
            return False
        self._open = more
        return True

    def _rounds(self, runs: Counter[str]) -> int:
        """Return after how many runs, one after the other, all have ended at the latest."""
        anywhere, slots = runs["any"], self._slots
        found = 1 + (runs.total() - 1) // total if anywhere and (total := slots.total()) else 1
        for worker_class, count in runs.items():
            if worker_class != "any" and slots[worker_class]:
                found = max(found, 1 + (count + anywhere - 1) // slots[worker_class])
        return found


def is_used_up(board: Board, now: dt.datetime) -> bool:
    """Tell whether the budget pays for no further run, and none is under way: then the arena closes.

    Workers that cost nothing go on when the money is gone. Without any worker, the cheapest that there was counts.
    """
    costs = board.worker_costs
    if costs.limit_usd is None or _may_have_ghosts(board, now):
        return False
    lasts_s = costs.longest_s(board.spec) + GHOSTS_S if board.opened else 0.0
    if any((now - begun).total_seconds() <= lasts_s for _, begun in costs.under_way.values()):
        return False
    is_paid = any(life.is_paid for life in costs.lives.values())
    per_s = costs.usd_per_s if is_paid else (costs.cheapest_per_hour_usd or 0.0) / 3600
    return not costs.pays(board, now, per_s, asked_usd=_asked_at_once_usd(board))


def _may_have_ghosts(board: Board, now: dt.datetime) -> bool:
    woken = board.worker_costs.woken
    return woken is not None and (now - woken).total_seconds() < GHOSTS_S


def must_end(board: Board, now: dt.datetime) -> bool:
    """Tell whether the money is gone but for `END_S` seconds of the fleet: then what costs something ends at once.

    Runs that keep to their deadlines end before. What has no deadline does not, such as building an environment,
    fetching data, or waiting where no curator closes the arena.
    """
    costs, limit = board.worker_costs, board.worker_costs.limit_usd
    if limit is None or not costs.usd_per_s or board.opened is None or _may_have_ghosts(board, now):
        return False
    asked = len(costs.under_way) * board.spec.judge.usd_per_run + costs.asking_usd()
    return costs.spent_usd(board, now) + costs.usd_per_s * END_S + asked > limit


def next_run_words(board: Board, usd_per_s: float | None = None, worker_class: str = "") -> str:
    """Return what one more run may take: `which may keep the workers for 4 minutes ($0.25)`.

    Args:
        board: The board of the arena.
        usd_per_s: What a second of all workers costs; None for those that are there, else of the cheapest known.
        worker_class: The class of a worker that is about to join; "" for none.
    """
    costs = board.worker_costs
    lasts_s = costs.longest_s(board.spec, worker_class) + SPARE_S
    per_s = usd_per_s if usd_per_s is not None else costs.usd_per_s or costs.least_per_s
    return f"which may keep the workers for {duration(lasts_s)} (${per_s * lasts_s:,.2f})"


def budget_words(board: Board, now: dt.datetime) -> str:
    """Return what is spent, of what: `$4.12 of $20.00`."""
    spent, limit = spent_usd(board, now), limit_usd(board)
    return f"${spent:,.2f}" + (f" of ${limit:,.2f}" if limit is not None else "")


def cost_line(
    board: Board, now: dt.datetime, *, more_per_hour_usd: float = 0.0, more_slots: int = 0, name: str = ""
) -> str:
    """Return what is about to be spent: `about $2.69/h; queue 34 runs ≈ $3.10; spent $4.12 of $20.00`.

    Args:
        board: The board of the arena.
        now: The time.
        more_per_hour_usd: What workers that are about to join cost in an hour.
        more_slots: How many runs they take at a time.
        name: The name of that worker: an earlier life of that name costs no more.
    """
    lives = [life for life in board.worker_costs.lives.values() if life.is_paid and life.name != name]
    per_hour = 3600 * sum(life.usd_per_s for life in lives) + more_per_hour_usd
    slots = sum(life.slots for life in lives if life.price_per_hour_usd is not None) + more_slots
    parts = [f"about ${per_hour:,.2f}/h"]
    queue, mean_s = len(board.unfinished), _mean_run_s(board)
    if queue and slots and mean_s:
        runs = f"{queue} run{'s' if queue > 1 else ''}"
        parts.append(f"queue {runs} ≈ ${per_hour / slots * queue * mean_s / 3600:,.2f}")
    return "; ".join([*parts, f"spent {budget_words(board, now)}"])


def _mean_run_s(board: Board) -> float:
    """Return the mean seconds of a slot that a run takes; 0 if no run has finished."""
    if not board.finished:
        return 0.0
    return sum(board.seconds.values()) / board.finished + board.worker_costs.mean_overhead_s
