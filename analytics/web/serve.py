"""Serve the page of one arena on a socket, with a projector in this process if none runs."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from starlette.types import ASGIApp

from analytics.sql_server import fold_and_answer
from analytics.web.app import Page, make_app
from analytics.web.event_stream import Feed
from analytics.web.view_cache import ViewCache
from mesh import settings
from mesh.bus import ArenaBus, Hub
from mesh.code import CodeStore
from mesh.errors import BusUnavailable, MeshError, leaf
from mesh.follow import Follower
from mesh.roll_call import Watchman
from mesh.sql_protocol import Query, ask
from mesh.web.access import LOOPBACK, checked_token
from mesh.web.listening import serve_app
from mesh.wire import check_token

PROJECTOR_WITHIN_S = 2.0
_MISSED = 4
"""Questions in a row that no projector answers, after which this process becomes one."""


async def serve(
    hub: Hub,
    bus: ArenaBus,
    listening: socket.socket,
    *,
    home: Path,
    hosts: Sequence[str] = LOOPBACK,
    token: str = "",
    name: str = "operator",
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve the page of an arena until cancelled.

    Args:
        hub: the server with all arenas, for a projector in this process.
        bus: the arena to show.
        listening: a socket from `listen`.
        home: the folder with the database and the cached code.
        hosts: host names that requests may name.
        token: the secret for posting notes; "" makes the page read-only.
        name: the author of the notes.
        on_ready: called when the page answers.

    Raises:
        BadInput: the token is too short, or a projector that does not answer has the file of this home open.
        BusUnavailable: the log cannot be reached.
    """
    async with open_page(hub, bus, home=home, hosts=hosts, token=token, name=name) as (app, close):
        await serve_app(app, listening, on_ready=on_ready, on_end=close)


@asynccontextmanager
async def open_page(
    hub: Hub,
    bus: ArenaBus,
    *,
    home: Path,
    hosts: Sequence[str] = LOOPBACK,
    token: str = "",
    name: str = "operator",
    takes_proposals: bool = False,
    numbers: bool = False,
) -> AsyncIterator[tuple[ASGIApp, Callable[[], None]]]:
    """Keep the page of an arena current while the block runs; yield its app, and what ends its endless answers.

    `takes_proposals` says that a gateway serves the page, `numbers` that requests may name an IP address. All else, and
    the errors, as of `serve`.
    """
    checked_token(token)
    swarm = bus if settings.takes_boards() else None
    follower = Follower(bus, snapshot=settings.snapshot_file(home, bus.arena), swarm=swarm)
    await follower.catch_up()
    feed = Feed(bus, follower)
    watchman = Watchman(bus, lambda: follower.board)
    views = ViewCache(bus, follower, feed, watchman)
    code = CodeStore(settings.code_dir(home, bus.arena), bus)
    page = Page(bus, follower, feed, views, code, watchman, check_token("name", name), token, takes_proposals)
    try:
        async with anyio.create_task_group() as tasks:
            await _with_projector(hub, bus, home, tasks, watchman, views)
            tasks.start_soon(_patiently, feed.follow)
            tasks.start_soon(watchman.keep, views.tell)
            tasks.start_soon(views.keep)
            yield make_app(page, tuple(hosts), numbers=numbers), feed.close
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """Do a work that goes on from where it was, again whenever the server was lost."""
    while True:
        with suppress(BusUnavailable):
            await work()
        await anyio.sleep(0.5)


async def _with_projector(
    hub: Hub, bus: ArenaBus, home: Path, tasks: anyio.abc.TaskGroup, watchman: Watchman, views: ViewCache
) -> None:
    """Return when a projector answers: one that runs, or else one in this process; one that ends is replaced."""
    ready = anyio.Event()
    if await _is_projected(bus):
        ready.set()

    async def be_projector() -> None:
        try:
            await fold_and_answer(hub, settings.database(home), on_ready=ready.set, on_open=views.use)
        finally:
            views.use(None)

    async def project() -> None:
        if not ready.is_set():
            try:
                await be_projector()
            except MeshError:
                if not ready.is_set():
                    raise
        missed = 0
        while True:  # `mesh up` restarts its own before it misses so many questions
            await anyio.sleep(PROJECTOR_WITHIN_S)
            silent = watchman.silent_since is not None or await _is_projected(bus) or watchman.silent_since is not None
            missed = 0 if silent else missed + 1
            if missed >= _MISSED:
                with suppress(MeshError):  # such as: the file is in use by one that does not answer at the moment
                    await be_projector()

    tasks.start_soon(project)
    await ready.wait()


async def _is_projected(bus: ArenaBus) -> bool:
    try:
        await ask(bus, Query("SELECT 1", timeout_s=PROJECTOR_WITHIN_S))
    except BusUnavailable:
        return False
    return True
