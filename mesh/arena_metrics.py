"""The metrics of one arena: its queue, slots, facts and costs from the board, its lag from the server."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress

import anyio

from mesh.board import Board
from mesh.bus import Bus
from mesh.errors import BusError
from mesh.events import LANES, AgentJoined, WorkerJoined
from mesh.fleet import present, slots, under_way, waiting
from mesh.jetstream import JetStreamHub
from mesh.jetstream.server_state import LaneLag, lane_lags
from mesh.metric import Sample, ShownMetric
from mesh.money import burn_per_hour_usd, limit_usd, spent_usd, unknown_costs
from mesh.show_metrics import server_trouble

ASK_AGAIN_S = 60.0
"""Seconds after which a server that did not tell the lag is asked again: a member may not ask for it."""
_WITHIN_S = 2.0


class ArenaMetrics:
    """The metrics of an arena while a process follows it; run `count` in a task.

    Args:
        hub: the server, which knows the lag.
        bus: the log of the arena.
        board: returns the board, which another task keeps current.
    """

    def __init__(self, hub: JetStreamHub, bus: Bus, board: Callable[[], Board]) -> None:
        self._hub, self._bus, self._board = hub, bus, board
        self._counts: Counter[str] = Counter()
        self._ask_after = 0.0

    async def count(self) -> None:
        """Count new facts by their kinds until cancelled."""
        async with aclosing(self._bus.read(await self._bus.head(), follow=True)) as batches:
            async for batch in batches:
                self._counts.update(entry.post.kind for entry in batch if entry.post)

    async def collect(self) -> list[ShownMetric]:
        """Return the metrics as of now."""
        board = self._board()
        money = money_metrics(board, dt.datetime.now(dt.UTC))
        return [*board_metrics(board, self._counts), *money, *lag_metrics(self._bus.arena, await self._lags())]

    async def trouble(self) -> str:
        """Return why the process cannot work now, "" if it can."""
        return await server_trouble(self._bus)

    async def _lags(self) -> Mapping[str, LaneLag]:
        if time.monotonic() < self._ask_after:
            return {}
        with anyio.move_on_after(_WITHIN_S), suppress(BusError):
            return await lane_lags(self._hub.link, self._bus.arena)
        self._ask_after = time.monotonic() + ASK_AGAIN_S
        return {}


def board_metrics(board: Board, counts: Mapping[str, int]) -> list[ShownMetric]:
    """Return what a board and the facts that a process has seen say of an arena. Pure.

    Args:
        board: the board.
        counts: facts by their kinds, since the process started.
    """
    arena = {"arena": board.arena}
    return [
        ShownMetric(
            "mesh_log_entries_total",
            "Entries of the arena's log.",
            (Sample(board.seq, arena),),
            "counter",
        ),
        ShownMetric(
            "mesh_facts_total",
            "Facts in the log by their kind, since this process started.",
            tuple(Sample(count, arena | {"kind": kind}) for kind, count in sorted(counts.items())),
            "counter",
        ),
        ShownMetric("mesh_arena_open", "Whether the arena is open.", (Sample(_is_open(board), arena),)),
        ShownMetric("mesh_proposals_total", "Proposals so far.", (Sample(len(board.proposals), arena),), "counter"),
        ShownMetric("mesh_promotions_total", "Champions so far.", (Sample(len(board.champions), arena),), "counter"),
        ShownMetric("mesh_runs_finished_total", "Runs that have ended.", (Sample(board.finished, arena),), "counter"),
        ShownMetric(
            "mesh_run_seconds_total",
            "Seconds of trials and their scoring, by lane.",
            tuple(Sample(seconds, arena | {"lane": lane}) for lane, seconds in sorted(board.seconds.items())),
            "counter",
        ),
        *_queue(board, arena),
        *_fleet(board, arena),
    ]


def money_metrics(board: Board, now: dt.datetime) -> list[ShownMetric]:
    """Return what an arena has spent and may spend, as its budget counts it. Pure."""
    arena = {"arena": board.arena}
    limit, spent = limit_usd(board), (Sample(spent_usd(board, now), arena),)
    granted = () if limit is None else (Sample(limit, arena),)
    return [
        ShownMetric("mesh_spent_usd", "Dollars for models, and for workers with a price, idle ones too.", spent),
        ShownMetric("mesh_budget_usd", "Dollars that the arena may spend in all; none without a budget.", granted),
        ShownMetric(
            "mesh_burn_usd_per_hour",
            "What all workers cost in an hour, as far as prices are known.",
            (Sample(burn_per_hour_usd(board), arena),),
        ),
        ShownMetric(
            "mesh_unknown_costs",
            "Costs that nobody knows: workers and agents without a price.",
            (Sample(unknown_costs(board), arena),),
        ),
    ]


def lag_metrics(arena: str, lags: Mapping[str, LaneLag]) -> list[ShownMetric]:
    """Return what the server says of the queue of each lane; together they are what KEDA scales by. Pure."""
    return [
        ShownMetric(
            "mesh_consumer_pending",
            "Requests of a lane that no worker was given yet.",
            tuple(Sample(lag.pending, {"arena": arena, "lane": lane}) for lane, lag in lags.items()),
        ),
        ShownMetric(
            "mesh_consumer_ack_pending",
            "Requests of a lane that a worker was given and has not finished.",
            tuple(Sample(lag.ack_pending, {"arena": arena, "lane": lane}) for lane, lag in lags.items()),
        ),
    ]


def _queue(board: Board, arena: Mapping[str, str]) -> list[ShownMetric]:
    states = {"running": under_way(board), "waiting": waiting(board)}
    depth = Counter((board.runs[run].requested.lane, state) for state, runs in states.items() for run in runs)
    return [
        ShownMetric(
            "mesh_queue_runs",
            "Unfinished runs by lane: that a worker executes, or that wait for one.",
            tuple(
                Sample(depth[lane, state], {**arena, "lane": lane, "state": state})
                for lane in LANES
                for state in sorted(states)
            ),
        )
    ]


def _fleet(board: Board, arena: Mapping[str, str]) -> list[ShownMetric]:
    workers = {boot: member.joined for boot, member in present(board.workers).items()}
    agents = [member.joined for member in present(board.agents).values()]
    classes = {boot: joined.worker_class for boot, joined in workers.items() if isinstance(joined, WorkerJoined)}
    busy = Counter(classes[run.worker] for name in under_way(board) if (run := board.runs[name]).worker in classes)
    roles = Counter(joined.role for joined in agents if isinstance(joined, AgentJoined))
    there = sorted(slots(board).items())

    def by_class(count: Callable[[str], float]) -> tuple[Sample, ...]:
        return tuple(Sample(count(name), {**arena, "worker_class": name}) for name, _ in there)

    return [
        ShownMetric("mesh_slots", "Slots of the present workers, by worker class.", by_class(dict(there).__getitem__)),
        ShownMetric("mesh_slots_busy", "Slots that execute a run, by worker class.", by_class(busy.__getitem__)),
        ShownMetric(
            "mesh_workers", "Present workers, by worker class.", by_class(Counter(classes.values()).__getitem__)
        ),
        ShownMetric(
            "mesh_agents",
            "Present agents, by role.",
            tuple(Sample(count, {**arena, "role": role}) for role, count in sorted(roles.items())),
        ),
    ]


def _is_open(board: Board) -> bool:
    return board.opened is not None and board.closed is None
