"""A hub of one's own as `mesh hub start` runs it, and machines that join it, each with a home."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.abc

from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import init_hub
from mesh.ports import free_ports as free_ports

COMMAND = (sys.executable, "-P", "-m", "mesh_cli")


class Said(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


class RunningHub(NamedTuple):
    """A hub that runs; `process` is `mesh hub start`."""

    folder: HubFolder
    process: anyio.abc.Process

    async def say(self, *words: str) -> str:
        """Run a command of the operator, with the hub's own credentials; return what it prints."""
        done = await self.tried(*words)
        assert done.code == 0, done
        return done.out.strip()

    async def tried(self, *words: str) -> Said:
        """Run a command of the operator."""
        env = {"MESH_NATS": self.folder.own_url, "MESH_CREDENTIALS": str(self.folder.hub_creds)}
        return await run_mesh(self.folder.folder.parent, *words, env=env)

    async def hub(self, *words: str) -> str:
        """Run `mesh hub` with the folder."""
        return await self.say("hub", *words, "--dir", str(self.folder.folder))

    async def invite(self, role: str, arena: str = "tiny", *words: str) -> str:
        """Return an invitation."""
        line = await self.hub("invite", role, "--arena", arena, *words)
        found = re.fullmatch(r"uvx --from 'mesh-swarm(?:\[\w+\])?' mesh join (mesh1_[\w-]+)", line)
        assert found, line
        return found[1]


def new_hub(folder: Path) -> HubFolder:
    """Make a hub on loopback, on free ports."""
    port, door_port = free_ports(2)
    hub, _ = init_hub(folder, ["127.0.0.1"], port=port, door_port=door_port, disk_bytes=4 << 30)
    return hub


@asynccontextmanager
async def running(hub: HubFolder, *words: str) -> AsyncIterator[RunningHub]:
    """Run `mesh hub start` until the block ends."""
    env = {**os.environ, "MESH_HOME": str(hub.folder.parent / "operator")}
    command = [*COMMAND, "hub", "start", "--dir", str(hub.folder), *words]
    async with await anyio.open_process(command, env=env, stderr=sys.stderr) as process:
        try:
            assert process.stdout
            with anyio.fail_after(200):
                assert b"https://" in await process.stdout.receive()
            yield RunningHub(hub, process)
        finally:
            with anyio.CancelScope(shield=True):
                await ended(process)


async def ended(process: anyio.abc.Process, number: signal.Signals = signal.SIGINT) -> None:
    """End a process with a signal; kill it if it does not."""
    with suppress(ProcessLookupError):
        process.send_signal(number)
    with anyio.move_on_after(60):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def run_mesh(home: Path, *words: str, env: dict[str, str] | None = None, given: str = "") -> Said:
    """Run a command of somebody whose home this is; `given` is its standard input."""
    command = [*COMMAND, *words]
    done = await anyio.run_process(command, env=env_of(home, env), check=False, cwd=home, input=given.encode())
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def env_of(home: Path, more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of somebody whose home this is."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "XDG_CONFIG"))}
    own = {"HOME": str(home), "MESH_HOME": str(home / ".mesh"), "CUDA_VISIBLE_DEVICES": ""}
    return {**kept, **own, **(more or {})}


@asynccontextmanager
async def joining(home: Path, words: Sequence[str], *, shows: str) -> AsyncIterator[anyio.abc.Process]:
    """Run `mesh join` of a worker until the block ends; begin when its standard error shows something."""
    command, log = [*COMMAND, "join", *words], home / "join.log"
    env = env_of(home)
    with log.open("wb") as out:
        async with await anyio.open_process(
            command, env=env, cwd=home, stdout=out, stderr=subprocess.STDOUT
        ) as process:
            try:
                with anyio.fail_after(200):
                    while shows not in log.read_text("utf-8", "replace"):
                        assert process.returncode is None, log.read_text("utf-8", "replace")
                        await anyio.sleep(0.02)
                yield process
            finally:
                with anyio.CancelScope(shield=True):
                    await ended(process)
