"""The connection heals whatever breaks it, and what cannot be healed is one sentence."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import anyio
import anyio.abc
import pytest
from nats.aio.msg import Msg

from mesh import wire
from mesh.errors import BadInput, BusRefused, BusUnavailable, ServerTooOld
from mesh.events import NotePosted, RunRequested
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.jetstream.member import MemberCredentials
from mesh.jetstream.queue import make_queue
from mesh.server import EmbeddedServer, embedded, find_binary
from mesh.testing import git_hash
from mesh.wire import Post

OLD = b'INFO {"server_id":"X","version":"2.10.25","headers":true,"max_payload":1048576,"jetstream":true}\r\n'
Break = Callable[[JetStreamHub, EmbeddedServer], Awaitable[None]]
Handler = Callable[[anyio.abc.SocketStream], Awaitable[None]]


def note(text: str) -> Post:
    return Post.new("ann", NotePosted(channel="general", text=text))


def request(run: str) -> Post:
    event = RunRequested(
        run=run, lane="explore", proposal=git_hash("p"), commit=git_hash("c"), seed=1, budget_s=1, deadline_s=2
    )
    return Post.new("curator", event)


async def deaden(hub: JetStreamHub, _: EmbeddedServer) -> None:
    """End the client's read loop: it looks connected and hears nothing."""
    cast("asyncio.Task[None]", hub.link.nc._reading_task).cancel()


async def close_for_good(hub: JetStreamHub, _: EmbeddedServer) -> None:
    """Do what nats-py does when a server says `Slow Consumer`."""
    await hub.link.nc._process_err("'slow consumer'")


async def forget_to_reconnect(hub: JetStreamHub, server: EmbeddedServer) -> None:
    """Take the server away and end the client's attempts to find it again."""
    os.kill(server.address.pid, signal.SIGKILL)
    while not hub.link.nc.is_reconnecting:
        await anyio.sleep(0.01)
    cast("asyncio.Task[None]", hub.link.nc._reconnection_task).cancel()


async def kill(_: JetStreamHub, server: EmbeddedServer) -> None:
    os.kill(server.address.pid, signal.SIGKILL)


async def freeze(_: JetStreamHub, server: EmbeddedServer) -> None:
    """Stop the server's process for longer than an answer may take, with all sockets open."""
    os.kill(server.address.pid, signal.SIGSTOP)
    await anyio.sleep(4)
    os.kill(server.address.pid, signal.SIGCONT)


async def all_of(bus: JetStreamBus) -> list[tuple[int, Post | None]]:
    async with aclosing(bus.read()) as batches:
        return [(entry.seq, entry.post) async for batch in batches for entry in batch]


async def test_readers_workers_hearers_and_services_go_on_whatever_breaks(tmp_path: Path) -> None:
    with anyio.fail_after(250):
        async with anyio.create_task_group() as tasks:
            for trouble in (deaden, close_for_good, forget_to_reconnect, kill, freeze):
                tasks.start_soon(outlive, trouble, tmp_path / trouble.__name__)


async def outlive(trouble: Break, folder: Path, member: MemberCredentials | None = None) -> None:
    """Read, work, hear and answer before and after `trouble`; nothing is lost, what is read comes in order and once."""
    read: list[int] = []
    worked: list[str] = []
    heard = anyio.Event()
    async with embedded(folder) as server, connect(server.url) as hub, connect(server.url) as healthy:
        bus = await hub.arena("a", create=True)
        other = await healthy.arena("a")
        if member:
            await make_queue(healthy.link, "a", "workers", ["run.requested"], 1)
            hub.link.member = member

        async def follow() -> None:
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    read.extend(entry.seq for entry in batch)
                    if len(read) == 40:
                        return

        async def work() -> None:
            async with aclosing(bus.work("workers", ["run.requested"], lease_s=1)) as jobs:
                async for job in jobs:
                    worked.append(job.entry.subject.key)
                    with suppress(BusUnavailable):  # a server that is long in coming back: the job comes again
                        await job.done()
                    if len(set(worked)) == 20:
                        return

        async def hear() -> None:
            async with aclosing(bus.hear("curve.>")) as messages:
                async for _, data in messages:
                    if data == b"after":
                        heard.set()
                        return

        async def echo(question: bytes) -> bytes:
            return question

        async def two_rounds() -> None:
            await other.post_all([*(request(f"r{n}") for n in range(10)), *(note(str(n)) for n in range(10))])
            while len(read) < 20 or len(worked) < 10:
                await anyio.sleep(0.01)
            await trouble(hub, server)
            await other.post_all([*(request(f"r{n}") for n in range(10, 20)), *(note(str(n)) for n in range(10, 20))])
            while not heard.is_set():
                await other.tell("curve.r", b"after")
                await anyio.sleep(0.05)
            while True:
                with suppress(BusUnavailable):
                    assert await other.ask("echo", b"after", timeout_s=0.5) == b"after"
                    return

        with anyio.fail_after(200):
            async with anyio.create_task_group() as service:
                service.start_soon(bus.answer, "echo", echo)
                async with anyio.create_task_group() as tasks:
                    for task in (follow, work, hear, two_rounds):
                        tasks.start_soon(task)
                service.cancel_scope.cancel()
            assert await bus.post(note("last")) == 41
    assert (trouble, read) == (trouble, list(range(1, 41)))
    assert (trouble, set(worked)) == (trouble, {f"explore.r{n}" for n in range(20)})


async def test_posts_in_flight_while_the_server_is_killed_twice_are_each_on_the_log_once(tmp_path: Path) -> None:
    posts = [note(str(n)) for n in range(4000)]
    async with embedded(tmp_path) as server, connect(server.url) as hub, connect(server.url) as watcher:
        bus = await hub.arena("a", create=True)
        log = await watcher.arena("a")
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:

                async def kill_at(seqs: list[int]) -> None:
                    for starts, seq in enumerate(seqs, 2):
                        while await log.head() < seq:
                            pass
                        os.kill(server.address.pid, signal.SIGKILL)
                        while server.starts < starts:
                            await anyio.sleep(0.01)

                tasks.start_soon(kill_at, [500, 2000])
                results = await bus.post_all(posts)
            assert server.starts == 3
            logged = await all_of(bus)
    assert sorted(str(post.id) for _, post in logged if post) == sorted(post.id for post in posts)
    assert dict(logged) == dict(zip(results, posts, strict=True))


async def test_one_post_after_another_goes_on_while_the_server_is_killed(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server, connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        with anyio.fail_after(60):
            posts = [note(str(n)) for n in range(30)]
            seqs = []
            for number, post in enumerate(posts):
                if number in (10, 20):
                    os.kill(server.address.pid, signal.SIGKILL)
                seqs.append(await bus.post(post))
            assert seqs == list(range(1, 31))
            assert await all_of(bus) == list(zip(seqs, posts, strict=True))


def alter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, more: str = "", jetstream: str = "", shell: str = ""
) -> None:
    """Have the embedded server run with `more` configuration, `jetstream` limits, after `shell` commands."""
    program = folder / "altered-nats-server"
    lines = [
        "#!/bin/sh",
        f"cat >> \"$2\" <<'END'\n{more}\nEND",
        f"sed -i 's/^  sync_interval/  {jetstream}\\n  sync_interval/' \"$2\"",
        shell,
        f'exec {find_binary()} "$@"',
    ]
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    monkeypatch.setenv("MESH_NATS_SERVER", str(program))


@pytest.mark.parametrize(
    ("jetstream", "shell", "why"),
    [
        ("max_file_store: 1MB", "", "^the NATS server at .* refuses mesh.a.note.posted.* its store is full"),
        # What a full disk is to the server: a write that fails in the middle of a file.
        ("", "ulimit -f 2000", "^no NATS server at .* accepted mesh.a.note.posted.* its disk .* full, see its log"),
    ],
)
async def test_a_full_disk_fails_the_post_in_one_sentence_and_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jetstream: str, shell: str, why: str
) -> None:
    posts = [Post.new("ann", NotePosted(channel="general", text=f"{n} {'x' * 100_000}")) for n in range(50)]
    acknowledged: list[tuple[int, Post | None]] = []
    with anyio.fail_after(200):
        with monkeypatch.context() as small:
            alter(tmp_path, small, jetstream=jetstream, shell=shell)
            async with embedded(tmp_path / "server") as server, connect(server.url, patience_s=6) as hub:
                bus = await hub.arena("a", create=True)

                async def fill() -> None:
                    for post in posts:
                        seq = await bus.post(post)
                        acknowledged.append((seq, post))

                with pytest.raises((BusRefused, BusUnavailable), match=why):
                    await fill()
                assert len(acknowledged) > 5
                assert await all_of(bus) == acknowledged
        async with embedded(tmp_path / "server") as server, connect(server.url) as hub:
            bus = await hub.arena("a")
            assert await all_of(bus) == acknowledged
            assert await bus.post(note("there is room again")) == len(acknowledged) + 1


@pytest.mark.parametrize("user", ["", "eve:guess@"])
async def test_a_user_that_is_not_let_in_is_told_at_once_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    alter(tmp_path, monkeypatch, more="authorization { user: ann, password: secret }")
    with anyio.fail_after(60):
        async with embedded(tmp_path / "server") as server:
            with anyio.fail_after(20), pytest.raises(BusRefused) as refused:
                await opened(server.url.replace("//", f"//{user}"), patience_s=60)
            assert str(refused.value) == f"the NATS server at {server.url} refuses this user: check the credentials"
            async with connect(server.url.replace("//", "//ann:secret@")) as hub:
                assert await hub.arenas() == []


async def test_what_a_permission_forbids_is_refused_at_once_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = 'publish: { deny: ["mesh.*.note.>", "$JS.API.CONSUMER.CREATE.MESH_a.>"] }'
    users = f"{{ user: op, password: op }}, {{ user: ann, password: ann, permissions: {{ {allowed} }} }}"
    alter(tmp_path, monkeypatch, more=f"authorization {{ users: [ {users} ] }}")
    with anyio.fail_after(60):
        async with embedded(tmp_path / "server") as server:
            async with connect(server.url.replace("//", "//op:op@")) as hub:
                await hub.arena("a", create=True)
            async with connect(server.url.replace("//", "//ann:ann@"), patience_s=60) as hub:
                bus = await hub.arena("a")
                post = note("hello")
                subject = f"mesh.a.note.posted.{post.id}.ann"
                with anyio.fail_after(20), pytest.raises(BusRefused) as refused:
                    await bus.post(post)
                assert str(refused.value).startswith(f"the NATS server at {server.url} refuses {subject}: nats: perm")
                assert await bus.post(request("r1")) == 1
                with pytest.raises(BusRefused, match="permissions violation for publish"), anyio.fail_after(20):
                    await bus.post_all([request("r2"), note("hello")])
                assert await bus.head() == 2
                with pytest.raises(BusRefused, match=r"refuses \$JS.API.CONSUMER.CREATE.MESH_a"):
                    await all_of(bus)


async def test_a_server_without_jetstream_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alter(tmp_path, monkeypatch, shell="sed -i '/^jetstream {/,/^}/d' \"$2\"")
    async with embedded(tmp_path / "server") as server:
        with anyio.fail_after(30), pytest.raises(BusRefused, match=r"has no JetStream: start it with -js$"):
            await opened(server.url, patience_s=60)


async def test_a_server_that_is_too_old_is_refused() -> None:
    async def old(stream: anyio.abc.SocketStream) -> None:
        await stream.send(OLD)
        while b"PING" not in await stream.receive():
            pass
        await stream.send(b"PONG\r\n")
        async for data in stream:
            await stream.send(b"PONG\r\n" * data.count(b"PING\r\n"))

    async with listening(old) as url:
        with anyio.fail_after(30), pytest.raises(ServerTooOld) as refused:
            await opened(url, patience_s=60)
    assert str(refused.value) == f"the NATS server at {url} has version 2.10.25; use 2.12 or later"


async def silent(stream: anyio.abc.SocketStream) -> None:
    """Take a connection and say nothing."""
    with suppress(anyio.EndOfStream):
        await stream.receive()


async def closing(stream: anyio.abc.SocketStream) -> None:
    """Take a connection and close it."""


async def babbling(stream: anyio.abc.SocketStream) -> None:
    """Be a server of another kind."""
    await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("handler", [silent, closing, babbling])
async def test_what_is_no_nats_server_is_not_available(handler: Handler) -> None:
    async with listening(handler) as url:
        with (
            anyio.fail_after(60),
            pytest.raises(BusUnavailable, match=f"^no NATS server answers at {url} within 1 s: "),
        ):
            await opened(url)


async def test_where_nothing_listens_no_server_is_available() -> None:
    async with listening(silent) as url:
        pass
    with anyio.fail_after(60), pytest.raises(BusUnavailable) as refused:
        await opened(url.replace("//", "//ann:secret@"))
    assert str(refused.value) == (
        f"no NATS server answers at {url} within 1 s: start one with `mesh up`, or name another with --nats"
    )


@pytest.mark.parametrize(
    "url", ["", "nats://", "http://127.0.0.1:80", "127.0.0.1:port", "nats://h:99999", "nats://a,b:x"]
)
async def test_what_is_no_address_is_bad_input(url: str) -> None:
    with pytest.raises(BadInput, match=r"is not a valid address of a NATS server: use nats://HOST:PORT$"):
        await opened(url)


async def test_of_several_servers_one_that_answers_is_enough(server: EmbeddedServer) -> None:
    async with listening(closing) as url:
        pass
    with anyio.fail_after(60):
        async with connect(f"{url}, {server.url}") as hub:
            assert await hub.arenas() == []


async def opened(url: str, *, patience_s: float = 1) -> None:
    async with connect(url, patience_s=patience_s):
        pass


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    """Serve a free port with `handler`; yields its URL."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            async with stream:
                await handler(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"nats://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


async def test_an_answer_that_lost_a_part_is_no_answer(server: EmbeddedServer) -> None:
    async with connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        heard = anyio.Event()

        async def lose(question: Msg) -> None:
            """Send all parts of an answer but the second, as a client that falls behind sees it."""
            await hub.link.nc.publish(question.reply, b"xxx")
            await hub.link.nc.publish(question.reply, b"xxx", headers={"Mesh-Last": "1", "Mesh-Length": "9"})
            heard.set()

        await hub.link.nc.subscribe(wire.live_subject("a", "sql"), cb=lose)
        with pytest.raises(BusUnavailable, match="6 of the 9 bytes"):
            await bus.ask("sql", b"")
        assert heard.is_set()


async def test_a_reader_ends_where_a_damaged_store_lacks_the_last_entries(server: EmbeddedServer) -> None:
    async with connect(server.url) as hub:
        config = {"name": "MESH_a", "subjects": [wire.arena_filter("a")], "allow_direct": True}
        await hub.link.call("$JS.API.STREAM.CREATE.MESH_a", config)
        bus = JetStreamBus(hub.link, "a")
        for text in ("one", "two", "three"):
            await bus.post(note(text))
        for seq in (2, 3):
            answer = await hub.link.call("$JS.API.STREAM.MSG.DELETE.MESH_a", {"seq": seq})
            assert answer.get("success"), answer
        assert await bus.head() == 3
        with anyio.fail_after(60):
            assert [entry.seq async for batch in bus.read() for entry in batch] == [1]
