"""The arenas of a server over one connection, and the objects beside their logs."""

import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec

from mesh import wire
from mesh.bus import LEASE_S, REQUESTS, WORKERS, HandedOut
from mesh.errors import BusRefused, BusUnavailable, ObjectMissing, UnknownName, leaf
from mesh.jetstream.cluster import copies_of
from mesh.jetstream.forbidden import no_right
from mesh.jetstream.grouped import GroupedObjects, Moved
from mesh.jetstream.link import Link
from mesh.jetstream.live import LiveTopics
from mesh.jetstream.log import StreamLog
from mesh.jetstream.objects import Absent, ObjectStream
from mesh.jetstream.queue import JetStreamDelivery, handed_out, make_queue, work
from mesh.jetstream.renewing import freshen, keep_renewed
from mesh.jetstream.streams import (
    CALLS,
    OBJECTS,
    calls_stream,
    groups_stream,
    log_stream,
    make_stream,
    objects_stream,
    restore_stream,
    stream_of,
)


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str = "mesh",
    patience_s: float = 15.0,
    outage_s: float | None = None,
    replicas: int | None = None,
    credentials: Path | None = None,
) -> AsyncIterator["JetStreamHub"]:
    """Connect to a NATS server and keep the connection alive while the block runs.

    Args:
        url: address of the server, or of several, separated by commas.
        name: name of this client, which the server shows in its log.
        patience_s: seconds to try to connect, and to try each operation.
        outage_s: seconds to try each operation, if not `patience_s`; of a cluster at least `CLUSTER_PATIENCE_S`.
        replicas: number of copies of a new stream; by default 3 where a cluster keeps it, else 1.
        credentials: file with credentials for the server.

    Raises:
        BadInput: the address or the credentials are not valid.
        BusUnavailable: no server answers.
        BusRefused: the server refuses this user, or has no JetStream.
        ServerTooOld: the server is too old.
    """
    is_member = await freshen(credentials)
    link = Link(url, name=name, patience_s=patience_s, outage_s=outage_s, replicas=replicas, credentials=credentials)
    await link.open()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.watch)
            if credentials and is_member:
                tasks.start_soon(keep_renewed, link, credentials)
            yield JetStreamHub(link)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    finally:
        await link.close()


class LogState(msgspec.Struct, frozen=True):
    """The size of an arena's log: its last sequence and its bytes, at a time of the server's clock.

    Where a cluster keeps it, `leader` is the server that leads, and `copies` says how the others are.
    """

    seq: int
    bytes: int
    at: dt.datetime | None
    leader: str = ""
    copies: Mapping[str, str] = {}


class JetStreamHub:
    """The arenas of a server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def link(self) -> Link:
        """The connection, for tests and benchmarks."""
        return self._link

    async def arenas(self) -> list[str]:
        if self._link.member:
            return [name for name in self._link.member.arenas if "error" not in await self._info(stream_of(name))]
        names: list[str] = []
        while True:
            answer = await self._link.call("$JS.API.STREAM.NAMES", {"offset": len(names)})
            page: list[str] = answer.get("streams") or []
            names += page
            if not page or len(names) >= int(answer.get("total", 0)):
                break
        mark, own = stream_of(""), stream_of(wire.HUB_LOG)
        return sorted(name.removeprefix(mark) for name in names if name.startswith(mark) and name != own)

    async def arena(self, name: str, *, create: bool = False) -> "JetStreamBus":
        wire.check_token("arena", name)
        member = self._link.member
        if member and name not in member.arenas:
            if name == wire.HUB_LOG:
                raise BusRefused(no_right(self._link.url, member, "see or change its members"))
            theirs = ", ".join(member.arenas)
            raise UnknownName(f"the credentials of {member.name} are not for arena {name!r} (they are for: {theirs})")
        if create and not member:
            await self._make(name)
        elif "error" in (found := await self._info(stream_of(name))):
            known = ", ".join(await self.arenas()) or "none yet"
            raise UnknownName(f"there is no arena {name!r} on {self._link.url} (there are: {known})")
        elif not member:
            await self._restore(name, found["config"])
        return JetStreamBus(self._link, name)

    async def _make(self, name: str) -> None:
        """Make all that an arena has on the server, for its members have no right to; restore what was changed."""
        for wanted in (log_stream(name), objects_stream(name)):
            await make_stream(self._link, wanted)
        if name != wire.HUB_LOG:
            await make_stream(self._link, groups_stream(name))
            with suppress(BusRefused):  # on a server without the room, models are asked all the same
                await make_stream(self._link, calls_stream(name))
            await make_queue(self._link, name, WORKERS, REQUESTS, LEASE_S)

    async def _restore(self, name: str, log: dict[str, Any]) -> None:
        """Restore what somebody has changed of an arena's streams, and make what an earlier version did not."""
        is_changed = await restore_stream(self._link, log, log_stream(name))

        async def look(wanted: dict[str, Any]) -> None:
            found = await self._info(wanted["name"])
            if "error" not in found:
                await restore_stream(self._link, found["config"], wanted)

        try:
            async with anyio.create_task_group() as tasks:
                for wanted in (objects_stream(name), groups_stream(name), calls_stream(name)):
                    tasks.start_soon(look, wanted)
        except BaseExceptionGroup as group:
            raise leaf(group) from None
        if is_changed:
            await self._make(name)

    async def _info(self, stream: str) -> dict[str, Any]:
        return await self._link.call(f"$JS.API.STREAM.INFO.{stream}", {})

    async def state(self, name: str) -> LogState:
        """Return the last sequence and the size of an arena's log.

        Raises:
            UnknownName: the arena has no log.
        """
        answer = await self._info(stream_of(name))
        if "error" in answer:
            raise UnknownName(f"there is no arena {name!r} on {self._link.url}")
        at = msgspec.convert(answer["ts"], dt.datetime) if answer.get("ts") else None
        return LogState(int(answer["state"]["last_seq"]), int(answer["state"]["bytes"]), at, *copies_of(answer))


class JetStreamBus(StreamLog, LiveTopics):
    """The log, live topics and objects of an arena; see `mesh.bus.ArenaBus`."""

    def __init__(self, link: Link, arena: str) -> None:
        StreamLog.__init__(self, link, arena)
        LiveTopics.__init__(self, link, arena)
        self._single = ObjectStream(link, arena, OBJECTS + arena, lambda name, n: wire.object_subject(arena, name, n))
        self._calls = ObjectStream(link, arena, CALLS + arena, lambda name, _: wire.call_subject(arena, name))
        self._grouped = GroupedObjects(link, arena, self._single)
        self._has_calls = link.member is not None  # whoever opens an arena makes what its members may not

    def work(
        self, queue: str, kinds: Sequence[str], *, lease_s: float = 5.0, first: Callable[[], str] | None = None
    ) -> AsyncGenerator[JetStreamDelivery]:
        return work(self._link, self.arena, queue, kinds, lease_s, first)

    async def handed_out(self, queue: str, kinds: Sequence[str]) -> dict[str, HandedOut]:
        return await handed_out(self._link, self.arena, queue, kinds)

    async def put(self, name: str, data: bytes) -> None:
        await self._single.put(wire.check_token("object name", name), data)

    async def get(self, name: str) -> bytes:
        try:
            return await self._single.get(wire.check_token("object name", name))
        except Absent:
            try:
                found = await self._grouped.find(name)
            except BusUnavailable as error:
                raise ObjectMissing(f"object {name} of arena {self.arena} cannot be read: {error}") from None
            if found is None:
                raise
            return found

    async def group(self, names: Iterable[str], *, settle_s: float = 0.0, only_count: bool = False) -> Moved:
        """Move objects into groups, from which `get` returns them like before; see `GroupedObjects.move`."""
        return await self._grouped.move(names, settle_s=settle_s, only_count=only_count)

    async def keep(self, name: str, data: bytes) -> None:
        wire.check_token("object name", name)
        if not self._has_calls:
            await make_stream(self._link, calls_stream(self.arena))
            self._has_calls = True
        await self._calls.put(name, data)

    async def kept(self, name: str) -> bytes:
        wire.check_token("object name", name)
        if not await self._calls.exists():
            raise ObjectMissing(f"arena {self.arena} has no object {name}")
        return await self._calls.get(name)
