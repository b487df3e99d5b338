"""One read-only statement while it runs: it yields its rows in pages and is interrupted at its timeout.

A statement is of an allowed kind and runs in a read-only transaction on its own connection, without files, network,
extensions or settings (`Projection` locks those). DuckDB yields rows as it finds them, so only one page is in memory.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import duckdb
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from analytics.did_you_mean import did_you_mean, in_our_dialect, odd_names, odd_words
from analytics.json_values import plain
from analytics.projection import Projection
from mesh.errors import QueryError, leaf

_ALLOWED = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_READS = "SELECT, FROM, WITH, SHOW, DESCRIBE, EXPLAIN"
_PIECE = 100
"""Rows taken from DuckDB at a time, fewer while they are long."""
_PIECE_CHARACTERS = 1_000_000
MAX_ROW_CHARACTERS = 16_000_000
"""Characters of one row; a row is sent whole or not at all."""


class Running:
    """A statement from its start to its last row; always `close` it.

    Attributes:
        columns: names of the columns, as soon as the first page is there.
        types: DuckDB's types of them.
        as_of: for every arena the sequence up to which the log was folded when the statement began.
        elapsed_s: seconds of work so far, without the time between pages.
        ended: whether the last row was returned.
        remark: a sentence about the statement: it compares a column with a word that the column never has. Where it
            has found nothing, once its last row was returned, also with a name that is nowhere in the log.
    """

    def __init__(self, projection: Projection, sql: str, timeout_s: float) -> None:
        self.columns: list[str] = []
        self.types: list[str] = []
        self.as_of: dict[str, int] = {}
        self.elapsed_s = 0.0
        self.ended = False
        self.remark = odd_words(sql)
        self._sql, self._timeout_s = sql, timeout_s
        self._projection = projection
        self._db = projection.cursor()
        self._begun = False
        self._waiting: deque[tuple[list[Any], int]] = deque()
        self._piece = 1
        self._is_empty = True
        self._lock = threading.Lock()
        self._working = self._closed = False
        self._stopped = anyio.Event()
        self._late = ""

    async def page(self, max_rows: int, max_characters: int) -> list[list[Any]]:
        """Return the next rows, in a thread: at most `max_rows`, and no more once they have `max_characters`.

        Raises:
            QueryError: it is not one read-only statement, fails, was stopped, or takes too long.
        """
        left_s = max(self._timeout_s - self.elapsed_s, 0.01)
        rows: list[list[Any]] = []
        try:
            async with anyio.create_task_group() as tasks:
                self._working = True
                tasks.start_soon(self._stop_after, left_s)
                try:
                    rows = await run_sync(self._page, max_rows, max_characters)
                finally:
                    self._working = False
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            await checkpoint()  # a caller that was cancelled gets the cancellation, not an error of the query
            raise leaf(group) from None
        return rows

    async def _stop_after(self, timeout_s: float) -> None:
        """Interrupt the work after `timeout_s`, at `stop`, or at cancellation, until it ends."""
        try:
            with anyio.move_on_after(timeout_s):
                await self._stopped.wait()
        finally:
            if self._working:
                self.stop(
                    f"the query was interrupted after {self._timeout_s:g} s: ask for less, or set a longer timeout"
                )
            with anyio.CancelScope(shield=True):
                while self._interrupt():
                    await anyio.sleep(0.05)

    def stop(self, why: str) -> None:
        """End the current page, or the next one, with the error `why`."""
        self._late = self._late or why
        self._stopped.set()

    def _interrupt(self) -> bool:
        with self._lock:
            if self._working and not self._closed:
                self._db.interrupt()
            return self._working

    def close(self) -> None:
        """Close the connection; no page may be in progress."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()

    def _page(self, max_rows: int, max_characters: int) -> list[list[Any]]:
        began = time.monotonic()
        try:
            if self._late:
                raise QueryError(self._late)
            if not self._begun:
                self._begin()
            rows = self._take(max_rows, max_characters)
            self._is_empty = self._is_empty and not any(value for row in rows for value in row)
            if self.ended and self._is_empty and not self.remark:
                self.remark = self._looked_up(odd_names)
            return rows
        except duckdb.InterruptException as error:
            raise QueryError(self._late or "the query was interrupted") from error
        except duckdb.Error as error:
            self._projection.suspect(error)
            raise QueryError(self._meant(error) or _sentence(error)) from error
        finally:
            self.elapsed_s += time.monotonic() - began

    def _meant(self, error: duckdb.Error) -> str:
        if isinstance(error, duckdb.ParserException) and (ours := in_our_dialect(self._sql)):
            return f"{_sentence(error)}; {ours}"
        if not isinstance(error, duckdb.BinderException | duckdb.CatalogException):
            return ""
        return self._looked_up(lambda db, sql: did_you_mean(db, sql, str(error)))

    def _looked_up(self, remark: Callable[[duckdb.DuckDBPyConnection, str], str]) -> str:
        """Return a sentence about the statement that needs the projection; "" if that fails."""
        try:
            with self._projection.cursor() as db:
                db.execute("BEGIN TRANSACTION READ ONLY")
                return remark(db, self._sql)
        except duckdb.Error:  # a sentence about names must not become an error
            return ""

    def _begin(self) -> None:
        statement = self._statement()
        self._db.execute("BEGIN TRANSACTION READ ONLY")
        self.as_of = dict(self._db.execute("SELECT arena, seq FROM internal.checkpoints ORDER BY arena").fetchall())
        self._db.execute(statement)
        self._begun = True
        description = self._db.description or []
        self.columns, self.types = [str(d[0]) for d in description], [str(d[1]) for d in description]

    def _take(self, max_rows: int, max_characters: int) -> list[list[Any]]:
        rows: list[list[Any]] = []
        size = 0
        while len(rows) < max_rows and size <= max_characters:
            if self._late:
                raise QueryError(self._late)
            if not self._waiting:
                self._fetch()
            if not self._waiting:
                self.ended = True
                break
            row, characters = self._waiting.popleft()
            if characters > MAX_ROW_CHARACTERS:
                raise QueryError(
                    f"a row of the answer has {characters:,} characters; at most {MAX_ROW_CHARACTERS:,} can be sent: "
                    "ask for fewer columns or for shorter values"
                )
            rows.append(row)
            size += characters
        return rows

    def _fetch(self) -> None:
        """Take the next rows from DuckDB."""
        for values in self._db.fetchmany(self._piece):
            row = [plain(value) for value in values]
            self._waiting.append((row, sum(len(value if isinstance(value, str) else str(value)) for value in row)))
        characters = sum(size for _, size in self._waiting)
        self._piece = min(_PIECE, 2 * self._piece) if characters < _PIECE_CHARACTERS else max(1, self._piece // 2)

    def _statement(self) -> duckdb.Statement:
        statements = self._db.extract_statements(self._sql)
        if len(statements) != 1:
            raise QueryError(f"a query must be exactly one statement, not {len(statements)}")
        try:
            kind = statements[0].type
        except ValueError:  # one that DuckDB's Python client has no name for, such as UPDATE EXTENSIONS
            raise QueryError(f"this statement is refused: a query only reads ({_READS})") from None
        if kind not in _ALLOWED:
            name = kind.name
            ours = in_our_dialect(self._sql)
            raise QueryError(f"{name} is refused: a query only reads ({_READS}){'; ' if ours else ''}{ours}")
        return statements[0]


def _sentence(error: duckdb.Error) -> str:
    text = " ".join(str(error).split("\n\n")[0].split())
    if "pytz" in text:
        return "a TIMESTAMP WITH TIME ZONE cannot be sent: cast it to TIMESTAMP (the log's times are UTC)"
    return text or type(error).__name__
