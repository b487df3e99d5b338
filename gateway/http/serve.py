"""Serve a gateway on a socket until cancelled."""

import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.types import ASGIApp

from gateway.http import mounts
from gateway.http.app import make_gateway_app
from gateway.http.arenas import Arenas, ServedArena
from gateway.http.entry import Gateway
from gateway.http.limits import RateLimits
from gateway.log_index import patiently
from gateway.members import Members
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.issuing import LIFETIME_S
from mesh.bus import Hub
from mesh.errors import leaf
from mesh.web.access import LOOPBACK
from mesh.web.connection import Connection
from mesh.web.listening import serve_app
from mesh.wire import HUB_LOG

BODY_S = 180.0
"""Seconds in which the body of a request must be complete: a bundle has up to 50 MiB."""
MOST_CONNECTIONS = 2500


class HubConnection(Connection):
    """A connection to a gateway: many of them wait for news, some send large bodies slowly."""

    most = MOST_CONNECTIONS
    body_s = BODY_S


async def serve_gateway(
    hub: Hub,
    listening: socket.socket,
    *,
    home: Path,
    arenas: Sequence[str] = (),
    is_open: bool = False,
    pending: int = 20,
    address: str = "",
    hosts: Sequence[str] = LOOPBACK,
    numbers: bool = False,
    tls: tuple[Path, Path] | None = None,
    around: Callable[[ASGIApp], ASGIApp] | None = None,
    beside: Callable[[ServedArena], Coroutine[Any, Any, None]] | None = None,
    joining: HubFolder | None = None,
    lifetime_s: float = LIFETIME_S,
    with_members: Callable[[Members], Coroutine[Any, Any, None]] | None = None,
    on_ready: Callable[[], None] | None = None,
    on_end: Callable[[], None] | None = None,
) -> None:
    """Serve the arenas of a hub to agents of others until cancelled.

    Args:
        hub: the server with all arenas.
        listening: a socket from `mesh.web.listening.listen`.
        home: the folder for caches.
        arenas: the arenas to serve; none: all.
        is_open: whether strangers may register without an invitation.
        pending: proposals of one member that may wait for a score.
        address: how the gateway is reached from outside; "": as a request says.
        hosts: host names that requests may name.
        numbers: whether requests may also name an IP address.
        tls: files with the certificate and its key.
        around: puts something around the app, such as the page of an arena beside it.
        beside: runs beside each arena, such as its webhooks.
        joining: the keys of the hub, with which machines join; None where they cannot join here.
        lifetime_s: seconds for which the credentials hold that they get.
        with_members: runs beside the members, such as the warden; its end by an error of the bus is not the end.
        on_ready: called when the gateway answers.
        on_end: called when serving ends, so that endless answers end too.

    Raises:
        BusError: the log cannot be reached.
    """
    members = Members(await hub.arena(HUB_LOG, create=True))
    await members.reader.catch_up()
    served = Arenas(hub, home, mounts.INDEXES, arenas, beside)
    gateway = Gateway(served, members, RateLimits(), home, is_open, pending, address, joining, lifetime_s)
    files = {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])} if tls else {}
    try:
        async with AsyncExitStack() as stack:
            for lifespan in mounts.LIFESPANS:
                await stack.enter_async_context(lifespan())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(patiently, members.reader.follow)
                if with_members:
                    tasks.start_soon(patiently, partial(with_members, members))
                await tasks.start(served.keep)
                app = make_gateway_app(gateway, hosts=hosts, numbers=numbers)
                await serve_app(
                    around(app) if around else app,
                    listening,
                    connection=HubConnection,
                    on_ready=on_ready,
                    on_end=on_end,
                    **files,
                )
    except BaseExceptionGroup as group:
        raise leaf(group) from None
