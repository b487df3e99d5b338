"""Ports of loopback for servers whose port must be known before they start.

A port that the kernel chose and that was closed again may be taken before its server starts: the kernel gives it to any
connection, and to everybody who asks for any port. These lie below the ports that it gives, so that only somebody else
who draws here, at the same moment, can take one.
"""

import random
import socket
from contextlib import suppress

_FIRST, _OF_KERNEL = 10_000, 32_768


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody uses now."""
    dice, found = random.SystemRandom(), list[int]()
    while len(found) < count:
        port = dice.randrange(_FIRST, _OF_KERNEL)
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("", port))
            if port not in found:
                found.append(port)
    return found
