"""The gateway as one ASGI app: the routes, the prefix of a path, and what guards them."""

from collections.abc import Sequence
from contextlib import suppress

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from gateway.http import mounts
from gateway.http.additions import ADDITIONAL_ROUTES
from gateway.http.entry import Entrance, Gateway, error_answer, gateway_of, json_answer, public
from gateway.http.guide import GUIDE_ROUTES
from gateway.http.joining import JOINING_ROUTES
from gateway.http.message_board import BOARD_ROUTES
from gateway.http.register import REGISTER_ROUTES
from mesh.errors import BusError, MeshError
from mesh.web.access import Guard
from mesh.web.health import health_answer

_HEALTHY_WITHIN_S = 3.0


def make_gateway_app(gateway: Gateway, *, hosts: Sequence[str], numbers: bool = False) -> ASGIApp:
    """Return the app.

    Args:
        gateway: what the routes share.
        hosts: host names that requests may name.
        numbers: whether a request may also name an IP address.
    """
    routes: list[BaseRoute] = [
        public("/api/health", _health),
        public("/healthz", _healthz),
        *REGISTER_ROUTES,
        *JOINING_ROUTES,
        *BOARD_ROUTES,
        *ADDITIONAL_ROUTES,
        *GUIDE_ROUTES,
        *mounts.ROUTES,
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={MeshError: _error, HTTPException: _error, ClientDisconnect: _left, Exception: _failed},
    )
    cure = f"use one of {', '.join(gateway.hub.settings.hosts)}" if gateway.hub else ""
    return Guard(Entrance(app, gateway), hosts, command="mesh gateway", cure=cure, numbers=numbers)


async def _health(request: Request) -> Response:
    return json_answer({"status": "ok"})


async def _healthz(request: Request) -> Response:
    """Answer whether this gateway can work: `/api/health` says only that it runs."""
    with anyio.move_on_after(_HEALTHY_WITHIN_S), suppress(BusError):
        await gateway_of(request).arenas.names()
        return health_answer("")
    return health_answer("the server of the log does not answer")


async def _error(request: Request, error: Exception) -> Response:
    return error_answer(error)


async def _left(request: Request, error: Exception) -> Response:
    """Answer nobody: the client went away before its request was complete."""
    return Response(status_code=400)


async def _failed(request: Request, error: Exception) -> Response:
    """Answer where the gateway itself is broken; what went wrong is on its standard error."""
    return json_answer({"error": "this hub failed; its operator finds the reason in what it printed"}, 500)
