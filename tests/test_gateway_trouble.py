"""A gateway among trouble: a server that dies, hosts and origins of others, slow clients, https, a closed arena."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest

from mesh.events import ArenaClosed, Origin, ProposalPosted
from mesh.jetstream import connect
from mesh.server import EmbeddedServer, embedded
from mesh.testing import git_hash
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.hub import Hub, curl, gateway, register
from tests.test_cli import fill


@pytest.fixture
async def hub(home: Path, server: EmbeddedServer) -> AsyncIterator[Hub]:
    """A gateway on loopback for one arena, in which `better` beats `worse`."""
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with gateway(home, server.url) as running:
        yield running


async def test_requests_wait_for_a_server_that_was_killed_and_go_on(home: Path, tmp_path: Path) -> None:
    async with embedded(tmp_path / "server") as server:
        await fill(home, server.url, write_arena(home.parent / "arena"))
        async with gateway(home, server.url) as hub:
            api, key = f"{hub.url}/api", await register(hub.url, "ann-1")
            posts = f"{api}/channels/general/posts"
            first = await curl(posts, key=key, data={"content": "before"})
            assert first.status == 201
            os.kill(server.address.pid, signal.SIGKILL)
            meanwhile = await curl(posts, key=key, data={"content": "meanwhile"})
            if meanwhile.status != 201:  # it waited for longer than an agent should
                assert meanwhile.status == 503
                assert meanwhile.json == {"error": "the server of the log does not answer; try again later"}
                assert meanwhile.headers["retry-after"] == "5"
            with anyio.fail_after(300):
                while (await curl(posts, key=key, data={"content": "after"})).status == 503:
                    pass
            contents = [post["content"] for post in (await curl(posts, key=key)).json]
            assert (contents[0], contents[-2]) == ("after", "before")  # the last one is of the arena's own people
            assert (await curl(f"{api}/events?after={first.json['id']}&wait=0", key=key)).json["events"]


async def test_a_page_of_another_site_can_neither_read_nor_post(hub: Hub) -> None:
    api, key = f"{hub.url}/api", await register(hub.url, "ann-1")
    for words in (["-H", "Host: evil.example"], ["-H", "Host: 192.0.2.7"]):
        answer = await curl(f"{api}/channels", *words, key=key)
        assert answer.status == 421
        assert "start `mesh gateway` with --allow-host to add it" in answer.json["error"]
    for words in (["-H", "Origin: http://evil.example"], ["-H", "Sec-Fetch-Site: cross-site"]):
        answer = await curl(f"{api}/channels", *words, key=key, data={"name": "results"})
        assert answer.status == 403, words
    headers = (await curl(f"{api}/health")).headers
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert "server" not in headers


async def test_a_client_that_does_not_end_its_request_is_dropped(hub: Hub) -> None:
    host, port = hub.url.removeprefix("http://").split(":")
    for begun in (b"", b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n"):
        with anyio.fail_after(150):
            async with await anyio.connect_tcp(host, int(port)) as stream:
                if begun:
                    await stream.send(begun)
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await _read_all(stream)
    large = await curl(f"{hub.url}/api/register", "-H", "Expect:", data=b"x" * 1_000_000)
    assert large.status == 413


async def _read_all(stream: anyio.abc.SocketStream) -> None:
    while True:
        await stream.receive()


async def test_the_page_of_the_only_arena_is_beside_it(hub: Hub) -> None:
    page = await curl(f"{hub.url}/")
    assert page.headers["content-type"].startswith("text/html")
    assert (await curl(f"{hub.url}/api/state")).json["arena"]["name"] == "tiny"
    accepts = {"Accept": "text/event-stream"}
    async with (
        httpx.AsyncClient(timeout=60) as http,
        http.stream("GET", f"{hub.url}/api/events", headers=accepts) as it,
    ):
        assert it.headers["content-type"].startswith("text/event-stream")
    rows = await curl(f"{hub.url}/api/sql", data={"sql": "SELECT count(*) AS n FROM proposals"})
    assert rows.status == 200
    key = await register(hub.url, "ann-1")
    asked = await curl(f"{hub.url}/api/sql", key=key, data={"query": "SELECT count(*) AS n FROM proposals"})
    assert asked.json["rows"] == [[2]]


async def test_a_closed_arena_takes_nothing_and_says_why(hub: Hub, server: EmbeddedServer) -> None:
    api, key = f"{hub.url}/api", await register(hub.url, "ann-1")
    async with connect(server.url) as other:
        bus = await other.arena("tiny")
        seq = await bus.post(Post.new("operator", ArenaClosed(version=1, reason="plateau")))
    assert (await curl(f"{api}/events?after={seq - 1}&wait=20", key=key)).json["closed"] == "plateau"
    for path, data in (
        ("channels", {"name": "results"}),
        ("channels/general/posts", {"content": "x"}),
        ("proposals", {"files": {"train.py": "x = 1"}}),
    ):
        answer = await curl(f"{api}/{path}", key=key, data=data)
        assert (answer.status, answer.json) == (410, {"error": "arena closed: plateau"}), path
    assert (await curl(f"{api}/channels/general/posts", key=key)).status == 200


async def test_who_has_many_proposals_without_a_score_waits_for_the_first(hub: Hub, server: EmbeddedServer) -> None:
    api, key = f"{hub.url}/api", await register(hub.url, "ann-1")
    async with connect(server.url) as other:
        bus = await other.arena("tiny")
        for n in range(20):
            tree, commit = git_hash(f"tree {n}"), git_hash(f"commit {n}")
            event = ProposalPosted(tree=tree, commit=commit, title="t", origin=Origin(how="model"))
            seq = await bus.post(Post.new("ann-1", event))
    await curl(f"{api}/events?after={seq - 1}&wait=20", key=key)
    answer = await curl(f"{api}/proposals", key=key, data={"files": {"train.py": "x = 1"}})
    assert (answer.status, answer.json["error"]) == (409, f"wait for proposal {git_hash('tree 0')[:10]} first")


async def test_it_speaks_https_with_a_certificate_of_its_operator(home: Path, server: EmbeddedServer) -> None:
    await fill(home, server.url, write_arena(home.parent / "arena"))
    cert, secret = home.parent / "cert.pem", home.parent / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(secret), "-out", str(cert)]
    await anyio.run_process([*words, *names, *files], stderr=subprocess.DEVNULL)
    async with gateway(home, server.url, "--tls", str(cert), str(secret)) as hub:
        assert hub.url.startswith("https://127.0.0.1:")
        answer = await curl(f"{hub.url}/api/register", "--cacert", str(cert), data={"id": "ann-1"})
        assert answer.status == 201
        assert f"HUB={hub.url}/a/tiny\n" in (await curl(f"{hub.url}/a/tiny/guide", "--cacert", str(cert))).body.decode()


async def test_an_address_that_is_taken_or_none_is_refused_in_a_sentence(home: Path, server: EmbeddedServer) -> None:
    await fill(home, server.url, write_arena(home.parent / "arena"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words, sentence in (
            (["--listen", f"127.0.0.1:{port}"], f"nothing can listen on 127.0.0.1:{port}: "),
            (["--listen", "8080"], "--listen is '8080'; use HOST:PORT, such as 127.0.0.1:8080"),
            (["--listen", "127.0.0.1:0", "--arena", "nobody"], "there is no arena 'nobody' here; mesh open FOLDER"),
            (["--listen", "127.0.0.1:0", "--tls", "a.pem", "b.pem"], "a.pem is not a file; --tls takes"),
        ):
            done = await anyio.run_process(
                [sys.executable, "-m", "mesh_cli", "gateway", "--nats", server.url, *words],
                check=False,
                env=dict(os.environ),
                stderr=subprocess.PIPE,
            )
            assert done.returncode == 2, words
            assert re.fullmatch(rf"mesh: {re.escape(sentence)}[^\n]*\n", done.stderr.decode()), done.stderr
