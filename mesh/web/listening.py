"""Serve an ASGI app on a socket, inside of a task group, until cancelled."""

import asyncio.constants
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp

from mesh.errors import BadInput
from mesh.web.connection import REQUEST_S, Connection

_MOST_FILES = 16_384
"""Open files of a process that serves by TLS: whoever never ends a handshake has one until its time is over."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 means any free port.

    Raises:
        BadInput: the host is not a name of this machine, or the port is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        made = socket.create_server(address[:2], family=family, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        raise BadInput(f"nothing can listen on {host}:{port}: {error}") from None
    # asyncio sends at once only on sockets that are TCP by name; else half of each answer waits 40 ms for the client
    found = socket.socket(made.family, made.type, socket.IPPROTO_TCP, fileno=made.detach())
    found.setblocking(False)
    return found


async def serve_app(
    app: ASGIApp,
    listening: socket.socket,
    *,
    connection: type[Connection] = Connection,
    on_ready: Callable[[], None] | None = None,
    on_end: Callable[[], None] | None = None,
    **more: Any,
) -> None:
    """Serve an app until cancelled; open requests may end in good order.

    Args:
        app: the app.
        listening: a socket from `listen`.
        connection: the bounds of one connection.
        on_ready: called when the app answers.
        on_end: called when serving ends, so that endless answers end too.
        more: further settings of uvicorn, such as `ssl_certfile`.
    """
    if "ssl_certfile" in more:
        _bound_handshakes()
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",  # a stranger's bad request is no news
        ws="none",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        http=connection,
        **more,
    )
    config.load()
    if config.ssl:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    server = _Server(config, on_ready)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_serve, server, listening)
        try:
            await anyio.sleep_forever()
        finally:
            if on_end:
                on_end()
            server.should_exit = True


def _bound_handshakes() -> None:
    """Give a TLS handshake as long as a request, and have room for many that do not end.

    Only after a handshake does a connection count among those of `Connection`. uvicorn has no setting for its time.
    """
    asyncio.constants.SSL_HANDSHAKE_TIMEOUT = REQUEST_S
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(_MOST_FILES, most)
    if few != resource.RLIM_INFINITY and few < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


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
