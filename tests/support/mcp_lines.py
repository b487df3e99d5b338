"""`mesh mcp` as a client starts it, spoken to in raw lines."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

LONGEST = 1 << 24


def modern(revision: str = "2026-07-28") -> dict[str, Any]:
    """Return what every request of the revision without a handshake carries."""
    prefix = "io.modelcontextprotocol/"
    client = {"name": "raw lines", "version": "1"}
    return {"_meta": {f"{prefix}protocolVersion": revision, f"{prefix}clientInfo": client,
                      f"{prefix}clientCapabilities": {}}}  # fmt: skip


class RawClient:
    """One server process; requests are numbered, answers come back by their number."""

    def __init__(self, process: anyio.abc.Process, more: dict[str, Any] | None = None) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.more = process, more or {}
        self._stdin, self._stdout = process.stdin, BufferedByteReceiveStream(process.stdout)
        self._number = 0

    async def send(self, line: str | dict[str, Any]) -> None:
        """Send a line."""
        text = line if isinstance(line, str) else json.dumps(line)
        await self._stdin.send(text.encode() + b"\n")

    async def line(self) -> dict[str, Any]:
        """Return the next line, which must be a JSON object: nothing else may stand on standard output."""
        found = json.loads(await self._stdout.receive_until(b"\n", LONGEST))
        assert isinstance(found, dict)
        assert found["jsonrpc"] == "2.0"
        return found

    async def begin(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request and return its number."""
        self._number += 1
        whole = {**(params or {}), **self.more}
        await self.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": whole})
        return self._number

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return its answer."""
        number = await self.begin(method, params)
        found = await self.line()
        assert found["id"] == number, found
        return found

    async def call(self, tool: str, **arguments: Any) -> tuple[bool, dict[str, Any], str]:
        """Call a tool; return whether it went wrong, its values and its text."""
        result = (await self.ask("tools/call", {"name": tool, "arguments": arguments}))["result"]
        [content] = result["content"]
        return bool(result.get("isError")), result.get("structuredContent", {}), content["text"]

    async def hello(self, revision: str, client: str = "raw lines") -> dict[str, Any]:
        """Shake hands, as revisions before 2026-07-28 do; return the answer of the server."""
        hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": client, "version": "1"}}
        answer = await self.ask("initialize", hello)
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        result: dict[str, Any] = answer["result"]
        return result

    async def ended(self) -> int:
        """Close standard input, as a client that goes away does, and return the exit code."""
        await self._stdin.aclose()
        return await self.process.wait()


@asynccontextmanager
async def raw_client(*options: str, home: Path, revision: str = "2025-11-25", **more: str) -> AsyncIterator[RawClient]:
    """Start `mesh mcp` with a home of its own; hands are shaken where the revision does so; `more` are variables."""
    environ = {**os.environ, "MESH_HOME": str(home), **more}
    command = [sys.executable, "-m", "mesh_cli", "mcp", *options]
    async with await anyio.open_process(command, env=environ, stderr=subprocess.PIPE) as process:
        client = RawClient(process, modern() if revision == "2026-07-28" else None)
        try:
            with anyio.fail_after(300):
                if revision != "2026-07-28":
                    await client.hello(revision)
                yield client
        finally:
            if process.returncode is None:
                process.kill()
