"""A line to the NATS server that kills a process exactly where it posts a fact: before it arrives, or right after.

The process connects here instead of to the server. All bytes pass, until one of its posts has the wanted subject.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import anyio
import anyio.abc

GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class CutLine:
    """The address of the line, and when it was cut.

    Args:
        subject: begins the subject of the post, such as `mesh.tiny.critique.posted.`.
        then: `lost` if the post never reaches the server, `landed` if only its acknowledgement is lost.
        kill: ends the process, so that it does nothing more.
    """

    def __init__(self, server: str, subject: str, then: Literal["lost", "landed"], kill: Callable[[], None]) -> None:
        self.server, self._then, self._kill = server, then, kill
        self._marker = f"PUB {subject}".encode()
        self.url = ""
        self.cut = anyio.Event()
        self._is_armed = False

    async def carry(self, client: anyio.abc.SocketStream) -> None:
        host, port = re.findall(r"([\w.]+):(\d+)$", self.server)[0]
        with suppress(*GONE, OSError):
            async with client, await anyio.connect_tcp(host, int(port)) as server, anyio.create_task_group() as tasks:
                tasks.start_soon(self._down, server, client)
                await self._up(client, server)
                tasks.cancel_scope.cancel()

    async def _up(self, client: anyio.abc.SocketStream, server: anyio.abc.SocketStream) -> None:
        before = b""
        with suppress(*GONE):
            async for data in client:
                if self.cut.is_set():
                    return
                if self._marker in before + data and not self._is_armed:
                    if self._then == "lost":
                        self._end()
                        return
                    self._is_armed = True
                await server.send(data)
                before = (before + data)[-len(self._marker) :]

    async def _down(self, server: anyio.abc.SocketStream, client: anyio.abc.SocketStream) -> None:
        with suppress(*GONE):
            async for data in server:
                if self._is_armed:
                    self._end()  # the first acknowledgement after the post
                    return
                await client.send(data)

    def _end(self) -> None:
        self._kill()
        self.cut.set()


@asynccontextmanager
async def cut_line(
    server: str, subject: str, then: Literal["lost", "landed"], kill: Callable[[], None]
) -> AsyncIterator[CutLine]:
    """Yield a line to a server that is cut at the first post of a subject."""
    line = CutLine(server, subject, then, kill)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    line.url = re.sub(r"[\w.]+:\d+$", f"127.0.0.1:{port}", server)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, line.carry)
        yield line
        tasks.cancel_scope.cancel()
