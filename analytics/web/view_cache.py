"""The SQL views that the page shows, cached for all visitors and bounded.

The views of a large arena take a second or so. They are refreshed only when the log has grown, and at most half of the
time goes into that; every visitor gets the latest state.
"""

import time
from importlib.resources import files
from typing import Any

import anyio
import msgspec

from analytics.sql_client import ask
from analytics.sql_protocol import Answer, Query
from analytics.web.event_stream import Feed
from mesh.bus import ArenaBus
from mesh.errors import MeshError, leaf
from mesh.follow import Follower

STANDING = 20_000
SHOWN = 100
"""Rows of the leaderboard, of workers and of notes in one answer."""
_REST = 1.0
"""After a refresh the cache rests this many times as long as the refresh took."""
REST_S, REST_MOST_S = 0.1, 5.0
_ANSWER_S = 15.0
"""Seconds that a view may take; a projector that died during an answer never sends it."""
_PATIENCE_S = 3.0
"""Seconds without an answer after which visitors see that their data is old."""
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
    as_of: int = 0
    trouble: str = ""


class ViewCache:
    """Keeps the views of one arena and refreshes them from the projector."""

    def __init__(self, bus: ArenaBus, follower: Follower, feed: Feed) -> None:
        self.state = State(trouble="the projector is still reading the log")
        self._bus, self._follower, self._feed = bus, follower, feed
        self._one = anyio.CapacityLimiter(1)

    async def keep(self) -> None:
        """Keep the state current until cancelled."""
        while True:
            head = self._follower.board.seq
            began = time.monotonic()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell_when_late)
                self.state = await self._read()
                tasks.cancel_scope.cancel()
            self._feed.tell_state()
            await anyio.sleep(min(REST_MOST_S, max(REST_S, _REST * (time.monotonic() - began))))
            if not self.state.trouble and self.state.as_of >= head:
                await self._follower.until(lambda board: board.seq > self.state.as_of)

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
        except BaseExceptionGroup as group:
            error = leaf(group)
            if not isinstance(error, MeshError):
                raise
            return msgspec.structs.replace(self.state, trouble=str(error))
        as_of = min(table.as_of for table in found.values())
        return State(found["standing"], found["workers"], found["counts"], found["reigns"], as_of)

    async def dots(self) -> Table:
        """Return the latest scores, in the order of the log."""
        return await self._table("dots", STANDING)

    async def notes(self, before: int) -> Table:
        """Return the notes before an entry of the log, the latest first."""
        return await self._table("notes", SHOWN, before=before)

    async def sql(self, statement: str) -> Answer:
        """Answer a query of a visitor; one runs at a time, so that the page itself does not wait."""
        async with self._one:
            return await ask(self._bus, Query(statement, max_rows=SQL_ROWS, timeout_s=SQL_TIMEOUT_S))

    async def _table(self, name: str, max_rows: int, **places: int) -> Table:
        sql = (files("analytics.web") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
        sql = sql.replace("$arena", self._bus.arena)  # a token: letters, digits, '_' and '-'
        for place, value in places.items():
            sql = sql.replace(f"${place}", str(value))
        answer = await ask(self._bus, Query(sql, max_rows=max_rows, timeout_s=_ANSWER_S))
        return Table(answer.columns, answer.rows, answer.as_of.get(self._bus.arena, 0))
