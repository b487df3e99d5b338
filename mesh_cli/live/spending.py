"""What is about to be spent, said before it is: one line, and a question at a terminal."""

import datetime as dt
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import anyio.to_thread
import msgspec

from gateway.reach import follower_of
from gpu_worker.machine import survey
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.errors import BadInput
from mesh.follow import Follower
from mesh.machine_price import MachinePrice, from_table
from mesh.money import (
    burn_per_hour_usd,
    cost_line,
    limit_usd,
    next_run_words,
    pays_with,
    reserved_usd,
    spent_usd,
    unpriced_workers,
    why_unpaid,
)
from mesh.roll_call import who_answers

_MOST_NAMES = 3
"""Authors of costs that are not counted, of whom names are shown."""


class PricedMachine(msgspec.Struct, frozen=True):
    """This machine as a worker that is about to join: its price, its class, and how many runs it takes at a time."""

    price: MachinePrice
    worker_class: str
    slots: int


def priced_machine(price: MachinePrice, home: Path, device: str, slots: int | None) -> PricedMachine:
    """Return this machine with its price, from the table where options name its provider.

    Args:
        price: The price that options give.
        home: Folder of the user's own table of prices.
        device: `auto`, `cpu` or `cuda`.
        slots: How many runs it is to take at a time; None for as many as it can.

    Raises:
        BadInput: The table has no such machine, or there is no such device.
    """
    machine = survey(device, slots)
    gpus = len({slot.cuda_index for slot in machine.slots})
    found = from_table(price, home, device=machine.device, memory_mb=machine.memory_mb, gpus=gpus)
    return PricedMachine(found, machine.worker_class, len(machine.slots))


async def agree_on_cost(board: Board, name: str, machine: PricedMachine, *, yes: bool) -> None:
    """Say what a worker that is about to join costs, and ask whether to spend it, if it costs anything.

    Args:
        board: The board of the arena.
        name: The worker's name.
        machine: What it costs, and what it is.
        yes: Whether the user has agreed already.

    Raises:
        BadInput: The budget does not pay for a run with it, the price is not known although there is a budget, nobody
            can be asked, or the answer is no.
    """
    price = machine.price
    if unpriced := why_unpaid(board, name, "", price.per_hour_usd):
        raise BadInput(unpriced)
    per_hour, now = price.per_hour_usd or 0.0, board.time  # the time of the log: who was killed since costs no more
    line = cost_line(board, now, more_per_hour_usd=per_hour, more_slots=machine.slots, name=name)
    if not pays_with(board, now, per_hour, worker_class=machine.worker_class, name=name):
        raise BadInput(
            f"the budget of arena {board.arena} does not pay for one more run, "
            f"{next_run_words(board, per_hour / 3600, machine.worker_class)} ({line}): `mesh budget grant USD` grants "
            "more, and so does a greater `stop.usd` in arena.toml"
        )
    if per_hour:
        await ask_to_spend(line, yes=yes)


async def ask_to_spend(line: str, *, yes: bool) -> None:
    """Print what is about to be spent; at a terminal, ask whether to go on.

    Args:
        line: What is about to be spent.
        yes: Whether the user has agreed already.

    Raises:
        BadInput: Nobody can be asked, or the answer is no.
    """
    print(f"mesh: {line}", file=sys.stderr)
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("this costs money, and nobody is at a terminal to agree: give --yes")
    print("Go on? [Y/n] ", end="", file=sys.stderr, flush=True)
    answer = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    if not answer or answer.strip().lower() not in ("", "y", "yes"):
        raise BadInput("not agreed to: nothing was started or granted")


async def followed(bus: ArenaBus) -> tuple[Follower, Board]:
    """Return a follower of the log as of now, and its board to look at: there, who does not answer costs no more.

    A member of a hub cannot know who answers, and reads what the log says.

    Raises:
        BadInput: The arena was never opened.
    """
    follower = follower_of(bus)
    await follower.catch_up()
    board = follower.board
    if board.opened is None:
        raise BadInput(f"arena {bus.arena} was never opened; mesh open FOLDER opens it")
    answering = await who_answers(bus, board, [*board.worker_costs.lives])
    if answering is None:
        return follower, board
    return follower, msgspec.structs.replace(board, worker_costs=board.worker_costs.without_silent(answering))


class BudgetFigures(msgspec.Struct, frozen=True):
    """What `mesh budget` shows, in dollars; `limit_usd` and `left_usd` are None without a budget.

    `reserved_usd` is what the budget keeps for runs that have begun and for model calls; it is a part of `left_usd`.
    `uncounted_usd` is what authors say that they have cost, beyond what they had reserved.
    """

    arena: str
    state: str
    limit_usd: float | None
    spent_usd: float
    left_usd: float | None
    reserved_usd: float
    models_usd: float
    judge_usd: float
    workers_usd: float
    per_hour_usd: float
    workers_unpriced: list[str]
    grants: int
    uncounted_usd: float


def budget_figures(board: Board, now: dt.datetime) -> BudgetFigures:
    """Return what was granted and spent, on what, and what the workers cost in an hour."""
    limit, spent = limit_usd(board), spent_usd(board, now)
    models, judge = sum(board.spent.values(), 0.0), board.judge.usd
    return BudgetFigures(
        arena=board.arena,
        state="closed" if board.closed else "open",
        limit_usd=limit,
        spent_usd=round(spent, 6),
        left_usd=None if limit is None else round(limit - spent, 6),
        reserved_usd=0.0 if limit is None or board.closed else round(reserved_usd(board), 6),
        models_usd=round(models, 6),
        judge_usd=round(judge, 6),
        workers_usd=round(spent - models - judge, 6),
        per_hour_usd=round(burn_per_hour_usd(board), 6),
        workers_unpriced=unpriced_workers(board),
        grants=board.worker_costs.grants,
        uncounted_usd=round(board.worker_costs.stated.uncounted_usd, 6),
    )


def status_budget(board: Board, answering: Collection[str] | None, now: dt.datetime) -> dict[str, float] | None:
    """Return what was granted and spent, what is reserved and what is left beside that; None without a budget.

    Args:
        board: The board of the arena, or an excerpt of one with all that its money is counted from.
        answering: Boot ids of those that answer a roll call: who does not costs no more. None where nobody may call it.
        now: The time; of a closed arena that of its log counts.
    """
    if board.worker_costs.limit_usd is None:
        return None
    if answering is not None:
        board = msgspec.structs.replace(board, worker_costs=board.worker_costs.without_silent(answering))
    found = budget_figures(board, board.time if board.closed else now)
    if found.limit_usd is None or found.left_usd is None:
        return None
    rest = max(0.0, round(found.left_usd - found.reserved_usd, 6))
    return {
        "granted_usd": found.limit_usd,
        "spent_usd": found.spent_usd,
        "reserved_usd": found.reserved_usd,
        "rest_usd": rest,
        "uncounted_usd": found.uncounted_usd,
    }


def status_budget_words(row: Mapping[str, float]) -> str:
    """Return the figures of `status_budget` as words: `$20.00 granted, $4.12 spent, $1.20 reserved, $14.68 left`."""
    words = {"granted_usd": "granted", "spent_usd": "spent", "reserved_usd": "reserved", "rest_usd": "left"}
    if row["uncounted_usd"]:
        words["uncounted_usd"] = "claimed beyond reserves, and not counted"
    return ", ".join(f"${row[name]:,.2f} {word}" for name, word in words.items())


def budget_lines(board: Board, now: dt.datetime) -> list[str]:
    """Return the figures of `mesh budget` as lines for people."""
    found = budget_figures(board, now)
    lines = [
        f"arena {found.arena}: {cost_line(board, now)}",
        f"models ${found.models_usd:.4f}, judge ${found.judge_usd:.4f}, workers ${found.workers_usd:.4f}",
    ]
    if found.limit_usd is None:
        lines.append("no budget: `mesh budget grant USD` sets one")
    else:
        lines.append(f"reserved ${found.reserved_usd:,.2f} for runs that have begun and for model calls")
    if uncounted := board.worker_costs.stated.uncounted:
        names = sorted(uncounted, key=lambda name: -uncounted[name])
        who = ", ".join(names[:_MOST_NAMES]) + (
            f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        )
        lines.append(f"not counted: ${found.uncounted_usd:,.2f} that {who} claimed beyond what was reserved")
    cure = "give it --price-per-hour USD, 0 if it costs nothing"
    return lines + [f"the price of worker {name} is not known: {cure}" for name in found.workers_unpriced]
