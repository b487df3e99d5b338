"""How a request comes in: which arena its path names, whose key it has, and what errors become.

A path may begin with `/a/<arena>` and `/a/<arena>/i/<invitation>`, so that both can be a part of an agent's `HUB=`;
without it the only arena is meant.
"""

import math
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.arenas import Arenas, ServedArena
from gateway.http.caller import Caller, caller, network_of
from gateway.http.limits import RateLimits
from gateway.http.request_log import logged
from gateway.members import Members
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.issuing import LIFETIME_S
from mesh.errors import (
    ArenaIsClosed,
    BusError,
    BusUnavailable,
    HostTrouble,
    MeshError,
    ObjectMissing,
    UnknownName,
    leaf,
)

SERVER_WITHIN_S = 25.0
"""Seconds that a request waits for the server of the log."""
_PREFIX = re.compile(r"/a/([A-Za-z0-9_-]{1,128})(?:/i/([^/]{1,200}))?(?=/|$)")

Handler = Callable[[Request], Awaitable[Response]]


class Gateway(msgspec.Struct, frozen=True):
    """What all routes of a gateway share.

    Attributes:
        arenas: the arenas that it serves.
        members: who may take part.
        limits: what was done in the last hour.
        home: the folder for caches.
        is_open: whether strangers may register without an invitation, and read the page.
        pending: proposals of one member that may wait for a score.
        address: how the gateway is reached from outside, "" if that is what a request says.
        hub: the keys of the hub, for machines that join; None where nobody can join here.
        lifetime_s: seconds for which the credentials hold that they get.
        joining: whose turn it is to join: one machine at a time.
    """

    arenas: Arenas
    members: Members
    limits: RateLimits
    home: Path
    is_open: bool
    pending: int = 20
    address: str = ""
    hub: HubFolder | None = None
    lifetime_s: float = LIFETIME_S
    joining: anyio.Lock = msgspec.field(default_factory=anyio.Lock)


class Entrance:
    """Takes the prefix off a path, and gives every request the gateway, its arena's name and its invitation."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            found = _PREFIX.match(scope["path"])
            state: dict[str, Any] = {
                "bound": (bound := _Bound()),
                "gateway": self._gateway,
                "arena": found[1] if found else "",
                "invite": (found[2] or "") if found else "",
            }
            scope = {**scope, "state": {**scope.get("state", {}), **state}}
            if found:
                scope["root_path"] = scope.get("root_path", "") + found[0]
            receive = bound.patient(receive)
            send = logged(scope, scope["path"].removeprefix(found[0] if found else ""), send)
        await self._app(scope, receive, send)


def gateway_of(request: HTTPConnection) -> Gateway:
    """Return the gateway that a request came to."""
    found: Gateway = request.state.gateway
    return found


def served_of(request: HTTPConnection) -> ServedArena:
    """Return the arena of a request to a route of `member`, or below `keyed`."""
    found: ServedArena = request.state.served
    return found


def caller_of(request: HTTPConnection) -> Caller:
    """Return who asks; as `served_of`."""
    found: Caller = request.state.caller
    return found


def base_of(request: HTTPConnection) -> str:
    """Return the address that an agent uses as `HUB=`, with the prefix of this request."""
    address = gateway_of(request).address or f"{request.url.scheme}://{request.headers.get('host', '')}"
    return address.rstrip("/") + str(request.scope.get("root_path", ""))


def client_address(request: HTTPConnection) -> str:
    """Return the address or network of a client, for limits."""
    return network_of(request.client.host if request.client else "")


def member(path: str, handler: Handler, method: str = "GET", *, writes: bool = False, wait_s: float = 0.0) -> Route:
    """Return a route for members, which has `served_of` and `caller_of`.

    Args:
        path: the path below the prefix, such as `/api/git/push`.
        handler: the route's function.
        method: the HTTP method.
        writes: whether it changes something: a closed arena and an observer are refused.
        wait_s: seconds that it may wait for news, beside those for the server.
    """

    async def endpoint(request: Request) -> Response:
        with _within(request, wait_s):
            await let_in(request, writes=writes)
            return await handler(request)

    return Route(path, endpoint, methods=[method])


def public(path: str, handler: Handler, method: str = "GET") -> Route:
    """Return a route for everybody."""

    async def endpoint(request: Request) -> Response:
        with _within(request):
            return await handler(request)

    return Route(path, endpoint, methods=[method])


def keyed(app: ASGIApp) -> ASGIApp:
    """Return an ASGI app behind the check of keys; `Request(scope)` has `served_of` and `caller_of`."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asking = HTTPConnection(scope)
            with _within(asking):
                await let_in(asking)
        except (HTTPException, MeshError) as error:
            await error_answer(error)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return checked


async def let_in(request: HTTPConnection, *, writes: bool = False) -> None:
    """Find who asks and the arena, and put both into the request's state.

    Raises:
        HTTPException: the key is missing or wrong, or not for this.
        UnknownName: there is no such arena.
        BusUnavailable: the log cannot be reached.
    """
    asking = await identify(request)
    served = await served_named(request)
    if not asking.may_enter(served.name):
        raise HTTPException(403, f"this key is for {', '.join(asking.arenas)}, not for arena {served.name}")
    if writes and asking.role == "observer":
        raise HTTPException(403, f"{asking.id} is an observer, who reads and does not post")
    if writes and (closed := served.door.board.closed):
        raise HTTPException(410, f"arena closed: {closed.reason}")
    request.state.caller, request.state.served, request.state.door = asking, served, served.door


async def identify(request: HTTPConnection) -> Caller:
    """Return the member whose key a request has.

    Raises:
        HTTPException: 401, the key is missing or wrong.
        BusUnavailable: the log cannot be reached.
    """
    given = request.headers.get("authorization", "")
    if not given:
        raise HTTPException(401, "missing authorization")
    scheme, _, key = given.partition(" ")
    found = await gateway_of(request).members.holder(key.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise HTTPException(401, "invalid api key")
    return caller(found, client_address(request))


async def served_named(request: HTTPConnection) -> ServedArena:
    """Return the arena that a path names, else the only one.

    Raises:
        UnknownName: there is no such arena, or no only one.
        BusUnavailable: the log cannot be reached.
    """
    arenas = gateway_of(request).arenas
    name = request.state.arena or await arenas.single()
    if not name:
        listed = ", ".join(f"/a/{each}" for each in await arenas.names()) or "none yet"
        raise UnknownName(f"HUB has to name an arena of this hub at its end: {listed}")
    served = await arenas.find(name)
    if served.door.follower.board.opened is None:
        raise UnknownName(f"arena {name} was never opened")
    return served


class _Bound:
    """The time that a request has for the server of the log; the connection bounds the time of its body."""

    def __init__(self) -> None:
        self._scope: anyio.CancelScope | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give up when the server does not answer: a connection waits for it for any length of time.

        Raises:
            BusUnavailable: the server does not answer.
        """
        try:
            with anyio.fail_after(seconds) as self._scope:
                yield
        except TimeoutError:
            raise BusUnavailable("the server of the log does not answer; try again later") from None
        except BaseExceptionGroup as group:
            raise leaf(group) from None
        finally:
            self._scope = None

    def patient(self, receive: Receive) -> Receive:
        """Return a `receive` whose time does not count."""

        async def received() -> Message:
            if (scope := self._scope) is None:
                return await receive()
            left = scope.deadline - anyio.current_time()
            scope.deadline = math.inf
            try:
                return await receive()
            finally:
                scope.deadline = anyio.current_time() + left

        return received


def _within(request: HTTPConnection, more_s: float = 0.0) -> AbstractContextManager[None]:
    bound: _Bound = request.state.bound
    return bound.within(SERVER_WITHIN_S + more_s)


def error_answer(error: Exception) -> Response:
    """Return the answer for an expected error: `{"error": sentence}`, for a wrong key as text, as AgentHub does."""
    if isinstance(error, HTTPException):
        status, sentence, headers = error.status_code, str(error.detail), dict(error.headers or {})
    else:
        status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 400)
        sentence, headers = str(error), {}
    if status == 503:
        headers.setdefault("Retry-After", "5")
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        msgspec.json.encode({"error": sentence}) + b"\n",
        status,
        headers,
        media_type="text/plain" if status == 401 else "application/json",
    )


def json_answer(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(msgspec.json.encode(value) + b"\n", status, media_type="application/json")


_STATUS: dict[type[Exception], int] = {
    UnknownName: 404,
    ObjectMissing: 404,
    ArenaIsClosed: 410,
    BusError: 503,
    HostTrouble: 503,
}
