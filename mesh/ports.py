"""Ports of loopback for servers that start later, or that come back on the same port.

The kernel gives ports of its own range to whoever asks for any: a port from there may be another program's before its
server listens, or while its server is away. These are below that range, and each process goes through another part of
them.
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
    """Return ports that nobody listens on, none of which this process has returned before.

    Raises:
        OSError: there are too few.
    """
    found: list[int] = []
    for number in itertools.islice(_NUMBERS, _COUNT):
        port = _FIRST + number % _COUNT
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"only {len(found)} of {count} ports from {_FIRST} to {_FIRST + _COUNT - 1} of loopback are free")


def free_port() -> int:
    """Return one such port.

    Raises:
        OSError: there is none.
    """
    return free_ports(1)[0]
