"""The data of `mesh top`: a board that follows the log, its last lines, and the progress of running trials.

On a long log the board is an excerpt that a projector gives again and again; without a projector the log is folded. It
knows nothing of screens. It waits for a lost server for any length of time.
"""

import datetime as dt
import math
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, NamedTuple

import anyio
import msgspec

from mesh import settings
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.decoding import decode_json
from mesh.errors import BusUnavailable
from mesh.events import CurvePoint, RunStarted, WorkerJoined
from mesh.fleet import present, under_way, waiting
from mesh.follow import Follower
from mesh.leaderboard import LeaderboardRow, Ranking
from mesh.live_curves import CURVES, believed_run
from mesh.recall import recall
from mesh.roll_call import Watchman
from mesh.wire import Entry, Pattern
from mesh_cli.board.lines import Lines
from mesh_cli.projected.asking import Projector, from_projector
from mesh_cli.projected.named import projected_thing
from mesh_cli.projected.ranking import projected_ranking
from mesh_cli.render.colour import Ink

RECENT = 300
AGAIN_S = 0.5
RANKED = 200
"""Rows of the leaderboard that are shown."""
_ASKS_AGAIN_S, _RESTS, _LONGEST_REST_S = 1.0, 9, 10.0
"""Seconds until a projector is asked again: so many times as long as its answer took, within bounds."""
_PATIENCE_S = 20.0
"""Seconds after which the log is folded, where a projector that has answered does not answer any more."""
_CURVES = 1000
_WAITING = 50


class Queued(NamedTuple):
    """A run that is not finished: `progress` is the share of its budget that is used, `value` the end of its curve."""

    run: str
    lane: str
    proposal: str
    worker: str
    progress: float | None
    value: float | None


class Watch:
    """One arena as it is now; `run` keeps it up to date until cancelled."""

    def __init__(self, bus: ArenaBus, is_connected: Callable[[], bool]) -> None:
        self._bus, self.is_connected = bus, is_connected
        swarm = bus if settings.takes_boards() else None
        self._follower = Follower(bus, snapshot=settings.snapshot_file(settings.home(), bus.arena), swarm=swarm)
        self.watchman = Watchman(bus, lambda: self.board)
        self._lines = Lines(Ink(on=False), screen=True)
        self._began: dict[str, dt.datetime] = {}
        self._points: dict[str, CurvePoint] = {}
        self.recent: deque[tuple[int, str, str]] = deque(maxlen=RECENT)
        self._asked: Ranking | None = None
        self.is_ready = False

    @property
    def board(self) -> Board:
        """The board, or its excerpt, up to the last entry that was read."""
        return self._asked.board if self._asked else self._follower.board

    @property
    def is_folded(self) -> bool:
        """Whether the log was folded here: no projector was asked."""
        return self._follower.board.seq > 0

    @property
    def ranking(self) -> Ranking:
        """The ranking of the board."""
        return self._asked or Ranking(self._follower.board)

    async def ranking_of(self, tree: str) -> Ranking:
        """Return a ranking whose board has all of a proposal, its texts too, if there is one."""
        found = None
        if self._asked:
            found = await from_projector(self._bus, partial(projected_thing, word=f"proposal:{tree}"))
        ranking = found or self.ranking
        await recall(self._bus, ranking.board, [tree])
        return ranking

    async def run(self) -> None:
        """Follow the log and the live curves."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._hear)
            self._tasks.start_soon(self._tail)
            await self._patiently(self._follow)

    async def _follow(self) -> None:
        if not self.is_folded:
            await self._ask()
            await self._follower.catch_up()
            self._asked = None
            for run in under_way(self.board):
                await self._look_up(run)
            self._be_ready()
        await self._follower.follow(self._on_entry)

    def _be_ready(self) -> None:
        if not self.is_ready:
            self.is_ready = True
            self._tasks.start_soon(self.watchman.keep)

    async def _ask(self) -> None:
        """Ask a projector again and again, and return where none answers."""
        answered_at = -math.inf
        while True:
            began = now = anyio.current_time()
            if not self._asked or await self._bus.head() != self.board.seq:
                found = await from_projector(self._bus, _first_and_queue)
                now = anyio.current_time()
                if found:
                    self._asked, self._began = found
                    self._be_ready()
                elif now - answered_at > _PATIENCE_S:
                    return
                else:
                    now = answered_at
            answered_at = now
            took_s = anyio.current_time() - began
            await anyio.sleep(min(max(_ASKS_AGAIN_S, _RESTS * took_s), _LONGEST_REST_S))

    def _on_entry(self, entry: Entry, counts: bool) -> None:
        event = entry.post.event if entry.post else None
        if isinstance(event, RunStarted):
            self._began[event.run] = entry.time
            self._points.pop(event.run, None)
            if len(self._began) > _CURVES:
                self._began = {run: at for run, at in self._began.items() if run in self.board.unfinished}

    async def _look_up(self, run: str) -> None:
        """Look up when a running trial started."""
        only = [Pattern("run.started", f"{run}-{self.board.runs[run].attempts}")]
        async with aclosing(self._bus.read(self.board.runs[run].seq, until=self.board.seq, only=only)) as batches:
            async for batch in batches:
                self._began[run] = batch[-1].time

    async def _tail(self) -> None:
        """Keep the last lines; whose author is kept beside, for its colour."""
        after = max(0, await self._bus.head() - RECENT)

        async def go_on() -> None:
            nonlocal after
            async with aclosing(self._bus.read(after, follow=True)) as batches:
                async for batch in batches:
                    for entry in batch[-RECENT:]:
                        self.recent.append(
                            (entry.seq, entry.subject.author, await self._lines.line_from(self._bus, entry))
                        )
                    after = batch[-1].seq

        await self._patiently(go_on)

    async def _hear(self) -> None:
        async with aclosing(self._bus.hear(CURVES)) as messages:
            async for topic, data in messages:
                with suppress(msgspec.MsgspecError):
                    if run := believed_run(self.board, topic):
                        self._points[run] = decode_json(data, CurvePoint)
                if len(self._points) > _CURVES:
                    self._points = {name: p for name, p in self._points.items() if name in self.board.unfinished}

    async def _patiently(self, work: Callable[[], Any]) -> None:
        while True:
            with suppress(BusUnavailable):
                await work()
            await anyio.sleep(AGAIN_S)

    def leaderboard(self) -> list[LeaderboardRow]:
        """Return the rows of the leaderboard."""
        return self.ranking.rows() if self.board.opened else []

    def progress(self, run: str, now: dt.datetime) -> float | None:
        """Return which share of its budget a running trial has used: as its curve says, else by the clock."""
        if point := self._points.get(run):
            return min(1.0, max(0.0, point.fraction))
        if (began := self._began.get(run)) is None:
            return None
        budget_s = self.board.runs[run].requested.budget_s
        return min(1.0, max(0.0, (now - began).total_seconds() / budget_s)) if budget_s > 0 else None

    @property
    def has_workers(self) -> bool:
        """Whether a worker is there, as far as is known."""
        return bool(present(self.board.workers, self.watchman.answering))

    def queue(self, now: dt.datetime) -> list["Queued"]:
        """Return the running runs, then the first of those that wait; those have no worker."""
        answering, rows = self.watchman.answering, []
        for name in under_way(self.board, answering):
            run, point = self.board.runs[name], self._points.get(name)
            worker = self.board.workers.get(run.worker)
            author, value = worker.name if worker else run.worker, point.value if point else None
            asked = run.requested
            rows.append(Queued(name, asked.lane, asked.proposal, author, self.progress(name, now), value))
        for name in waiting(self.board, answering)[:_WAITING]:
            asked = self.board.runs[name].requested
            rows.append(Queued(name, asked.lane, asked.proposal, "", None, None))
        return rows

    def workers(self) -> list[tuple[str, int, int, str]]:
        """Return the workers that are there: name, trials under way, slots, class."""
        answering = self.watchman.answering
        busy = [self.board.runs[run].worker for run in under_way(self.board, answering)]
        return [
            (member.name, busy.count(boot), member.joined.slots, member.joined.worker_class)
            for boot, member in present(self.board.workers, answering).items()
            if isinstance(member.joined, WorkerJoined)
        ]


async def _first_and_queue(projector: Projector) -> tuple[Ranking, dict[str, dt.datetime]]:
    """Return the first rows of a ranking, on an excerpt that has queue and members, and when the trials began."""
    more = {"began": projector.sql("began")}
    ranking, found = await projected_ranking(projector, first=RANKED, queue=True, more=more)
    began = {row["run"]: dt.datetime.fromtimestamp(row["began_us"] / 1e6, dt.UTC) for row in found["began"]}
    return ranking, began
