"""Opens a door out of a network namespace: a socket that listens on its loopback, which a process outside serves.

A listening socket belongs to the network in which it was made. So who gets it can serve the processes of that network,
and no file, no process and no other way of it is inside of the sandbox. The standard library alone.
"""

import socket

_WITHIN_S = 10.0
_BACKLOG = 128


def open_door(path: str, token: str, port: int) -> None:
    """Listen on a port of this process's loopback, and give the socket away.

    Args:
        path: the unix socket of who serves it.
        token: tells it whose door this is.
        port: where to listen.

    Raises:
        OSError: the port is taken, or nobody takes the socket.
    """
    with socket.socket() as listener, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        channel.settimeout(_WITHIN_S)
        channel.connect(path)
        socket.send_fds(channel, [token.encode()], [listener.fileno()])
        if channel.recv(8) != b"open":
            raise OSError(f"nobody serves the door at {path}")
