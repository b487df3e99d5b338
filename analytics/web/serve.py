"""Serve the page of one arena on a socket, with a projector in this process if none runs."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import uvicorn

from analytics.sql_client import ask
from analytics.sql_protocol import Query
from analytics.sql_server import fold_and_answer
from analytics.web.access import LOOPBACK, checked_token
from analytics.web.app import Page, make_app
from analytics.web.event_stream import Feed
from analytics.web.view_cache import ViewCache
from mesh import settings
from mesh.bus import ArenaBus, Hub
from mesh.code import CodeStore
from mesh.errors import BadInput, BusUnavailable, leaf
from mesh.follow import Follower
from mesh.wire import check_token

PROJECTOR_WITHIN_S = 2.0


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
    follower = Follower(bus, snapshot=settings.snapshot_file(home, bus.arena))
    await follower.catch_up()
    feed = Feed(bus, follower)
    views = ViewCache(bus, follower, feed)
    code = CodeStore(settings.code_dir(home, bus.arena), bus)
    page = Page(bus, follower, feed, views, code, check_token("name", name), token)
    config = uvicorn.Config(
        make_app(page, tuple(hosts)),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    try:
        async with anyio.create_task_group() as tasks:
            await _with_projector(hub, bus, home, tasks)
            tasks.start_soon(feed.follow)
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


async def _with_projector(hub: Hub, bus: ArenaBus, home: Path, tasks: anyio.abc.TaskGroup) -> None:
    """Return when a projector answers: one that runs, or else one in this process."""
    try:
        await ask(bus, Query("SELECT 1", timeout_s=PROJECTOR_WITHIN_S))
    except BusUnavailable:
        ready = anyio.Event()
        tasks.start_soon(partial(fold_and_answer, hub, settings.database(home), on_ready=ready.set))
        await ready.wait()


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
