"""A gateway that runs as `mesh gateway`, and agents that speak to it with a real curl."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import anyio
import anyio.abc
import anyio.to_thread


class Answer(NamedTuple):
    """What curl got: status, headers in lower case, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Hub(NamedTuple):
    """A gateway that answers at `url`; `process` is the command."""

    url: str
    process: anyio.abc.Process


@asynccontextmanager
async def gateway(
    home: Path, nats: str, *words: str, listen: str = "127.0.0.1:0", stderr: IO[Any] = sys.stderr
) -> AsyncIterator[Hub]:
    """Run `mesh gateway` until the block ends."""
    command = [sys.executable, "-m", "mesh_cli", "gateway", "--listen", listen, "--nats", nats, *words]
    env = {**os.environ, "MESH_HOME": str(home)}
    async with await anyio.open_process(command, env=env, stderr=stderr) as process:
        try:
            assert process.stdout
            with anyio.fail_after(200):
                address = (await process.stdout.receive()).decode().strip()
            yield Hub(address, process)
        finally:
            with anyio.CancelScope(shield=True):
                with suppress(ProcessLookupError):  # a test may have killed it
                    process.send_signal(signal.SIGINT)
                with anyio.move_on_after(15):
                    await process.wait()
                if process.returncode is None:
                    process.kill()


async def curl(url: str, *words: str, key: str = "", data: object = None) -> Answer:
    """Ask with a real curl; `data` is sent as JSON, or as it is if it is bytes."""
    command = ["curl", "-s", "-i", "--max-time", "60", *words]
    if key:
        command += ["-H", f"Authorization: Bearer {key}"]
    if data is not None:
        command += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
    body = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()

    def run() -> subprocess.CompletedProcess[bytes]:  # anyio fails where curl ends before it has read the whole body
        given = b"" if data is None else body
        return subprocess.run([*command, url], input=given, capture_output=True, check=False)

    done = await anyio.to_thread.run_sync(run)
    head, _, rest = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, rest = rest.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first, f"curl ended with {done.returncode}: {done.stderr.decode()}"
    pairs = (line.partition(":") for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, rest)


async def register(hub: str, name: str) -> str:
    """Register an agent and return its key."""
    answer = await curl(f"{hub}/api/register", data={"id": name})
    assert answer.status == 201, answer
    assert answer.json["id"] == name
    key: str = answer.json["api_key"]
    return key
