"""Access control: requests must name this host and come from this origin; posting needs the token.

A request that another site causes (DNS rebinding, a form, a script) is recognised by `Host`, `Origin` or
`Sec-Fetch-Site`. The headers of every answer forbid the page to load, run or be framed by anything from elsewhere.
"""

import hmac
import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mesh.errors import BadInput

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
TOKEN_CHARACTERS = 16
"""The least length of a token: it alone protects the message board from strangers."""

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def checked_token(token: str) -> str:
    """Return the token; "" means that nobody may post.

    Raises:
        BadInput: it is too short.
    """
    if token and len(token) < TOKEN_CHARACTERS:
        raise BadInput(f"the token has {len(token)} characters, which can be guessed: use {TOKEN_CHARACTERS} or more")
    return token


def holds_token(headers: Headers, token: str) -> bool:
    """Return whether a request has the token; takes the same time for every input."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return hmac.compare_digest(given.strip().encode(), token.encode()) and scheme.lower() == "bearer"


class Guard:
    """Refuses foreign hosts and origins before `app` sees them, and adds the headers that every answer has."""

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], *, command: str = "mesh web", cure: str = "", numbers: bool = False
    ) -> None:
        """Guard an app.

        Args:
            app: the app.
            hosts: host names that requests may name.
            command: the command that serves it, for the sentence of a refusal.
            cure: what that sentence advises, "" to start the command with another option.
            numbers: whether a host may also be an IP address: no other site can have one as its name.
        """
        self._app, self._numbers = app, numbers
        self._cure = cure or f"start `{command}` with --allow-host to add it"
        self._hosts = frozenset(name.lower() for name in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal := self._refusal(Headers(scope=scope), scope["method"]):
            status, why = refusal
            return await JSONResponse({"error": why}, status)(scope, receive, send_guarded)
        return await self._app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, method: str) -> tuple[int, str] | None:
        """Return the status and the reason with which a request is refused; None if it is not."""
        host = headers.get("host", "").lower()
        if _name(host) not in self._hosts and not (self._numbers and _is_number(_name(host))):
            return 421, f"host {host[:100]!r} is not a name of this page: {self._cure}"
        if method in ("GET", "HEAD"):
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if (origin is not None and origin.lower().partition("://")[2] != host) or site not in ("same-origin", "none"):
            return 403, f"a page of origin {str(origin)[:100]!r} may not post here: use this page"
        return None


def _name(host: str) -> str:
    """Return a Host header without its port."""
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
