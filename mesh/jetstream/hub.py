"""The arenas of a server over one connection, and the objects beside their logs."""

import datetime as dt
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from mesh import wire
from mesh.errors import BusRefused, ObjectMissing, UnknownName, leaf
from mesh.jetstream.closing import TRANSIENT
from mesh.jetstream.link import WRONG_LAST_SEQUENCE, Link
from mesh.jetstream.live import CHUNK, LiveTopics
from mesh.jetstream.log import StreamLog, stream_of
from mesh.jetstream.queue import JetStreamDelivery, work
from mesh.model_calls import KEPT_BYTES

_OBJECTS, _CALLS = "MESHOBJ_", "MESHCALL_"
_COUNT = re.compile(r"[0-9]{1,9}")


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str = "mesh",
    patience_s: float = 15.0,
    outage_s: float | None = None,
    replicas: int = 1,
    credentials: Path | None = None,
) -> AsyncIterator["JetStreamHub"]:
    """Connect to a NATS server and keep the connection alive while the block runs.

    Args:
        url: address of the server, or of several, separated by commas.
        name: name of this client, which the server shows in its log.
        patience_s: seconds to try to connect, and to try each operation.
        outage_s: seconds to try each operation, if not `patience_s`.
        replicas: number of copies of a new stream.
        credentials: file with credentials for the server.

    Raises:
        BadInput: the address or the credentials are not valid.
        BusUnavailable: no server answers.
        BusRefused: the server refuses this user, or has no JetStream.
        ServerTooOld: the server is too old.
    """
    link = Link(url, name=name, patience_s=patience_s, replicas=replicas, credentials=credentials)
    await link.open()
    link.patience_s = outage_s or patience_s
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.watch)
            yield JetStreamHub(link)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    finally:
        await link.close()


class LogState(msgspec.Struct, frozen=True):
    """The size of an arena's log: its last sequence and its bytes, at a time of the server's clock."""

    seq: int
    bytes: int
    at: dt.datetime | None


class JetStreamHub:
    """The arenas of a server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def link(self) -> Link:
        """The connection, for tests and benchmarks."""
        return self._link

    async def arenas(self) -> list[str]:
        names: list[str] = []
        while True:
            answer = await self._link.call("$JS.API.STREAM.NAMES", {"offset": len(names)})
            page: list[str] = answer.get("streams") or []
            names += page
            if not page or len(names) >= int(answer.get("total", 0)):
                break
        mark = stream_of("")
        return sorted(name.removeprefix(mark) for name in names if name.startswith(mark))

    async def arena(self, name: str, *, create: bool = False) -> "JetStreamBus":
        wire.check_token("arena", name)
        if create:
            await _create(self._link, stream_of(name), wire.arena_filter(name))
            await _create(self._link, _OBJECTS + name, wire.objects_filter(name))
        else:
            answer = await self._link.call(f"$JS.API.STREAM.INFO.{stream_of(name)}", {})
            if "error" in answer:
                known = ", ".join(await self.arenas()) or "none yet"
                raise UnknownName(f"there is no arena {name!r} on {self._link.url} (there are: {known})")
        return JetStreamBus(self._link, name)

    async def state(self, name: str) -> LogState:
        """Return the last sequence and the size of an arena's log.

        Raises:
            UnknownName: the arena has no log.
        """
        answer = await self._link.call(f"$JS.API.STREAM.INFO.{stream_of(name)}", {})
        if "error" in answer:
            raise UnknownName(f"there is no arena {name!r} on {self._link.url}")
        at = msgspec.convert(answer["ts"], dt.datetime) if answer.get("ts") else None
        return LogState(int(answer["state"]["last_seq"]), int(answer["state"]["bytes"]), at)


async def _create(link: Link, stream: str, subjects: str, **limits: Any) -> None:
    """Create a stream of an arena if there is none; `limits` are more of its settings.

    Raises:
        BusRefused: the server refuses it.
    """
    config: dict[str, Any] = {
        "name": stream,
        "subjects": [subjects],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "deny_delete": True,
        "deny_purge": True,
        "allow_direct": True,
        "num_replicas": link.replicas,
        "duplicate_window": 120_000_000_000,
        **limits,
    }
    if "error" not in await link.call(f"$JS.API.STREAM.INFO.{stream}", {}):
        return
    answer = await link.call(f"$JS.API.STREAM.CREATE.{stream}", config)
    if "error" in answer:
        raise BusRefused(f"the server did not create stream {stream}: {answer['error'].get('description')}")


class JetStreamBus(StreamLog, LiveTopics):
    """The log, live topics and objects of an arena; see `mesh.bus.ArenaBus`."""

    def __init__(self, link: Link, arena: str) -> None:
        StreamLog.__init__(self, link, arena)
        LiveTopics.__init__(self, link, arena)
        self._objects_stream, self._calls_stream = _OBJECTS + arena, _CALLS + arena
        self._has_calls = False

    def work(
        self, queue: str, kinds: Sequence[str], *, lease_s: float = 5.0, first: Callable[[], str] | None = None
    ) -> AsyncGenerator[JetStreamDelivery]:
        return work(self._link, self.arena, queue, kinds, lease_s, first)

    async def put(self, name: str, data: bytes) -> None:
        wire.check_token("object name", name)
        chunks = [data[start : start + CHUNK] for start in range(0, max(len(data), 1), CHUNK)]
        # The first chunk is stored last: if it exists, all others do.
        for number in reversed(range(len(chunks))):
            headers = {"Nats-Expected-Last-Subject-Sequence": "0", "Mesh-Chunks": str(len(chunks))}
            await self._store(wire.object_subject(self.arena, name, number), chunks[number], headers)

    async def _store(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        ack, _ = await self._link.append(subject, data, headers)
        if ack.error and ack.error.err_code not in WRONG_LAST_SEQUENCE:
            raise BusRefused(f"object {subject}: {ack.error.description}")

    async def get(self, name: str) -> bytes:
        wire.check_token("object name", name)
        first, count = await self._chunk(name, 0)
        return first + b"".join([(await self._chunk(name, number))[0] for number in range(1, count)])

    async def _chunk(self, name: str, number: int) -> tuple[bytes, int]:
        return await self._message(self._objects_stream, wire.object_subject(self.arena, name, number), name)

    async def keep(self, name: str, data: bytes) -> None:
        wire.check_token("object name", name)
        if not self._has_calls:  # the server drops the oldest: only it knows what all writers have stored
            limits = {"discard": "old", "max_bytes": KEPT_BYTES}
            await _create(self._link, self._calls_stream, wire.call_subject(self.arena, "*"), **limits)
            self._has_calls = True
        headers = {"Nats-Expected-Last-Subject-Sequence": "0"}
        await self._store(wire.call_subject(self.arena, name), data, headers)

    async def kept(self, name: str) -> bytes:
        wire.check_token("object name", name)
        if "error" in await self._link.call(f"$JS.API.STREAM.INFO.{self._calls_stream}", {}):
            raise ObjectMissing(f"arena {self.arena} has no object {name}")
        return (await self._message(self._calls_stream, wire.call_subject(self.arena, name), name))[0]

    async def _message(self, stream: str, subject: str, name: str) -> tuple[bytes, int]:
        """Return the last message of a subject, and the number of chunks of its object `name`."""
        give_up = anyio.current_time() + self._link.patience_s
        while True:
            try:
                msg = await self._link.request(f"$JS.API.DIRECT.GET.{stream}.{subject}")
            except TRANSIENT as error:
                if anyio.current_time() > give_up:
                    raise ObjectMissing(f"object {name} of arena {self.arena} cannot be read: {error}") from None
                await anyio.sleep(0.2)
                continue
            headers = msg.headers or {}
            if headers.get("Status") == "404":
                raise ObjectMissing(f"arena {self.arena} has no object {name}")
            if "Nats-Sequence" in headers:
                count = headers.get("Mesh-Chunks", "1")
                if not _COUNT.fullmatch(count):
                    raise ObjectMissing(f"object {name} of arena {self.arena} is damaged: it has {count[:40]!r} chunks")
                return msg.data, int(count)
            if anyio.current_time() > give_up:
                raise ObjectMissing(f"object {name} of arena {self.arena} cannot be read: {headers}")
            await anyio.sleep(0.2)
