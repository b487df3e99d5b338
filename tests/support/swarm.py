"""The real processes of a swarm on the tiny arena; each can be killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc


class Swarm:
    """Processes by name; `start`, `kill` (SIGKILL) and `end` (SIGTERM) work on one of them.

    `environ` has more variables by the name of a process.
    """

    def __init__(self, home: Path, url: str) -> None:
        common = ["--nats", url, "--home", str(home)]
        agent = [sys.executable, "-m", "mesh.agent"]
        here = ["--arena", "tiny", *common]
        self.commands = {
            "projector": [sys.executable, "-m", "analytics", *common],
            "curator": [*agent, "curator", "--name", "curator", *here],
            "critic": [*agent, "critic", "--name", "critic", *here],
            "explorer": [*agent, "explorer", "--name", "explorer", "--count", "3", *here],
            "worker": [
                sys.executable,
                "-m",
                "gpu_worker",
                "--name",
                "worker",
                "--device",
                "cpu",
                "--slots",
                "2",
                *here,
            ],
        }
        self.home = home
        self.environ: dict[str, dict[str, str]] = {}
        self.running: dict[str, anyio.abc.Process] = {}
        self._log = home.parent / "swarm.log"

    async def start(self, *names: str) -> None:
        """Start the named processes, all if none is named."""
        with self._log.open("ab") as log:
            for name in names or self.commands:
                self.running[name] = await anyio.open_process(
                    self.commands[name],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "MESH_PARENT": "stdin", **self.environ.get(name, {})},
                )

    async def kill(self, *names: str) -> None:
        """Kill the named processes, all if none is named, with a signal that cannot be caught."""
        for name in names or tuple(self.running):
            with suppress(ProcessLookupError):  # it has ended by itself
                self.running[name].send_signal(signal.SIGKILL)
        for name in names or tuple(self.running):
            await self.running.pop(name).aclose()

    async def end(self, name: str) -> int:
        """Ask a process to end and return its exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        code = await process.wait()
        await process.aclose()
        return code


@asynccontextmanager
async def swarm_of(home: Path, url: str) -> AsyncIterator[Swarm]:
    """A swarm of which nothing is left when the block ends."""
    swarm = Swarm(home, url)
    try:
        yield swarm
    finally:
        with anyio.CancelScope(shield=True):
            await swarm.kill()
