"""Tells whether a server still stores what it is sent.

After a failed write (a full disk, for example) a stream of nats-server answers reads and stores nothing until the
server is restarted, also when there is space again. So three things are watched: the free space of the disk, the lines
in the server's log that tell of a failed write, and a message that the server is asked to store every few seconds. That
message has a stream of its own: it is not part of any arena.
"""

import json
import re
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from mesh.disk import can_write, full_disk

PROBE_EVERY_S = 5.0
SILENT = 3
"""Probes in a row without an answer after which a server counts as broken, though its disk can be written."""

_PROBE_WITHIN_S = 5.0
_FAILED_WRITE = re.compile(rb"ritical write error|failed to store a msg|no space left on device", re.IGNORECASE)
_MOST_LOG_BYTES = 1024 * 1024
_STREAM = {
    "name": "MESHPROBE",
    "subjects": ["meshprobe"],
    "storage": "file",
    "retention": "limits",
    "discard": "old",
    "max_msgs": 1,
    "max_bytes": 65536,
    "num_replicas": 1,
}
_CONNECT = {"verbose": False, "pedantic": False, "name": "mesh-probe", "lang": "python", "version": "1", "protocol": 1}


class Health:
    """The health of one server process, from its start on."""

    def __init__(self, folder: Path, url: str) -> None:
        """Take the folder of the store and the URL of its server."""
        self._folder, self._url = folder, url
        self._log_end = 0
        self._silent = 0
        self._next_probe = anyio.current_time() + PROBE_EVERY_S
        self.trouble = ""

    async def check(self) -> bool:
        """Look after the server once; `trouble` says what is wrong. Tell whether a restart would cure it now."""
        self.trouble = full_disk(self._folder) or self.trouble or self._failed_write()
        if not self.trouble and anyio.current_time() >= self._next_probe:
            self._silent = 0 if await stores(self._url) else self._silent + 1
            self._next_probe = anyio.current_time() + PROBE_EVERY_S
            if self._silent >= SILENT:
                self.trouble = f"the server of {self._folder} does not store what it is sent"
        if not self.trouble or full_disk(self._folder):
            return False
        return await anyio.to_thread.run_sync(can_write, self._folder, abandon_on_cancel=True)

    def _failed_write(self) -> str:
        """Return a sentence if the new lines of the server's log tell of a failed write."""
        try:
            with (self._folder / "server.log").open("rb") as log:
                size = log.seek(0, 2)
                log.seek(max(0, min(self._log_end, size), size - _MOST_LOG_BYTES))
                new = log.read(_MOST_LOG_BYTES)
                self._log_end = size
        except OSError:
            return ""
        return f"a write to the store {self._folder} failed" if _FAILED_WRITE.search(new) else ""


async def stores(url: str) -> bool:
    """Ask the server to store a message; tell whether it said that it did."""
    host, _, port = url.removeprefix("nats://").rpartition(":")
    try:
        with anyio.fail_after(_PROBE_WITHIN_S):
            async with await anyio.connect_tcp(host, int(port)) as stream:
                client = _Client(stream)
                await client.begin()
                answer = await client.request("meshprobe", b"")
                if answer is None:
                    await client.request("$JS.API.STREAM.CREATE.MESHPROBE", json.dumps(_STREAM).encode())
                    answer = await client.request("meshprobe", b"")
                return answer is not None and "seq" in json.loads(answer)
    except (OSError, TimeoutError, ValueError, anyio.BrokenResourceError, anyio.EndOfStream):
        return False


class _Client:
    """As much of the client protocol of NATS as a request needs."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream, self._received = stream, b""

    async def begin(self) -> None:
        options = _CONNECT | {"headers": True, "no_responders": True}
        await self._stream.send(f"CONNECT {json.dumps(options)}\r\nSUB _INBOX.meshprobe 1\r\n".encode())

    async def request(self, subject: str, body: bytes) -> bytes | None:
        """Return the answer, None if nobody listens to the subject."""
        await self._stream.send(f"PUB {subject} _INBOX.meshprobe {len(body)}\r\n".encode() + body + b"\r\n")
        while True:
            words = (await self._line()).split()
            match words[0] if words else b"":
                case b"PING":
                    await self._stream.send(b"PONG\r\n")
                case b"MSG":
                    return (await self._exactly(int(words[-1]) + 2))[:-2]
                case b"HMSG":  # nobody listens: an answer without a body, and a status in its headers
                    await self._exactly(int(words[-1]) + 2)
                    return None
                case b"-ERR":
                    raise ValueError(words)

    async def _line(self) -> bytes:
        while b"\r\n" not in self._received:
            self._received += await self._stream.receive()
        line, _, self._received = self._received.partition(b"\r\n")
        return line

    async def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            self._received += await self._stream.receive()
        found, self._received = self._received[:count], self._received[count:]
        return found
