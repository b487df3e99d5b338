"""The address of a server, or of several, as a user writes it."""

import urllib.parse
from contextlib import suppress

from mesh.config import hide
from mesh.errors import BadInput


def parse_address(url: str) -> tuple[list[str], str]:
    """Return the servers in `url` (several with commas between them), and what of it may be shown: no credentials.

    Raises:
        BadInput: a part of it is no address.
    """
    servers, shown = [], []
    for part in url.split(","):
        server = part.strip() if "://" in part else f"nats://{part.strip()}"
        host = ""
        with suppress(ValueError):
            parts = urllib.parse.urlsplit(server)
            if parts.hostname and parts.scheme in ("nats", "tls", "ws", "wss") and parts.port != 0:
                host = parts.netloc.rpartition("@")[2]
        if not host:
            raise BadInput(f"{hide(part)!r} is no address of a NATS server: write nats://HOST:PORT")
        servers.append(server)
        shown.append(f"{parts.scheme}://{host}")
    return servers, ",".join(shown)
