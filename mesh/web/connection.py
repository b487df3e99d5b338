"""One connection to a server of the mesh, with bounds: what a client may leave open, and for how long.

A client that never ends its request, that reads nothing, or that vanished without a word is dropped. At most
`CONNECTIONS` are open; where one more comes, the one that has asked for nothing for longest gives way.
"""

import asyncio
import socket
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 400
"""Open connections, among them those of open pages."""
REQUEST_S = 10.0
"""Seconds in which a request must be complete; also those that a connection may be silent before its first one."""
UNREAD_S = 30.0
"""Seconds after which a client that takes nothing of its answer is dropped."""


class Connection(H11Protocol):
    """A connection that ends when its client keeps it without use.

    A server whose requests have large bodies makes `body_s` longer.
    """

    most: ClassVar[int] = CONNECTIONS
    body_s: ClassVar[float] = REQUEST_S

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._idle_since: float | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._has_head = False

    def connection_made(self, transport: Any) -> None:
        """Begin; if there are too many, the one that was idle longest ends."""
        super().connection_made(transport)
        notice_silent_peers(transport.get_extra_info("socket"))
        self._await_request()
        if len(self.connections) > self.most:
            waiting = [(c._idle_since, c) for c in self.connections if isinstance(c, Connection) and c._idle_since]
            min(waiting, key=lambda pair: pair[0])[1].transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all timers."""
        super().connection_lost(exc)
        self._end_wait()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take data; a request must be complete soon after its first byte."""
        super().data_received(data)
        if self.transport.is_closing() or self._is_busy():
            self._end_wait()
        else:
            self._await_request()
            self._await_body()

    def on_response_complete(self) -> None:
        """Wait for the next request, for as long as a connection is kept alive."""
        super().on_response_complete()
        if not self._is_busy():
            self._idle_since = self.loop.time()

    def pause_writing(self) -> None:
        """Wait until the client has read some; not for ever."""
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _is_busy(self) -> bool:
        """Whether a whole request waits for its answer."""
        return self.cycle is not None and not (self.cycle.more_body or self.cycle.response_complete)

    def _await_request(self) -> None:
        self._idle_since = self._idle_since or self.loop.time()
        self._deadline = self._deadline or self.loop.call_later(REQUEST_S, self.transport.abort)

    def _await_body(self) -> None:
        """Give the body its own time, once the head of a request is complete."""
        if self._deadline and not self._has_head and self.cycle is not None and self.cycle.more_body:
            self._has_head = True
            self._deadline.cancel()
            self._deadline = self.loop.call_later(self.body_s, self.transport.abort)

    def _end_wait(self) -> None:
        self._idle_since = None
        self._has_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def notice_silent_peers(of: socket.socket | None) -> None:
    """Have the kernel end a TCP connection whose other side is gone, or takes nothing."""
    if of is None or of.family not in (socket.AF_INET, socket.AF_INET6):
        return
    of.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 20),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", int(UNREAD_S * 1000)),
    ):
        if option := getattr(socket, name, None):
            of.setsockopt(socket.IPPROTO_TCP, option, value)
