"""A cluster of three real servers on this machine, of `deploy/nats-cluster.conf`: each can be lost and come back."""

import functools
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from mesh.jetstream import JetStreamHub
from mesh.parent_death import die_with_parent
from mesh.ports import free_ports
from mesh.server import find_binary

CONFIG = Path(__file__).parents[2] / "deploy" / "nats-cluster.conf"
TOKEN = "mesh_0123456789abcdef0123456789abcdef"
NODES = (1, 2, 3)
_LOOK_EVERY_S = 0.1

Block = Callable[[Sequence[str], int], str]
"""Returns another `cluster` block for the server of a number, for the hosts where the servers reach each other."""


class Servers:
    """Three servers by their numbers; each has a folder with its store, its configuration and its log."""

    def __init__(self, folder: Path, *, sync: str = "2m", block: Block | None = None) -> None:
        ports = free_ports(2 * len(NODES))
        self.ports = dict(zip(NODES, ports, strict=False))
        self.hosts = [f"127.0.0.1:{port}" for port in ports[len(NODES) :]]
        self.folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        text = CONFIG.read_text(encoding="utf-8").replace("0.0.0.0", "127.0.0.1")
        text = re.sub(r"^  sync_interval: .*", f"  sync_interval: {sync}", text, flags=re.MULTILINE)
        for node in NODES:
            own = text.replace("port: 4222", f"port: {self.ports[node]}")
            own = own.replace(":6222", f":{self.hosts[node - 1].rpartition(':')[2]}")
            if block:
                own = own[: own.index("cluster {")] + block(self.hosts, node)
            (folder / self.name(node)).mkdir(parents=True)
            (folder / self.name(node) / "nats.conf").write_text(own, encoding="utf-8")

    @property
    def url(self) -> str:
        """The address of all servers, as people write it."""
        return f"nats://{TOKEN}@" + ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def name(self, node: int) -> str:
        """Return the name of a server."""
        return f"node-{node}"

    def start(self, *nodes: int) -> None:
        """Start these servers, all if none is named."""
        routes = ", ".join(f"nats://routes:{TOKEN}@{host}" for host in self.hosts)
        for node in nodes or NODES:
            env = {**os.environ, "MESH_NODE": self.name(node), "MESH_TOKEN": TOKEN, "MESH_ROUTES": f"[{routes}]"}
            folder = self.folder / self.name(node)
            with (folder / "server.log").open("ab") as log:
                self._processes[node] = subprocess.Popen(
                    [find_binary(), "-c", "nats.conf"],
                    cwd=folder,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=functools.partial(die_with_parent, signal.SIGKILL),
                )

    async def end(self, *nodes: int, how: signal.Signals = signal.SIGKILL) -> None:
        """End these servers with a signal and wait until they are gone; all that run if none is named."""
        for node in nodes or tuple(self._processes):
            self._processes[node].send_signal(how)
        for node in nodes or tuple(self._processes):
            process = self._processes.pop(node)
            while process.poll() is None:
                await anyio.sleep(0.02)

    async def until_taken(self, *nodes: int) -> None:
        """Wait until these servers take connections."""
        for node in nodes:
            while True:
                with suppress(OSError):
                    async with await anyio.connect_tcp("127.0.0.1", self.ports[node]):
                        break
                await anyio.sleep(_LOOK_EVERY_S)

    async def leader(self, hub: JetStreamHub, arena: str) -> int:
        """Wait until the log of an arena has a leader, and return its number."""
        while not (name := (await hub.state(arena)).leader):
            await anyio.sleep(_LOOK_EVERY_S)
        return int(name.rpartition("-")[2])

    async def until_current(self, hub: JetStreamHub, arena: str) -> None:
        """Wait until all servers have all of an arena's log."""
        while True:
            states = (await hub.state(arena)).copies.values()
            if list(states) == ["current"] * (len(NODES) - 1):
                return
            await anyio.sleep(_LOOK_EVERY_S)


@asynccontextmanager
async def three_servers(
    folder: Path, *nodes: int, sync: str = "2m", block: Block | None = None
) -> AsyncIterator[Servers]:
    """Run three servers, or these of them, while the block runs.

    Args:
        folder: where they live; it may not exist yet.
        nodes: the servers to start; all if none is named.
        sync: how often they flush to disk, or `always`.
        block: gives another `cluster` block for each.
    """
    servers = Servers(folder, sync=sync, block=block)
    servers.start(*nodes)
    try:
        yield servers
    finally:
        with anyio.CancelScope(shield=True):
            await servers.end()
