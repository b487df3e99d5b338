"""Ports of loopback for servers that start later, and start again on the same port.

The kernel gives ports of its own range to whoever asks for any: a port from there that is free now may be another
program's before its server listens. These are below that range, and each process goes through another part of it.
"""

import itertools
import os
import socket
from contextlib import suppress

_FIRST, _COUNT = 10_000, 20_000
_APART = 997
"""Numbers between the first ports of two processes that began one after the other."""
_NUMBERS = itertools.count(os.getpid() * _APART)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, none of which this process has returned before."""
    found: list[int] = []
    while len(found) < count:
        port = _FIRST + next(_NUMBERS) % _COUNT
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


def free_port() -> int:
    """Return one such port."""
    return free_ports(1)[0]
