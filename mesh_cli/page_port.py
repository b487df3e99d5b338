"""The port of the page of a home: the same after every start, so that a browser that was left open goes on."""

import socket
from contextlib import suppress
from pathlib import Path

from mesh import settings


def page_port(home: Path, host: str) -> int:
    """Return the port to listen on: the one that the page of this home had last if it is free, else any free one.

    Args:
        home: folder of caches, which keeps the port.
        host: the address to listen on.
    """
    file = settings.page_port_file(home)
    with suppress(OSError, ValueError):
        port = int(file.read_text(encoding="ascii"))
        if 0 < port < 65536 and _is_free(host, port):
            return port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as free:
        port = int(free.getsockname()[1])
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(port), encoding="ascii")
    return port


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True
