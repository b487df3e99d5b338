"""The page when something ends: the server, the projector, a worker, or a client that never says so."""

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import psutil
import pytest

from analytics.sql_server import fold_and_answer
from mesh import settings
from mesh.events import NotePosted, RunStarted, WorkerJoined
from mesh.jetstream import connect
from mesh.server import EmbeddedServer, embedded
from mesh.web import connection
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.history import T1, request
from tests.support.page import web
from tests.test_cli import fill
from tests.test_roll_call import ANSWER
from tests.test_web import OpenLab, serving_lab

PATIENCE_S = 200


@pytest.fixture
def open_lab(home: Path, server: EmbeddedServer) -> OpenLab:
    return lambda: serving_lab(home, server)


class Visitor:
    """Asks a page until it says what is expected."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def state(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        state: dict[str, Any] = {}
        with anyio.move_on_after(PATIENCE_S):
            while not holds(state := (await self.http.get("/api/state")).json()):
                await anyio.sleep(0.1)
        assert holds(state), state
        return state

    async def ask(self, sql: str) -> httpx.Response:
        return await self.http.post("/api/sql", json={"sql": sql})


@asynccontextmanager
async def a_page(home: Path) -> AsyncIterator[Visitor]:
    """The page of the store in `home`, by the real command."""
    async with web(home, "", "tiny") as address, httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
        yield Visitor(http)


def nina(state: dict[str, Any]) -> tuple[str, int] | None:
    """State of the worker `nina`, and how many runs it executes."""
    return next(((row["state"], row["running"]) for row in state["workers"] if row["worker"] == "nina"), None)


@pytest.mark.timeout(600)
async def test_the_page_outlives_server_and_worker_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESH_NATS", raising=False)
    async with embedded(settings.server_dir(home), sync="1s") as server, AsyncExitStack() as stack:
        url = server.url
        await fill(home, server.url, write_arena(home.parent / "arena"))
        async with connect(server.url) as hub, anyio.create_task_group() as tasks:
            bus, ready = await hub.arena("tiny"), anyio.Event()
            tasks.start_soon(partial(fold_and_answer, hub, settings.database(home), on_ready=ready.set))
            await ready.wait()
            visitor = await stack.enter_async_context(a_page(home))
            words = [sys.executable, "-c", ANSWER.replace('"a"', '"tiny"'), server.url, "w9", "nina"]
            async with await anyio.open_process(words) as worker:
                joined = WorkerJoined(boot="w9", worker_class="cpu", device="cpu", slots=2, answers_by_name=True)
                for event in (joined, request("r9", T1, 9), RunStarted(run="r9", attempt=1, worker="w9")):
                    await bus.post(Post.new("nina", event))
                try:
                    state = await visitor.state(
                        lambda s: (nina(s), s["has_workers"], s["silent_since"]) == (("here", 1), True, None)
                    )
                finally:
                    worker.kill()
            waiting = state["counts"]["waiting"] + 1
            state = await visitor.state(lambda s: not s["has_workers"] and nina(s) == ("lost", 0))
            assert (state["counts"]["running"], state["counts"]["waiting"]) == (0, waiting)

            dots, notes = (await visitor.http.get("/api/dots")).json(), (await visitor.http.get("/api/board")).json()
            os.kill(server.address.pid, signal.SIGSTOP)
            silent = await visitor.state(lambda s: s["silent_since"] is not None)
            await anyio.sleep(6)  # longer than a command has patience
            assert silent["seq"] == state["seq"]
            assert (await visitor.http.get("/api/dots")).json() == dots
            assert (await visitor.http.get("/api/board")).json() == notes
            refused = await visitor.ask("SELECT 1")
            assert (refused.status_code, "does not answer since" in refused.json()["error"]) == (503, True)
            os.kill(server.address.pid, signal.SIGCONT)
            await visitor.state(lambda s: s["silent_since"] is None)
            seq = await bus.post(Post.new("ann", NotePosted(channel="general", text="back again")))
            await visitor.state(lambda s: s["as_of"] >= seq and not s["trouble"])

            tasks.cancel_scope.cancel()
        await server.stop()  # as when `mesh up` ends: the page serves the store itself, and is the projector
        async with connect(url, patience_s=200) as hub:
            alone = Post.new("ann", NotePosted(channel="general", text="alone"))
            seq = await (await hub.arena("tiny")).post(alone)
            await visitor.state(lambda s: s["as_of"] >= seq and not s["trouble"])
        assert (await visitor.ask("SELECT count(*) FROM board WHERE text = 'alone'")).json()["rows"] == [[1]]


async def is_dropped(stream: anyio.abc.ByteStream, say: Callable[[], Awaitable[None]] | None = None) -> bool:
    """Tell whether the server ends a connection within a few seconds, though the client goes on with `say`."""
    with anyio.move_on_after(100):
        while True:
            try:
                if say:
                    await say()
                with anyio.move_on_after(0.1):
                    await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return True
    return False


LOST = {
    "says nothing": b"",
    "never ends its headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-",
    "never ends its body": b"POST /api/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 500000\r\n\r\n{",
    "never ends its second request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX-",
}


@pytest.mark.parametrize("first", LOST.values(), ids=LOST)
async def test_who_never_asks_is_dropped(first: bytes, open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_lab() as lab:
        with monkeypatch.context() as impatient:
            impatient.setattr(connection, "REQUEST_S", 0.5)
            impatient.setattr(connection.Connection, "body_s", 0.5)
            async with await anyio.connect_tcp("127.0.0.1", lab.http.base_url.port or 0) as stream:
                await stream.send(first)

                async def trickle() -> None:
                    if first:
                        await stream.send(b"x")

                assert await is_dropped(stream, trickle)
        assert (await lab.http.get("/api/state")).status_code == 200


async def test_who_never_reads_is_dropped(open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", 0.5)
    async with open_lab() as lab:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", lab.http.base_url.port or 0))
            body = b'{"sql": "SELECT repeat(md5(range::VARCHAR), 3000) FROM range(150)"}'
            head = b"POST /api/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            client.sendall(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

            def is_held() -> bool:
                mine = psutil.Process().net_connections("tcp4")
                return any(one.raddr and one.raddr.port == client.getsockname()[1] for one in mine)

            for held in (True, False):
                with anyio.fail_after(60):
                    while is_held() is not held:
                        await anyio.sleep(0.1)
        assert (await lab.http.get("/api/state")).status_code == 200


async def test_a_flood_of_idle_connections_shuts_nobody_out(open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 600)  # none of them ends by itself
    async with open_lab() as lab:
        with ExitStack() as stack:
            for _ in range(connection.CONNECTIONS + 100):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", lab.http.base_url.port or 0))
                await anyio.lowlevel.checkpoint()
            async with httpx.AsyncClient(base_url=lab.http.base_url, timeout=100) as visitor:
                for _ in range(5):
                    assert (await visitor.get("/api/state")).status_code == 200


async def test_who_leaves_amid_a_request_leaves_no_trace(open_lab: OpenLab, caplog: pytest.LogCaptureFixture) -> None:
    async with open_lab() as lab:
        upgrade = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        for first in (*LOST.values(), b"\x16\x03\x01\x00 garbage\r\n\r\n", upgrade):
            async with await anyio.connect_tcp("127.0.0.1", lab.http.base_url.port or 0) as stream:
                await stream.send(first)
        assert (await lab.http.get("/api/state")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []
