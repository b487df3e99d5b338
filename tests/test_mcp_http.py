"""MCP over HTTP as clients speak it: revisions, keys, hosts, sizes, and clients that go away."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.door import Door
from gateway.mcp_proxy import hub_address
from gateway.mcp_server import McpApp
from gateway.mcp_tools import Speaker
from mesh.errors import BadInput
from mesh.testing import TRAIN
from tests.support.doors import open_door
from tests.support.mcp_lines import modern, raw_client

KEYS = {"key-ann": Speaker("ann", "opus"), "key-eve": Speaker("eve", is_observer=True)}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
BETTER = TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9").decode()


class Gate:
    """What stands before the tools: it knows the arena, and who has which key."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        speaker = KEYS.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if speaker is None:
            await Response("invalid api key", 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        request.state.door, request.state.speaker = self.door, speaker
        await self.app(scope, receive, send)


@asynccontextmanager
async def serving(door: Door) -> AsyncIterator[str]:
    """Serve the tools on loopback; yield their address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        port = listening.getsockname()[1]
        tools = McpApp(
            speaker_of=lambda request: request.state.speaker,
            hosts=[f"127.0.0.1:{port}"],
            origins=[f"http://127.0.0.1:{port}"],
        )
        app = Starlette(routes=[Route("/a/a/mcp", endpoint=Gate(tools, door))])
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        async with tools.running(), anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listening])
            yield f"http://127.0.0.1:{port}/a/a/mcp"
            server.should_exit = True


@asynccontextmanager
async def asking(key: str = "key-ann", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client with a key."""
    given = {**ACCEPT, "Authorization": f"Bearer {key}", **headers}
    async with httpx.AsyncClient(headers=given, timeout=60) as client:
        yield client


def request_of(tool: str, arguments: dict[str, Any], number: int = 1) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def called(client: httpx.AsyncClient, url: str, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.post(url, json=request_of(tool, arguments))
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-11-25"])
async def test_revisions_with_a_handshake_need_none(revision: str, tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, serving(door) as url, asking() as client:
        params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        hello = await client.post(url, json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        assert hello.json()["result"]["protocolVersion"] == revision
        assert "mcp-session-id" not in hello.headers
        done = await client.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert done.status_code == 202
        client.headers["MCP-Protocol-Version"] = revision
        result = await called(client, url, "digest")
        assert (result["isError"], result["structuredContent"]["arena"]) == (False, "a")
        assert (await client.get(url)).status_code == 405


async def test_the_revision_without_a_handshake_is_answered(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, serving(door) as url:
        more = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "digest"}
        async with asking(**more) as client:
            whole = request_of("digest", {})
            whole["params"] |= modern()
            answer = await client.post(url, json=whole)
            assert answer.status_code == 200, answer.text
            assert answer.json()["result"]["structuredContent"]["seq"] == 1


async def test_the_official_client_posts_under_the_name_of_its_key(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, serving(door) as url:
        async with (
            httpx2.AsyncClient(headers={"Authorization": "Bearer key-ann"}, timeout=60) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            assert len((await client.list_tools()).tools) == 9
            result = await client.call_tool("propose", {"files": {"train.py": BETTER}, "title": "wider"})
            assert result.structured_content is not None
            assert (result.is_error, result.structured_content["author"]) == (False, "ann")
        assert door.board.proposals[result.structured_content["proposal"]].author == "ann"
        async with asking("key-eve") as observer:
            refused = await called(observer, url, "note", text="hello")
            assert refused["content"][0]["text"] == "eve is an observer, who reads and does not post"
            assert (await called(observer, url, "status"))["isError"] is False


async def test_keys_hosts_origins_and_sizes_are_checked(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, serving(door) as url:
        whole = request_of("digest", {})
        async with asking("wrong") as stranger:
            answer = await stranger.post(url, json=whole)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        async with asking() as client:
            assert (await client.post(url, json=whole, headers={"Host": "evil.example"})).status_code == 421
            origin = {"Origin": "http://evil.example"}
            assert (await client.post(url, json=whole, headers=origin)).status_code == 403
            assert (
                await client.post(url, json=whole, headers={"Origin": url.removesuffix("/a/a/mcp")})
            ).status_code == 200
            long = await client.post(url, content=b"x" * ((5 << 20) + 1))
            assert (long.status_code, "5,242,880 bytes" in long.json()["error"]["message"]) == (413, True)
            bad = await client.post(url, content=b'{"secret": hunter2')
            assert (bad.status_code, bad.json()["error"]["message"]) == (
                400,
                "the message is not valid JSON; send one object",
            )
            deep = await client.post(url, content=b"[" * 100_000)
            assert deep.status_code == 400
            wrong = await called(client, url, "digest", since="hunter2")
            assert (wrong["isError"], wrong["content"][0]["text"]) == (
                True, "since of digest is not valid; use a whole number",
            )  # fmt: skip
            odd = await client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": "hunter2"})
            assert "hunter2" not in odd.text


async def test_a_client_that_goes_away_ends_its_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_door(tmp_path) as door:
        waiting, ended = anyio.Event(), anyio.Event()
        read = door.bus.read

        async def watched(*given: Any, **named: Any) -> AsyncIterator[Any]:
            if named.get("follow"):
                waiting.set()
            try:
                async for batch in read(*given, **named):
                    yield batch
            finally:
                if named.get("follow"):
                    ended.set()

        async with serving(door) as url:
            monkeypatch.setattr(door.bus, "read", watched)
            for revision in ("2025-11-25", "2026-07-28"):
                waiting, ended = anyio.Event(), anyio.Event()
                whole = request_of("wait", {"since": 1, "seconds": 50})
                whole["params"] |= modern() if revision == "2026-07-28" else {}
                more = {"MCP-Protocol-Version": revision, "Mcp-Method": "tools/call", "Mcp-Name": "wait"}
                async with asking(**more) as client, anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: client.post(url, json=whole))  # noqa: B023
                    with anyio.fail_after(45):
                        await waiting.wait()
                    tasks.cancel_scope.cancel()
                with anyio.fail_after(45):
                    await ended.wait()


async def test_a_proxy_passes_calls_on_with_its_key(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, serving(door) as url:
        hub = url.removesuffix("/a/a/mcp")
        with anyio.fail_after(120):
            async with raw_client("--hub", hub, "--arena", "a", home=tmp_path, MESH_KEY="key-ann") as client:
                went_wrong, values, text = await client.call("note", text="hello")
                assert (went_wrong, values["author"], values["arena"]) == (False, "ann", "a"), text
                wrong = await client.call("digest", since="x")
                assert wrong == (True, {}, "since of digest is not valid; use a whole number")
                assert (await client.call("wait", since=1, seconds=5))[1]["woken_by"] == []  # its own note
                await client.begin("tools/call", {"name": "wait", "arguments": {"since": 2, "seconds": 50}})
                assert await client.ended() == 0


@pytest.mark.parametrize("key", ["wrong", ""])
async def test_a_proxy_without_the_right_key_says_so(key: str, tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, serving(door) as url:
        sentence = f"{url}: the hub refuses the key; set MESH_KEY to the one that it gave when you registered"
        if not key:
            sentence = "the hub asks for a key; set MESH_KEY in the environment of `mesh mcp`"
        async with raw_client("--hub", url, home=tmp_path, MESH_KEY=key) as client:
            assert await client.call("status") == (True, {}, sentence)


async def test_a_hub_that_is_away_or_none_is_a_sentence(tmp_path: Path) -> None:
    async with raw_client("--hub", "http://127.0.0.1:9/a/a", home=tmp_path, MESH_KEY="k") as client:
        went_wrong, _, text = await client.call("status")
        assert went_wrong
        assert text == (
            "http://127.0.0.1:9/a/a/mcp does not answer (ConnectError); nothing is lost: call status again in a while"
        )
    for address in ("ftp://x", "https://ann:key@host", "http://[", "host/a/a", "https://host/?key=hunter2"):
        with pytest.raises(BadInput, match=r"^the address of the hub is not valid; use http\(s\)://HOST") as refused:
            hub_address(address)
        assert "hunter2" not in str(refused.value)
    assert hub_address("https://host:8080/a/b/i/xyz/") == "https://host:8080/a/b/i/xyz/mcp"
    assert hub_address("https://host/a/b/mcp", "c") == "https://host/a/b/mcp"
    assert hub_address("https://host", "c") == "https://host/a/c/mcp"


async def test_twenty_clients_call_at_once(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, serving(door) as url, asking() as client:
        seqs: list[int] = []

        async def notes(number: int) -> None:
            for each in range(3):
                result = await called(client, url, "note", text=f"note {number}.{each}")
                seqs.append(json.loads(result["content"][0]["text"])["posted"])

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(notes, number)
        assert sorted(seqs) == list(range(2, 62))
