"""The SQL views that the page shows, cached for all visitors and bounded.

The views of a large arena take a second or so. They are refreshed only when the log has grown, and at most half of the
time goes into that; every visitor gets the latest state.
"""

import time
from collections.abc import Collection
from contextlib import suppress
from importlib.resources import files
from typing import Any

import anyio
import msgspec

from analytics.sql_client import ask_here
from analytics.sql_server import SqlServer
from analytics.web.event_stream import Feed
from mesh.bus import ArenaBus
from mesh.errors import BusUnavailable, MeshError, leaf
from mesh.follow import Follower
from mesh.roll_call import Watchman
from mesh.sql_protocol import Answer, Query, ask

STANDING = 20_000
SHOWN = 100
"""Rows of the leaderboard, of workers and of notes in one answer."""
CLAIMS = 50
_REST = 1.0
"""After a refresh the cache rests this many times as long as the refresh took."""
REST_S, REST_MOST_S = 0.1, 5.0
_ANSWER_S = 15.0
"""Seconds that a view may take; a projector that died during an answer never sends it."""
_PATIENCE_S = 3.0
"""Seconds without an answer after which visitors see that their data is old."""
_LAST = 4
"""Answers to visitors that are kept for the time when nobody can be asked."""
_KEEP_EVERY_S = 15.0
NEWEST = 2**62
"""The entry before which are all notes."""
SQL_ROWS = 1000
SQL_TIMEOUT_S = 10.0


class Table(msgspec.Struct, frozen=True):
    """Rows of a view, and the last entry of the log that was folded when they were read."""

    columns: list[str]
    rows: list[list[Any]]
    as_of: int = 0

    def records(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows[:limit]]


class State(msgspec.Struct, frozen=True):
    """The views at one moment; `standing` has every proposal with a score."""

    standing: Table = Table([], [])
    workers: Table = Table([], [])
    counts: Table = Table([], [])
    reigns: Table = Table([], [])
    claims: Table = Table([], [])
    as_of: int = 0
    trouble: str = ""

    def measured(self, proposals: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return the rows of the leaderboard of some proposals, by proposal."""
        at = self.standing.columns.index("proposal") if self.standing.rows else 0
        rows = [row for row in self.standing.rows if row[at] in proposals]
        return {row[at]: dict(zip(self.standing.columns, row, strict=True)) for row in rows}


class ViewCache:
    """Keeps the views of one arena and refreshes them from the projector."""

    def __init__(self, bus: ArenaBus, follower: Follower, feed: Feed, watchman: Watchman) -> None:
        self.state = State(trouble="the projector is still reading the log")
        self._bus, self._follower, self._feed, self._watchman = bus, follower, feed, watchman
        self._own: SqlServer | None = None
        self._one = anyio.CapacityLimiter(1)
        self._last = dict[str, Table]()
        self._kept = -_KEEP_EVERY_S
        self._heard = anyio.Event()
        self._reading = anyio.CancelScope()

    async def keep(self) -> None:
        """Keep the state current until cancelled."""
        while True:
            while self._is_cut_off:
                await self._heard.wait()
            head = self._follower.board.seq
            began = time.monotonic()
            with anyio.CancelScope() as self._reading:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._tell_when_late)
                    self.state = await self._read()
                    tasks.cancel_scope.cancel()
                if not self.state.trouble and began > self._kept + _KEEP_EVERY_S:
                    self._kept = began
                    with suppress(MeshError):  # for those who come while nobody can be asked
                        await self.dots()
                        await self.notes(NEWEST)
            if self._reading.cancelled_caught:
                continue
            self._feed.tell_state()
            await anyio.sleep(min(REST_MOST_S, max(REST_S, _REST * (time.monotonic() - began))))
            if not self.state.trouble and self.state.as_of >= head:
                await self._follower.until(lambda board: board.seq > self.state.as_of)

    def tell(self) -> None:
        """Take notice that the watchman has news: while the server is silent nothing is asked of it."""
        if self._is_cut_off:
            self._reading.cancel()
        else:
            self._heard.set()
            self._heard = anyio.Event()
        self._feed.tell_state()

    def use(self, own: SqlServer | None) -> None:
        """Ask the projector of this process, which answers also while the server of the log is silent."""
        self._own = own

    @property
    def _is_cut_off(self) -> bool:
        return self._own is None and self._watchman.silent_since is not None

    async def _ask(self, query: Query) -> Answer:
        return await (ask_here(self._own, query) if self._own else ask(self._bus, query))

    async def _tell_when_late(self) -> None:
        await anyio.sleep(_PATIENCE_S)
        late = f"the projector has not answered for {_PATIENCE_S:g} s"
        self.state = msgspec.structs.replace(self.state, trouble=late)
        self._feed.tell_state()

    async def _read(self) -> State:
        found: dict[str, Table] = {}

        async def ask_for(name: str, rows: int) -> None:
            found[name] = await self._table(name, rows)

        try:
            async with anyio.create_task_group() as tasks:
                for name, rows in (("standing", STANDING), ("workers", SHOWN), ("counts", 1), ("reigns", STANDING)):
                    tasks.start_soon(ask_for, name, rows)
            if any(row["claiming"] for row in found["counts"].records()):  # the view ranks all proposals once more
                await ask_for("claims", CLAIMS)
        except BaseExceptionGroup as group:
            error = leaf(group)
            if not isinstance(error, MeshError):
                raise
            return msgspec.structs.replace(self.state, trouble=str(error))
        as_of = min(table.as_of for table in found.values())
        claims = found.get("claims", Table([], []))
        return State(found["standing"], found["workers"], found["counts"], found["reigns"], claims, as_of)

    async def dots(self) -> Table:
        """Return the latest scores, in the order of the log; the last known ones while nobody can be asked."""
        return await self._table_or_last("dots", STANDING)

    async def notes(self, before: int) -> Table:
        """Return the notes before an entry of the log, the latest first."""
        return await self._table_or_last("notes", SHOWN, before=before)

    async def sql(self, statement: str) -> Answer:
        """Answer a query of a visitor; one runs at a time, so that the page itself does not wait."""
        self._check_server()
        async with self._one:
            return await self._ask(Query(statement, max_rows=SQL_ROWS, timeout_s=SQL_TIMEOUT_S))

    def _check_server(self) -> None:
        if self._is_cut_off and self._watchman.silent_since is not None:
            since = self._watchman.silent_since.strftime("%H:%M:%S")
            raise BusUnavailable(f"the server does not answer since {since} UTC: ask again when it does")

    async def _table_or_last(self, name: str, max_rows: int, **places: int) -> Table:
        """Return a view, or while nobody can be asked what it said last."""
        key = f"{name} {places}"
        try:
            self._check_server()
            self._last[key] = await self._table(name, max_rows, **places)
        except BusUnavailable:
            if key not in self._last:
                raise
        while len(self._last) > _LAST:
            del self._last[next(iter(self._last))]
        return self._last[key]

    async def _table(self, name: str, max_rows: int, **places: int) -> Table:
        sql = (files("analytics.web") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
        sql = sql.replace("$arena", self._bus.arena)  # a token: letters, digits, '_' and '-'
        for place, value in places.items():
            sql = sql.replace(f"${place}", str(value))
        answer = await self._ask(Query(sql, max_rows=max_rows, timeout_s=_ANSWER_S))
        return Table(answer.columns, answer.rows, answer.as_of.get(self._bus.arena, 0))
