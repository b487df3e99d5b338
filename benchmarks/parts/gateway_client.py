"""A gateway in a process of its own, its members, and a client that does as little as possible."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import psutil
from anyio.streams.buffered import BufferedByteReceiveStream

from gateway.members import Members
from mesh.bus import Hub
from mesh.wire import HUB_LOG


async def keys_of_members(hub: Hub, count: int) -> list[str]:
    """Admit so many members, and return their keys."""
    members = Members(await hub.arena(HUB_LOG, create=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(members.reader.follow)
        keys = [await members.admit(f"member-{n}") for n in range(count)]
        tasks.cancel_scope.cancel()
    return keys


@asynccontextmanager
async def own_gateway(home: Path, nats: str) -> AsyncIterator[tuple[int, psutil.Process]]:
    """Run a gateway, and yield its port and its process."""
    command = [sys.executable, "-m", "mesh_cli", "gateway", "--nats", nats, "--listen", "127.0.0.1:0", "--no-open"]
    env = {**os.environ, "MESH_HOME": str(home / "of-gateway")}
    async with await anyio.open_process(command, env=env, stderr=sys.stderr) as process:
        assert process.stdout
        with anyio.fail_after(300):
            address = (await process.stdout.receive()).decode().strip()
        try:
            yield int(address.rpartition(":")[2]), psutil.Process(process.pid)
        finally:
            process.terminate()


class HttpClient:
    """One connection that is kept, and as little else as possible."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream, self._reader = stream, BufferedByteReceiveStream(stream)

    async def ask(self, method: str, path: str, key: str, body: bytes = b"") -> bytes:
        """Send a request and return the body of its answer."""
        await self.send(method, path, key, body)
        return await self.answer()

    async def send(self, method: str, path: str, key: str, body: bytes = b"") -> None:
        """Send a request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        await self._stream.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def answer(self) -> bytes:
        """Return the body of the next answer."""
        head = (await self._reader.receive_until(b"\r\n\r\n", 65536)).decode("latin-1")
        assert head.split()[1] in ("200", "201"), head
        length = next(int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:"))
        return await self._reader.receive_exactly(length)
