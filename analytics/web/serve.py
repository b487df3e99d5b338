"""Serve the page of one arena on a socket, with a projector in this process if none runs."""

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import uvicorn

from analytics.sql_server import fold_and_answer
from analytics.web.access import LOOPBACK, checked_token
from analytics.web.app import Page, make_app
from analytics.web.connection import Connection
from analytics.web.event_stream import Feed
from analytics.web.view_cache import ViewCache
from mesh import settings
from mesh.bus import ArenaBus, Hub
from mesh.code import CodeStore
from mesh.errors import BadInput, BusUnavailable, MeshError, leaf
from mesh.follow import Follower
from mesh.roll_call import Watchman
from mesh.sql_protocol import Query, ask
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
    checked_token(token)
    swarm = bus if settings.takes_boards() else None
    follower = Follower(bus, snapshot=settings.snapshot_file(home, bus.arena), swarm=swarm)
    await follower.catch_up()
    feed = Feed(bus, follower)
    watchman = Watchman(bus, lambda: follower.board)
    views = ViewCache(bus, follower, feed, watchman)
    code = CodeStore(settings.code_dir(home, bus.arena), bus)
    page = Page(bus, follower, feed, views, code, watchman, check_token("name", name), token)
    config = uvicorn.Config(
        make_app(page, tuple(hosts)),
        log_config=None,
        log_level="error",  # a stranger's bad request is no news
        ws="none",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        http=Connection,
    )
    try:
        async with anyio.create_task_group() as tasks:
            await _with_projector(hub, bus, home, tasks, watchman, views)
            tasks.start_soon(_patiently, feed.follow)
            tasks.start_soon(watchman.keep, views.tell)
            tasks.start_soon(views.keep)
            server = _Server(config, on_ready)
            tasks.start_soon(_serve, server, listening)
            try:
                await anyio.sleep_forever()
            finally:
                feed.close()
                server.should_exit = True
    except BaseExceptionGroup as group:
        raise leaf(group) from None


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 means any free port.

    Raises:
        BadInput: the host is not a name of this machine, or the port is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        raise BadInput(f"nothing can listen on {host}:{port}: {error}") from None
    found.setblocking(False)
    return found


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


async def _serve(server: "_Server", listening: socket.socket) -> None:
    with anyio.CancelScope(shield=True):  # it ends by `should_exit`, after the open requests
        await server.serve(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that leaves signals to the command that runs it."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_ready:
            self._on_ready()
