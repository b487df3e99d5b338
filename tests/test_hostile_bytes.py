"""A member chooses the bytes of subjects and headers: no choice ends a connection, or closes the log to its readers."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from nats.aio.client import Client

from mesh import wire
from mesh.bus import WORKERS
from mesh.events import NotePosted
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.wire import Entry, Pattern, Post
from tests.support.member_hub import member_hub
from tests.test_bus import note, request

HEADERS = {
    "a line that is cut off": b"NATS/1.0",
    "a line that ends in a space": b"NATS/1.0 ",
    "a line that ends in half": b"NATS/1.0\r",
    "one byte": b"N",
    "no headers": b"junk",
    "another protocol": b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n",
    "all bytes": bytes(range(1, 200)),
    "lines of another kind": b"NATS/1.0\nNats-Sequence: 99\n\n",
    "a status of the server": b"NATS/1.0 503\r\n\r\n",
    "a status that is no text": b"NATS/1.0 503 \xff\xfe\r\nA: b\r\n\r\n",
    "a header that names a status": b"NATS/1.0\r\nStatus: 503\r\n\r\n",
    "a header that says that there is nothing": b"NATS/1.0\r\nStatus: 404\r\n\r\n",
}
KEYS = {"no text": b"\xff\xfe", "a tab": b"a\x0bb", "a new page": b"a\x0cb", "a NUL": b"a\x00b", "a control": b"\x85"}


class Three(NamedTuple):
    """The hub's own connection and bus, that of a member, and a client that sends bytes as it likes."""

    owner: JetStreamHub
    ours: JetStreamBus
    theirs: JetStreamBus
    mallory: Client


@asynccontextmanager
async def three(folder: Path, role: str) -> AsyncIterator[Three]:
    with member_hub(folder) as hub:
        async with (
            connect(hub.url, credentials=hub.owner) as owner,
            connect(hub.url, credentials=hub.member("worker", "gpu7"), patience_s=15) as member,
            connect(hub.url, credentials=hub.member(role, "mallory")) as other,
        ):
            ours = await owner.arena("a", create=True)
            yield Three(owner, ours, await member.arena("a"), other.link.nc)


async def send(nc: Client, subject: bytes, data: bytes, headers: bytes = b"") -> None:
    """Publish with the bytes of these headers, or without headers."""
    sizes = b"%d %d" % (len(headers), len(headers) + len(data)) if headers else b"%d" % len(data)
    await nc._send_command(b"%bPUB %b %b\r\n%b%b\r\n" % (b"H" if headers else b"", subject, sizes, headers, data))
    await nc._flush_pending()
    await nc.flush()


async def until_stored(bus: JetStreamBus, count: int) -> None:
    """Wait until the log has so many entries: a message that the server has received it may not have stored yet."""
    with anyio.fail_after(150):
        while await bus.head() < count:
            await anyio.sleep(0.01)


async def all_of(bus: JetStreamBus, *only: Pattern) -> list[Entry]:
    async with aclosing(bus.read(only=only)) as batches:
        return [entry async for batch in batches for entry in batch]


async def everybody_reads(found: Three, count: int) -> None:
    """Read in all ways as the hub and as a member: they find the same entries, and no connection is made again."""
    expected = list(range(1, count + 1))
    notes: list[list[tuple[int, bytes]]] = []
    for bus in (found.ours, found.theirs):
        with anyio.fail_after(150):
            assert [entry.seq for entry in await all_of(bus)] == expected
            assert [entry.seq for entry in await bus.entries(expected)] == expected
            notes.append([(entry.seq, entry.raw) for entry in await all_of(bus, Pattern(kind="note.posted"))])
    assert notes[0] == notes[1]
    assert len(notes[0]) == count
    assert found.owner.link.heals == 0


async def followed(bus: JetStreamBus, last: int, act: Callable[[], Coroutine[Any, Any, None]]) -> list[int]:
    """Return the sequences that a follower hears, up to `last`, while something is done."""
    heard: list[int] = []

    async def listen() -> None:
        async with aclosing(bus.read(follow=True)) as batches:
            async for batch in batches:
                heard.extend(entry.seq for entry in batch)
                if heard[-1] >= last:
                    return

    with anyio.fail_after(150):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await act()
    return heard


@pytest.mark.parametrize("what", HEADERS)
async def test_no_header_closes_the_log_to_its_readers(tmp_path: Path, what: str) -> None:
    async with three(tmp_path, "agent") as found:
        await found.ours.post(note("before"))
        post = Post.new("mallory", NotePosted(channel="general", text="evil"))

        async def act() -> None:
            await send(found.mallory, wire.subject_of("a", post).encode(), wire.encode(post), HEADERS[what])
            await until_stored(found.ours, 2)
            await found.ours.post(note("after"))

        assert await followed(found.theirs, 3, act) == [1, 2, 3]
        await everybody_reads(found, 3)


@pytest.mark.parametrize("what", KEYS)
async def test_no_subject_closes_the_log_to_its_readers(tmp_path: Path, what: str) -> None:
    async with three(tmp_path, "agent") as found:
        await found.ours.post(note("before"))

        async def act() -> None:
            await send(found.mallory, b"mesh.a.note.posted.%b.mallory" % KEYS[what], b"{}")
            await until_stored(found.ours, 2)
            await found.ours.post(note("after"))

        assert await followed(found.theirs, 3, act) == [1, 2, 3]
        await everybody_reads(found, 3)
        assert [entry.post is None for entry in await all_of(found.ours)] == [False, True, False]


async def test_no_request_of_a_curator_ends_the_worker_that_takes_it(tmp_path: Path) -> None:
    async with three(tmp_path, "curator") as found:
        for number, headers in enumerate(HEADERS.values()):
            await send(found.mallory, b"mesh.a.run.requested.explore.r%d.mallory" % number, b"{}", headers)
        for number, key in enumerate(KEYS.values()):
            await send(found.mallory, b"mesh.a.run.requested.explore.%b%d.mallory" % (key, number), b"{}")
        await until_stored(found.ours, len(HEADERS) + len(KEYS))  # what another connection posts may overtake it
        await found.ours.post(request("last"))
        with anyio.fail_after(150):
            async with aclosing(found.theirs.work(WORKERS, ["run.requested.explore"])) as deliveries:
                async for delivery in deliveries:
                    await delivery.done()
                    if delivery.entry.post is not None:
                        break
        assert delivery.entry.seq == len(HEADERS) + len(KEYS) + 1
        assert found.owner.link.heals == 0


async def test_no_curve_ends_who_hears_it(tmp_path: Path) -> None:
    async with three(tmp_path, "worker") as found:
        heard: list[tuple[str, bytes]] = []

        async def listen() -> None:
            async with aclosing(found.ours.hear("curve.>")) as curves:
                async for topic, data in curves:
                    heard.append((topic, data))
                    if data == b"last":
                        return

        with anyio.fail_after(150):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await anyio.wait_all_tasks_blocked()
                await found.owner.link.nc.flush()
                for headers in HEADERS.values():
                    await send(found.mallory, b"live.a.curve.r1.mallory", b"{}", headers)
                for key in KEYS.values():
                    await send(found.mallory, b"live.a.curve.%b.mallory" % key, b"{}")
                await send(found.mallory, b"live.a.curve.r1.mallory", b"last")
        assert len(heard) == len(HEADERS) + len(KEYS) + 1
        assert found.owner.link.heals == 0
