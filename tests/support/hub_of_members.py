"""A hub with accounts whose real nats-server runs, and clients of it that say what they like."""

import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from mesh import wire
from mesh.accounts.creds_file import write_creds
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import init_hub, write_configs
from mesh.accounts.issuing import issue
from mesh.accounts.nkey import Nkey, new_nkey
from mesh.accounts.rights import MemberRole
from mesh.bus import WORKERS
from mesh.events import LANES
from mesh.jetstream.closing import close_client
from mesh.jetstream.credentials import proof
from mesh.ports import free_port as free_port
from mesh.server import find_binary

JS = "$JS.API."
Answer = dict[str, Any]
"""The answer of a server; `refused` has its word where a permission forbids the question, `silent` where none came."""


def new_hub(folder: Path) -> HubFolder:
    """Make a hub on loopback with a port of its own."""
    return init_hub(folder, port=free_port(), disk_bytes=4 << 30)[0]


@contextmanager
def server_of(hub: HubFolder, node: int = 0) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the server of a hub as its own configuration says, until the block ends."""
    write_configs(hub)
    config = hub.config_file(node)
    log = config.with_name("server.log")
    log.unlink(missing_ok=True)
    with subprocess.Popen([find_binary(), "-c", str(config)], stderr=subprocess.PIPE) as process:
        try:
            while not (log.exists() and "Server is ready" in log.read_text()):
                if process.poll() is not None:
                    said = log.read_text() if log.exists() else ""
                    raise AssertionError(said or (process.stderr.read() if process.stderr else b"").decode())
                time.sleep(0.02)  # nobody announces it
            yield process
        finally:
            process.kill()


class Speaker:
    """A client of a hub that publishes and subscribes without any check of ours."""

    def __init__(self, nc: Client, name: str) -> None:
        self.nc, self.name = nc, name
        self.within_s = 10.0  # of a cluster, which may be without a leader
        self.told: list[str] = []
        self.key: Nkey | None = None

    async def say(self, subject: str, data: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """Publish, and return the first answer of the server: what it stored, its error, or that it forbids it."""
        inbox = self.nc.new_inbox()
        answers: list[Answer] = []
        before = len(self.told)

        async def take(msg: Msg) -> None:
            status = (msg.headers or {}).get("Status")
            answers.append({"status": status} if status else _decoded(msg.data))

        subscription = await self.nc.subscribe(inbox, cb=take)
        try:
            await self.nc.publish(subject, data, reply=inbox, headers=headers)
            with anyio.move_on_after(self.within_s):
                while not answers and len(self.told) == before and not self.nc.is_closed:
                    await anyio.sleep(0.005)
        finally:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()
        if answers:
            return answers[0]
        said = self.told[before:] or (["the connection was closed"] if self.nc.is_closed else [])
        return {"refused": said[0]} if said else {"silent": True}

    async def is_deaf_to(self, subject: str) -> bool:
        """Tell whether the server forbids a subscription."""
        before = len(self.told)
        subscription = await self.nc.subscribe(subject)
        for _ in range(2):  # the first ping of nats-py may overtake the subscription
            await self.nc.flush(100)
        forbidden = any("permissions violation" in word.lower() for word in self.told[before:])
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
        return forbidden


def is_forbidden(answer: Answer) -> bool:
    return "permissions violation" in str(answer.get("refused", "")).lower()


def is_stored(answer: Answer) -> bool:
    return "seq" in answer and "error" not in answer


def _decoded(data: bytes) -> Answer:
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {"data": data}
    return found if isinstance(found, dict) else {"data": found}


@asynccontextmanager
async def speaker(hub: HubFolder, creds: Path, name: str, *, inbox: str = "", url: str = "") -> AsyncIterator[Speaker]:
    """Connect with credentials, to the hub's own server if no other is named."""
    found = Speaker(Client(), name)

    async def note(error: Exception) -> None:
        found.told.append(str(error))

    await found.nc.connect(
        url or hub.own_url,
        name=name,
        error_cb=note,
        allow_reconnect=False,
        connect_timeout=100,
        inbox_prefix=inbox or f"_INBOX_{name}",
        **proof(creds),
    )
    try:
        await found.nc.flush(100)
        yield found
    finally:
        await close_client(found.nc)


def member_creds(hub: HubFolder, role: MemberRole, name: str, arenas: Sequence[str], **more: Any) -> tuple[Path, Nkey]:
    """Make the credentials of a member, as one that has joined has them."""
    key = new_nkey("user")
    path = hub.folder.with_name(f"{name}.creds")
    write_creds(path, issue(hub, name=name, role=role, arenas=arenas, public=key.public, **more), key, hub.ca)
    return path, key


class Company(NamedTuple):
    """A hub that runs, its own speaker, and how members come in."""

    hub: HubFolder
    own: Speaker
    stack: AsyncExitStack

    async def member(self, role: MemberRole, name: str, arenas: Sequence[str] = ("one",), **more: Any) -> Speaker:
        path, key = member_creds(self.hub, role, name, arenas, **more)
        found = await self.stack.enter_async_context(speaker(self.hub, path, name))
        found.key, found.within_s = key, self.own.within_s
        return found

    async def entries(self, arena: str = "one") -> int:
        """Return how many entries the log of an arena has."""
        return int((await self.own.say(f"{JS}STREAM.INFO.MESH_{arena}"))["state"]["last_seq"])


@asynccontextmanager
async def company(folder: Path, arenas: Sequence[str] = ("one", "two")) -> AsyncIterator[Company]:
    """Run a hub with the streams and queues of some arenas, as its own processes make them."""
    hub = new_hub(folder)
    with server_of(hub):
        async with AsyncExitStack() as stack:
            own = await stack.enter_async_context(speaker(hub, hub.hub_creds, "hub", inbox="_INBOX"))
            own.within_s = 100.0  # one server always answers, sooner or later
            for arena in arenas:
                await _open(own, arena)
            yield Company(hub, own, stack)


async def _open(own: Speaker, arena: str) -> None:
    streams = {
        f"MESH_{arena}": wire.arena_filter(arena),
        f"MESHOBJ_{arena}": wire.objects_filter(arena),
        f"MESHCALL_{arena}": wire.call_subject(arena, "*"),
    }
    for stream, subjects in streams.items():
        config: dict[str, Any] = {"name": stream, "subjects": [subjects], "storage": "file", "allow_direct": True}
        config |= {"deny_delete": True, "deny_purge": True, "discard": "new", "max_bytes": 64 << 20}
        if stream == f"MESH_{arena}":
            config["republish"] = {"src": "mesh.>", "dest": "tail.mesh.>"}
        answer = await own.say(f"{JS}STREAM.CREATE.{stream}", json.dumps(config).encode())
        assert "error" not in answer, answer
    for lane in LANES:
        name, subject = f"{WORKERS}_run-requested-{lane}", wire.kind_filter(arena, f"run.requested.{lane}")
        config = {"durable_name": name, "name": name, "ack_policy": "explicit", "filter_subject": subject}
        asked = json.dumps({"stream_name": f"MESH_{arena}", "config": config}).encode()
        answer = await own.say(f"{JS}CONSUMER.CREATE.MESH_{arena}.{name}.{subject}", asked)
        assert "error" not in answer, answer
