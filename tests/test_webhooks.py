"""Webhooks, against receivers that misbehave: signed, in order, at least once, and never to a private address."""

import asyncio
import base64
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from gateway.webhooks.delivery import HookDelivery, run_hooks
from gateway.webhooks.hooks_file import Hook
from gateway.webhooks.public_address import checked_address, is_public
from gateway.webhooks.signing import MAX_WEBHOOK_BYTES, body_of, signature
from mesh.bus import ArenaBus
from mesh.errors import BadInput
from mesh.events import NotePosted
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from mesh.wire import Post
from tests.conftest import OpenBus
from tests.support.hub import gateway
from tests.test_hooks_file import KEY, WHOLE, written

OK, PAUSE = b"HTTP/1.1 204 No Content\r\n\r\n", 0.02

Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


class Receiver:
    """A server that notes what it was sent, and answers as the test says; it is told how many came before."""

    def __init__(self, answer: Answer) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            self.raw.append(body)
            self.headers.append(headers)
            self.bodies.append(msgspec.json.decode(body))
            await self._answer(writer, len(self.bodies) - 1)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    @property
    def texts(self) -> list[str]:
        return [body["data"]["post"]["event"]["text"] for body in self.bodies]

    @property
    def ids(self) -> list[tuple[str, int]]:
        return [(body["data"]["arena"], body["data"]["seq"]) for body in self.bodies]

    async def has(self, count: int) -> None:
        with anyio.fail_after(100):
            while len(self.bodies) < count:
                await anyio.sleep(0.01)


async def ok(writer: asyncio.StreamWriter, _: int) -> None:
    writer.write(OK)


@asynccontextmanager
async def receiver(answer: Answer = ok, tls: Any = None) -> AsyncIterator[tuple[Receiver, str]]:
    found = Receiver(answer)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield found, f"{'https' if tls else 'http'}://localhost:{port}/in?x=1"
    finally:
        server.close()


def hook(url: str, *kinds: str, ca: Path | None = None) -> Hook:
    return Hook(name="chat", url=url, key=KEY, kinds=kinds or ("note.posted",), arenas=(), headers={"x-a": "b"}, ca=ca)


async def note(bus: ArenaBus, text: str) -> int:
    return await bus.post(Post.new("ann", NotePosted(channel="general", text=text)))


@asynccontextmanager
async def delivering(bus: ArenaBus, to: Hook, folder: Path, *, private: bool = True) -> AsyncIterator[list[str]]:
    """Deliver to one hook beside the block; yields what was said."""
    said: list[str] = []
    follower = Follower(bus)
    await follower.catch_up()
    delivery = HookDelivery(to, bus, follower, folder, said.append, private=private, pauses=[PAUSE] * 4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.follow)
        tasks.start_soon(run_hooks, [delivery])
        with anyio.fail_after(100):
            while not list(folder.glob("chat.*.json")):  # the cursor: from here on, everything is sent
                await anyio.sleep(0.01)
        yield said
        tasks.cancel_scope.cancel()


async def test_facts_arrive_signed_and_in_order(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus() as bus, receiver() as (got, url):
        await note(bus, "before the hook was there")
        async with delivering(bus, hook(url), tmp_path):
            seqs = [await note(bus, f"note {n}") for n in range(20)]
            await got.has(20)
    assert got.texts == [f"note {n}" for n in range(20)]
    assert [body["type"] for body in got.bodies] == ["note.posted"] * 20
    assert [body["data"]["seq"] for body in got.bodies] == seqs
    for raw, headers, seq in zip(got.raw, got.headers, seqs, strict=True):
        assert headers["webhook-id"] == f"{bus.arena}.{seq}"
        second = headers["webhook-timestamp"]
        assert headers["webhook-signature"] == signature(KEY, headers["webhook-id"], second, raw).lower()
        assert (headers["x-a"], headers["content-type"]) == ("b", "application/json")
        assert headers["host"] == url.split("/")[2]


def test_the_signature_is_the_one_of_the_standards_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def fails_twice(writer: asyncio.StreamWriter, before: int) -> None:
    writer.write(b"HTTP/1.1 500 Oops\r\n\r\n" if before < 2 else OK)


async def hangs_up(writer: asyncio.StreamWriter, before: int) -> None:
    writer.write(b"HTT" if before < 2 else OK)


async def moves(writer: asyncio.StreamWriter, before: int) -> None:
    writer.write(b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n" if before < 2 else OK)


async def nonsense(writer: asyncio.StreamWriter, before: int) -> None:
    writer.write(b"\xff\x00 hello\r\n\r\n" if before < 2 else OK)


async def busy(writer: asyncio.StreamWriter, before: int) -> None:
    writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: nonsense\r\n\r\n" if before < 2 else OK)


@pytest.mark.parametrize("answer", [fails_twice, hangs_up, moves, nonsense, busy])
async def test_a_fact_is_sent_again_until_it_is_taken_and_the_next_ones_wait(
    answer: Answer, open_bus: OpenBus, tmp_path: Path
) -> None:
    async with open_bus() as bus, receiver(answer) as (got, url), delivering(bus, hook(url), tmp_path) as said:
        for text in ("one", "two"):
            await note(bus, text)
        await got.has(4)
    assert got.texts == ["one", "one", "one", "two"]
    assert len({headers["webhook-id"] for headers in got.headers[:3]}) == 1
    assert ["was not taken" in line for line in said] == [True, True]


async def test_an_answer_without_an_end_is_not_read(open_bus: OpenBus, tmp_path: Path) -> None:
    async def endless(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with open_bus() as bus, receiver(endless) as (got, url), delivering(bus, hook(url), tmp_path):
        for text in ("one", "two"):
            await note(bus, text)
        await got.has(2)
    assert got.texts == ["one", "two"]


async def test_a_receiver_that_never_takes_it_is_switched_off_and_goes_on_there_later(
    open_bus: OpenBus, tmp_path: Path
) -> None:
    async def broken(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(b"HTTP/1.1 404 No\r\n\r\n")

    notes: list[str] = []
    async with open_bus() as bus:
        async with receiver(broken) as (got, url), delivering(bus, hook(url), tmp_path) as said:
            seq = await note(bus, "one")
            await note(bus, "two")
            with anyio.fail_after(100):
                while not any("switched off" in line for line in said) or await bus.head() < seq + 2:
                    await anyio.sleep(0.01)
        assert got.texts == ["one"] * 5
        async for batch in bus.read(seq + 1):
            events = [entry.post.event for entry in batch if entry.post]
            notes += [event.text for event in events if isinstance(event, NotePosted)]
        assert "The webhook chat is switched off" in notes[0]
        assert ("404" in notes[0], "localhost" in notes[0]) == (True, False)
        port = int(url.split(":")[2].split("/")[0])
        again = Receiver(ok)
        server = await asyncio.start_server(again.serve, "127.0.0.1", port)
        async with delivering(bus, hook(url), tmp_path):
            await again.has(3)
        server.close()
        assert again.texts[:2] == ["one", "two"]


async def test_a_receiver_that_wants_no_more_is_asked_once(open_bus: OpenBus, tmp_path: Path) -> None:
    async def gone(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(b"HTTP/1.1 410 Gone\r\n\r\n")

    async with open_bus() as bus, receiver(gone) as (got, url), delivering(bus, hook(url), tmp_path) as said:
        seq = await note(bus, "one")
        with anyio.fail_after(100):
            while await bus.head() == seq:
                await anyio.sleep(0.01)
    assert (len(got.bodies), "switched off" in said[0]) == (1, True)


async def test_what_was_taken_before_a_stop_does_not_come_again_and_what_came_since_does(
    open_bus: OpenBus, tmp_path: Path
) -> None:
    async with open_bus() as bus, receiver() as (got, url):
        async with delivering(bus, hook(url), tmp_path):
            await note(bus, "one")
            await got.has(1)
            with anyio.fail_after(100):
                while msgspec.json.decode(next(tmp_path.glob("chat.*.json")).read_bytes())["seq"] < await bus.head():
                    await anyio.sleep(0.01)
        await note(bus, "two")
        async with delivering(bus, hook(url), tmp_path):
            await note(bus, "three")
            await got.has(3)
    assert got.texts == ["one", "two", "three"]


async def test_a_cursor_that_was_cut_off_or_is_of_another_log_starts_at_the_head(
    open_bus: OpenBus, tmp_path: Path
) -> None:
    async with open_bus() as bus, receiver() as (got, url):
        await note(bus, "old")
        file = tmp_path / f"chat.{bus.arena}.json"
        for content in (b'{"log": "', b'{"log":"other","url":"x","seq":0}', b"\xff"):
            file.write_bytes(content)
            async with delivering(bus, hook(url), tmp_path):
                before, had = content, len(got.bodies)
                with anyio.fail_after(100):
                    while file.read_bytes() == before:
                        await anyio.sleep(0.01)
                await note(bus, f"new {had}")
                await got.has(had + 1)
    assert got.texts == ["new 0", "new 1", "new 2"]


async def test_a_private_address_is_never_reached(open_bus: OpenBus, tmp_path: Path) -> None:
    async with (
        open_bus() as bus,
        receiver() as (got, url),
        delivering(bus, hook(url), tmp_path, private=False) as said,
    ):
        await note(bus, "one")
        with anyio.fail_after(100):
            while not any("switched off" in line for line in said):
                await anyio.sleep(0.01)
    assert not got.bodies
    assert "not public; give --allow-private" in said[0]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:db8::1",
     "fec0::1", "feff::1", "::127.0.0.1", "::10.1.2.3", "nonsense"],
)  # fmt: skip
def test_an_address_that_is_not_of_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_an_checked_address_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "::1"])
async def test_each_spelling_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises((BadInput, OSError)):
        await checked_address(host, 80)


def certificates(folder: Path) -> Path:
    """Make a certificate for localhost, as an operator would; return it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem"


async def test_a_receiver_with_tls_is_known_by_its_certificate_and_its_name(open_bus: OpenBus, tmp_path: Path) -> None:
    cert = certificates(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, tmp_path / "key.pem")
    known, strange, other = (tmp_path / name for name in ("known", "strange", "other"))
    for folder in (known, strange, other):
        folder.mkdir()
    async with open_bus() as bus, receiver(tls=tls) as (got, url):
        async with delivering(bus, hook(url, ca=cert), known):
            await note(bus, "one")
            await got.has(1)
        for folder, to in ((strange, hook(url)), (other, hook(url.replace("localhost", "127.0.0.1"), ca=cert))):
            async with delivering(bus, to, folder) as said:
                await note(bus, "two")
                with anyio.fail_after(100):
                    while not said:
                        await anyio.sleep(0.01)
            assert "CERTIFICATE_VERIFY_FAILED" in said[0]
    assert got.texts == ["one"]


async def test_a_fact_that_is_too_large_comes_without_its_post(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        seq = await note(bus, "\n" * (MAX_WEBHOOK_BYTES // 2 - 500))
        [entry] = await bus.entries([seq])
    body = body_of(bus.arena, entry)
    assert len(body) < MAX_WEBHOOK_BYTES
    huge = msgspec.structs.replace(entry, post=None, raw=b"\x00" * MAX_WEBHOOK_BYTES)
    found = msgspec.json.decode(body_of(bus.arena, huge))
    assert (found["data"]["post"], found["data"]["too_large"], found["data"]["seq"]) == (None, True, seq)


async def test_a_gateway_that_is_killed_leaves_nothing_out(home: Path, server: EmbeddedServer, tmp_path: Path) -> None:
    async with connect(server.url) as hub, receiver() as (got, url):
        bus = await hub.arena("a", create=True)
        file = written(tmp_path, WHOLE.replace("https://example.org/in", url) + 'kinds = ["note.posted"]\n')
        words = ("--hooks", str(file), "--allow-private")
        for number in range(4):
            async with gateway(home, server.url, *words) as running:
                with anyio.fail_after(60):
                    while not (home / "webhooks" / "chat.a.json").exists():
                        await anyio.sleep(0.01)
                for _ in range(10):
                    await note(bus, f"{number}")
                await got.has(10 * number + 3)
                running.process.kill()
            await note(bus, "while nobody sends")
        async with gateway(home, server.url, *words):
            late = await hub.arena("late", create=True)
            await note(late, "in an arena that came later")
            head = await bus.head()
            with anyio.fail_after(60):
                while not {("a", head), ("late", 1)} <= set(got.ids):
                    await anyio.sleep(0.01)
    seqs = [seq for arena, seq in got.ids if arena == "a"]
    assert sorted(set(seqs)) == list(range(1, head + 1))
    assert [each for place, each in enumerate(seqs) if each not in seqs[:place]] == sorted(set(seqs))


async def test_a_gateway_refuses_hooks_without_tls_in_one_sentence(home: Path, tmp_path: Path) -> None:
    file = written(tmp_path, WHOLE.replace("https", "http"))
    command = [sys.executable, "-m", "mesh_cli", "gateway", "--listen", "127.0.0.1:0", "--hooks", str(file)]
    done = await anyio.run_process(command, check=False, env={**os.environ, "MESH_HOME": str(home)})
    assert (done.returncode, b"use https://HOST/PATH (http only with --allow-private)" in done.stderr) == (2, True)
    assert b"Traceback" not in done.stderr
