"""One read-only statement of a stranger, run so that it can neither change nor see anything but the projection.

It is one statement of an allowed kind, in a read-only transaction of its own connection, without files, network,
extensions or settings (`Projection` locks those), and it is interrupted when its time is over.
"""

import datetime as dt
import decimal
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import duckdb
import msgspec
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from analytics.projection import Projection
from analytics.protocol import Answer, Query, Refusal, Reply, decode_query, encode
from mesh.errors import BadInput, QueryError, leaf

MAX_SQL = 50_000
MAX_ROWS = 100_000
MAX_ANSWER_CHARS = 32_000_000
MAX_TIMEOUT_S = 60.0
AT_ONCE = 2
"""Queries that run at the same time; they share memory with the folding."""

_ALLOWED = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_PIECE = 1000


class Queries:
    """Answers queries about one projection."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._turn = anyio.CapacityLimiter(AT_ONCE)

    async def handle(self, data: bytes) -> bytes:
        """Return the encoded reply to an encoded query; never fails."""
        try:
            reply: Reply = await self.answer(decode_query(data))
            return encode(reply)
        except (QueryError, BadInput, duckdb.Error, msgspec.MsgspecError, OSError) as error:
            return encode(Refusal(str(error)))
        except (ValueError, OverflowError, MemoryError, RecursionError, TypeError) as error:
            return encode(Refusal(f"the rows cannot be sent: {error!r}"))

    async def answer(self, query: Query) -> Answer:
        """Run a query in a thread and return its rows.

        Raises:
            QueryError: it is not one read-only statement, fails, or takes too long.
        """
        timeout_s = min(max(query.timeout_s, 0.01), MAX_TIMEOUT_S)
        if len(query.sql) > MAX_SQL:
            raise QueryError(f"a query of {len(query.sql):,} characters is too long: at most {MAX_SQL:,} are read")
        async with self._turn:
            running = _Running(self._projection, query.sql, min(max(query.max_rows, 1), MAX_ROWS))
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(running.stop_after, timeout_s)
                    try:
                        answer = await run_sync(running.run)
                    finally:
                        running.close()
                    tasks.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                await checkpoint()  # whoever gave up on this query wants no error of it
                raise leaf(group) from None
            return answer


class _Running:
    """One query while it runs."""

    def __init__(self, projection: Projection, sql: str, max_rows: int) -> None:
        self._sql, self._max_rows = sql, max_rows
        self._db = projection.cursor()
        self._lock = threading.Lock()
        self._done = False
        self._late = ""

    async def stop_after(self, timeout_s: float) -> None:
        """Interrupt the query after `timeout_s`, or when this is cancelled, until it gives in."""
        try:
            await anyio.sleep(timeout_s)
        finally:
            self._late = f"the query was interrupted after {timeout_s:g} s: ask for less, or set a longer timeout"
            with anyio.CancelScope(shield=True):
                while self._interrupt():
                    await anyio.sleep(0.05)

    def _interrupt(self) -> bool:
        with self._lock:
            if not self._done:
                self._db.interrupt()
            return not self._done

    def run(self) -> Answer:
        """Run the query to its end; blocks."""
        try:
            return self._rows()
        except duckdb.InterruptException as error:
            raise QueryError(self._late or "the query was interrupted") from error
        except duckdb.Error as error:
            raise QueryError(_sentence(error)) from error
        finally:
            self.close()

    def close(self) -> None:
        """Give up the connection; the query must have ended, or never begun."""
        with self._lock:
            self._done = True
            self._db.close()

    def _rows(self) -> Answer:
        began = time.monotonic()
        statement = self._statement()
        self._db.execute("BEGIN TRANSACTION READ ONLY")
        as_of = dict(self._db.execute("SELECT arena, seq FROM checkpoints ORDER BY arena").fetchall())
        self._db.execute(statement)
        description = self._db.description or []
        rows: list[list[Any]] = []
        size, truncated = 0, False
        while not truncated and (piece := self._db.fetchmany(_PIECE)):
            if self._late:
                raise QueryError(self._late)
            for values in piece:
                row = [plain(value) for value in values]
                size += sum(len(str(value)) for value in row)
                if len(rows) == self._max_rows or size > MAX_ANSWER_CHARS:
                    truncated = True
                    break
                rows.append(row)
        names, types = [str(d[0]) for d in description], [str(d[1]) for d in description]
        return Answer(names, types, rows, as_of, truncated, time.monotonic() - began)

    def _statement(self) -> duckdb.Statement:
        statements = self._db.extract_statements(self._sql)
        if len(statements) != 1:
            raise QueryError(f"a query is exactly one statement, not {len(statements)}")
        if statements[0].type not in _ALLOWED:
            name = statements[0].type.name
            raise QueryError(f"a query only reads (SELECT, FROM, WITH, SHOW, DESCRIBE, EXPLAIN), {name} is refused")
        return statements[0]


_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: lambda v: v,
    bool: lambda v: v,
    type(None): lambda v: v,
    int: lambda v: v if -(2**63) <= v < 2**63 else str(v),
    float: lambda v: v if math.isfinite(v) else None,
    decimal.Decimal: lambda v: float(v) if v.is_finite() else None,
    dt.timedelta: lambda v: v.total_seconds(),
    dt.datetime: lambda v: v.isoformat(sep=" "),
    dt.date: lambda v: v.isoformat(),
    dt.time: lambda v: v.isoformat(),
    bytes: lambda v: v.hex(),
    list: lambda v: [plain(item) for item in v],
    tuple: lambda v: [plain(item) for item in v],
    dict: lambda v: {str(key): plain(item) for key, item in v.items()},
}


def plain(value: object) -> Any:
    """Return a value of a row as JSON has it; a number that is none becomes null, what JSON lacks becomes text."""
    return _PLAIN.get(type(value), str)(value)


def _sentence(error: duckdb.Error) -> str:
    text = " ".join(str(error).split("\n\n")[0].split())
    if "pytz" in text:
        return "a TIMESTAMP WITH TIME ZONE cannot be sent: cast it to TIMESTAMP (the log's times are UTC)"
    return text or type(error).__name__
