"""The client side of SQL: ask the projector over the bus; if none answers, fold the logs here and ask that."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from mesh import settings
from mesh.bus import ArenaBus, Hub
from mesh.errors import BadInput, BusError, BusUnavailable, leaf
from mesh.sql_protocol import STOP, Answer, More, Query, answer_in, ask, encode

if TYPE_CHECKING:  # they import DuckDB, which is not needed where a projector answers
    from analytics.projector import Projection
    from analytics.sql_server import SqlServer

_STARTS_WITHIN_S = 5.0
"""Seconds in which a projector that has the file of this home begins to answer."""
_IDLE_S = 2.0
"""Seconds without a query after which the file of this home is closed, so that a projector can open it."""


async def ask_here(server: "SqlServer", query: Query) -> Answer:
    """Return the answer of a server in this process; raises `QueryError` as `ask`."""
    return answer_in(await server.handle(encode(query)))


@asynccontextmanager
async def sql_client(hub: Hub, bus: ArenaBus) -> AsyncIterator["SqlClient"]:
    """Yield a client that answers queries while the block runs.

    Raises: as `SqlClient.pages`, which is used in the block.
    """
    try:
        async with anyio.create_task_group() as tasks:
            yield SqlClient(hub, bus, tasks)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None


class SqlClient:
    """Asks the projector; if none answers, folds the logs into the file of this home and answers from that.

    DuckDB lets one process open a file. So the file is closed again soon after the last query, and the next one asks
    for a projector first: a prompt that is left open keeps none from starting.
    """

    def __init__(self, hub: Hub, bus: ArenaBus, tasks: TaskGroup) -> None:
        self._hub, self._bus, self._tasks = hub, bus, tasks
        self._own: SqlServer | None = None
        self._closed = anyio.Event()
        self._closed.set()
        self._asking, self._asked = 0, 0.0

    async def pages(self, query: Query) -> AsyncGenerator[Answer]:
        """Yield the answer page by page, at least one; close the generator to stop the query.

        Raises:
            BusUnavailable: no projector answers, and the file of this home is in use by one that does not.
            QueryError: the statement was refused or failed.
        """
        query = replace(query, id=uuid.uuid4().hex)
        ended = False
        self._asking += 1
        try:
            page = await self._first(query)
            yield page
            while page.more:
                page = await self._next(page.more, query)
                yield page
            ended = True
        finally:
            if not ended:
                with anyio.CancelScope(shield=True), anyio.move_on_after(2), suppress(BusError):
                    await self._stop(query.id)
            self._asking, self._asked = self._asking - 1, anyio.current_time()

    async def rows(self, sql: str, timeout_s: float = 10.0) -> list[list[object]]:
        """Return all rows of a small answer; raises as `pages`."""
        found: list[list[object]] = []
        async with aclosing(self.pages(Query(sql, timeout_s=timeout_s))) as pages:
            async for page in pages:
                found += page.rows
        return found

    async def _first(self, query: Query) -> Answer:
        if self._own is not None:
            return answer_in(await self._own.handle(encode(query)))
        await self._closed.wait()
        give_up = anyio.current_time() + _STARTS_WITHIN_S
        while True:
            try:
                return await ask(self._bus, query)
            except BusUnavailable as no_answer:
                try:
                    self._own = await self._fold(settings.database(settings.home()))
                except BadInput:  # a projector has the file: perhaps it has only begun, or connects again
                    if anyio.current_time() > give_up:
                        raise no_answer from None
                    await anyio.sleep(0.3)
                    continue
                return answer_in(await self._own.handle(encode(query)))

    async def _next(self, service: str, query: Query) -> Answer:
        more = More(query.id)
        if self._own is not None:
            return answer_in(await self._own.handle_more(encode(more)))
        return answer_in(await self._bus.ask(service, encode(more), timeout_s=query.timeout_s + 5))

    async def _stop(self, name: str) -> None:
        if self._own is not None:
            self._own.stop(name)
        else:
            await self._bus.tell(STOP, name.encode())

    async def _fold(self, path: Path) -> "SqlServer":
        """Fold all logs into the file at `path`, and keep folding in the background.

        Raises:
            BadInput: a projector has the file open.
        """
        from analytics.projector import project
        from analytics.sql_server import SqlServer

        opened: list[Projection] = []
        trouble: list[BaseException] = []
        ready, closed, scope = anyio.Event(), anyio.Event(), anyio.CancelScope()

        async def hold(projection: "Projection", bus: ArenaBus) -> None:
            opened.append(projection)

        async def work(run: Callable[[], Awaitable[None]]) -> None:
            try:
                with scope:
                    await run()
            except Exception as error:
                trouble.append(leaf(error))
                if ready.is_set():
                    raise
                ready.set()
            finally:
                closed.set()

        async def close_when_idle() -> None:
            while self._asking or anyio.current_time() < self._asked + _IDLE_S:
                await anyio.sleep(_IDLE_S / 4)
            self._own = None
            scope.cancel()

        self._tasks.start_soon(work, partial(project, self._hub, path, on_ready=ready.set, beside=hold))
        await ready.wait()
        if trouble:
            raise trouble[0]
        self._closed = closed
        self._tasks.start_soon(close_when_idle)
        return SqlServer(opened[0])
