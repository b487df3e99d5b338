"""Reads the address of one or several servers, as a user writes it."""

import urllib.parse
from contextlib import suppress

from mesh.config import hide
from mesh.errors import BadInput


def parse_address(url: str) -> tuple[list[str], str]:
    """Return the servers in an address, and the address without user, password and token, to show it.

    Args:
        url: URLs of servers, separated by commas; `nats://` may be left out. Those after the first one take over
            from it what they leave out: scheme, user, password and token.

    Raises:
        BadInput: a part is not a valid address.
    """
    servers, shown = list[str](), list[str]()
    scheme, user = "nats", ""
    for part in url.split(","):
        server = part.strip() if "://" in part else f"{scheme}://{part.strip()}"
        before, _, place = server.partition("://")
        server = f"{before}://{user}@{place}" if user and "@" not in place else server
        host = ""
        with suppress(ValueError):
            parts = urllib.parse.urlsplit(server)
            if parts.hostname and parts.scheme in ("nats", "tls", "ws", "wss") and parts.port != 0:
                host = parts.netloc.rpartition("@")[2]
        if not host:
            raise BadInput(f"{hide(part)!r} is not a valid address of a NATS server: use nats://HOST:PORT")
        if not servers:
            scheme, user = parts.scheme, parts.netloc.rpartition("@")[0]
        servers.append(server)
        shown.append(f"{parts.scheme}://{host}")
    return servers, ",".join(shown)
