"""The server side of SQL: answer queries about one projection, all rows at once or page by page.

`analytics.statement` says which statements are allowed and bounds each. An answer in pages keeps its statement open
between them: few at a time, each for a bounded time, because a statement takes memory that folding may need.
"""

import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path

import anyio
import duckdb
import msgspec

from analytics.projection import InUse, Projection
from analytics.projector import project
from analytics.statement import Running
from mesh.bus import ArenaBus, Hub
from mesh.errors import BadInput, QueryError
from mesh.sql_protocol import SERVICE, STOP, Answer, More, Query, Refusal, decode_more, decode_query, encode

MAX_SQL = 50_000
MAX_ROWS = 100_000
MAX_ANSWER_CHARS = 32_000_000
MAX_REPLY_BYTES = 100_000_000
"""Bytes of an encoded answer; a client loses messages when more of them wait for it."""
PAGE_ROWS = 5_000
PAGE_CHARS = 1_000_000
MAX_TIMEOUT_S = 60.0
_AT_ONCE = 2
"""Queries that run at the same time; they share memory with the folding."""

MAX_OPEN = 8
"""Answers in pages that are read at the same time."""
_WAITS_S = 15.0
"""Seconds that a projector waits for its file, which a command without a projector has open while it is asked."""
IDLE_S = 20.0
"""Seconds between two pages after which an answer expires."""
LIFE_S = 100.0
"""Seconds after which an answer expires in any case; fewer than `projector.PATIENCE_S`, in which a write may wait."""


class _Open:
    """An answer that is read page by page; `rows` is how many may still be sent, None for all."""

    def __init__(self, running: Running, rows: int | None) -> None:
        self.running, self.rows = running, rows
        self.began = self.used = anyio.current_time()
        self.lock = anyio.Lock()


class SqlServer:
    """Answers queries about one projection; `service` is where this very one has its next pages."""

    def __init__(self, projection: Projection) -> None:
        self.service = f"sql-{uuid.uuid4().hex[:12]}"
        self._projection = projection
        self._turn = anyio.CapacityLimiter(_AT_ONCE)
        self._open: dict[str, _Open] = {}
        self._stopped: deque[str] = deque(maxlen=100)

    async def serve(self, bus: ArenaBus) -> None:
        """Answer queries over `bus` until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.answer, SERVICE, self.handle)
            tasks.start_soon(bus.answer, self.service, self.handle_more)
            tasks.start_soon(self._expire)
            async for _, data in bus.hear(STOP):
                self.stop(data.decode("ascii", "replace"))

    async def handle(self, data: bytes) -> bytes:
        """Return the encoded reply to an encoded query; never fails."""
        try:
            query = decode_query(data)
            return _bounded(encode(await (self.first(query) if query.id else self.answer(query))))
        except _EXPECTED as error:
            return encode(_refusal(error))

    async def handle_more(self, data: bytes) -> bytes:
        """Return the encoded next page; never fails."""
        try:
            return _bounded(encode(await self.more(decode_more(data))))
        except _EXPECTED as error:
            return encode(_refusal(error))

    async def answer(self, query: Query) -> Answer:
        """Run a query and return its rows, at most `MAX_ROWS` of them.

        Raises:
            QueryError: it is not one read-only statement, fails, or takes too long.
        """
        running = self._run(query)
        try:
            async with self._turn:
                rows = await running.page(min(max(query.max_rows, 1), MAX_ROWS), MAX_ANSWER_CHARS)
                truncated = not running.ended and bool(await running.page(1, 0))
        finally:
            running.close()
        return Answer(
            *(running.columns, running.types, rows, running.as_of, truncated, running.elapsed_s), remark=running.remark
        )

    async def first(self, query: Query) -> Answer:
        """Return the first page of an answer.

        Raises:
            QueryError: as `answer`, or too many such answers are being read.
        """
        if len(self._open) >= MAX_OPEN:
            raise QueryError(
                f"the projector is sending {MAX_OPEN} large answers, which is the limit: ask again in a moment"
            )
        if query.id in self._open:
            raise QueryError(f"query id {query.id[:40]!r} is in use: take another id")
        if query.id in self._stopped:
            raise QueryError(_STOPPED)
        running = self._run(query)
        self._open[query.id] = held = _Open(running, query.max_rows if query.max_rows > 0 else None)
        return await self._page(query.id, held)

    async def more(self, request: More) -> Answer:
        """Return the next page of an answer.

        Raises:
            QueryError: as `answer`, or it has expired.
        """
        held = self._open.get(request.id)
        if held is None:
            raise QueryError(
                f"the rest of the answer has expired: it is kept for {IDLE_S:g} s between pages, {LIFE_S:g} s in all; "
                "`mesh snapshot FILE` makes a database of your own"
            )
        return await self._page(request.id, held)

    def stop(self, name: str) -> None:
        """End the query of that id, if it runs or is being read."""
        self._stopped.append(name)
        if held := self._open.get(name):
            held.running.stop(_STOPPED)
            if not held.lock.locked():
                self._close(name)

    def close(self) -> None:
        """End all that is being read and rests."""
        for name in list(self._open):
            self.stop(name)

    def _run(self, query: Query) -> Running:
        if len(query.sql) > MAX_SQL:
            raise QueryError(
                f"the query has {len(query.sql):,} characters; at most {MAX_SQL:,} are allowed: shorten it"
            )
        self._projection.note_question()
        return Running(self._projection, query.sql, min(max(query.timeout_s, 0.01), MAX_TIMEOUT_S))

    async def _page(self, name: str, held: _Open) -> Answer:
        keep = False
        try:
            async with held.lock, self._turn:
                running = held.running
                wanted = PAGE_ROWS if held.rows is None else min(PAGE_ROWS, held.rows)
                rows = await running.page(wanted, PAGE_CHARS)
                truncated = False
                if held.rows is not None:
                    held.rows -= len(rows)
                    truncated = held.rows == 0 and not running.ended and bool(await running.page(1, 0))
                keep = not running.ended and held.rows != 0
                held.used = anyio.current_time()
            service = self.service if keep else ""
            return Answer(
                *(running.columns, running.types, rows, running.as_of, truncated, running.elapsed_s),
                *(service, running.remark),
            )
        finally:
            if not keep:
                self._close(name)

    def _close(self, name: str) -> None:
        if held := self._open.pop(name, None):
            held.running.close()

    async def _expire(self) -> None:
        while True:
            await anyio.sleep(1)
            now = anyio.current_time()
            for name, held in list(self._open.items()):
                if now > held.began + LIFE_S or (now > held.used + IDLE_S and not held.lock.locked()):
                    self.stop(name)


async def fold_and_answer(
    hub: Hub, path: Path, *, on_ready: Callable[[], None], on_open: Callable[[SqlServer], None] = lambda server: None
) -> None:
    """Be the projector: fold every arena into the file at `path` and answer queries, until cancelled.

    Args:
        hub: the arenas.
        path: the DuckDB file.
        on_ready: called once, when the logs are folded as far as they go.
        on_open: called once with the server, for whoever asks in this process.

    Raises:
        BadInput: another projector has the file open.
    """
    queries: list[SqlServer] = []

    async def answer(projection: Projection, bus: ArenaBus) -> None:
        if not queries:
            queries.append(SqlServer(projection))
            on_open(queries[0])
        await queries[0].serve(bus)

    give_up = anyio.current_time() + _WAITS_S
    while True:
        try:
            return await project(hub, path, on_ready=on_ready, beside=answer)
        except InUse:  # before anything began; by a command that answers from the file itself, and soon closes it
            if anyio.current_time() > give_up:
                raise
        await anyio.sleep(0.2)


_STOPPED = "the query was stopped by its client"
_EXPECTED = (
    *(QueryError, BadInput, duckdb.Error, msgspec.MsgspecError, OSError),
    *(ValueError, OverflowError, MemoryError, RecursionError, TypeError),
)


def _bounded(data: bytes) -> bytes:
    if len(data) <= MAX_REPLY_BYTES:
        return data
    text = f"the answer has {len(data):,} bytes; at most {MAX_REPLY_BYTES:,} can be sent at once: ask for less"
    return encode(Refusal(text))


def _refusal(error: BaseException) -> Refusal:
    if isinstance(error, QueryError | BadInput | duckdb.Error | msgspec.MsgspecError | OSError):
        return Refusal(str(error))
    return Refusal(f"the rows cannot be sent as JSON: {error!r}")
