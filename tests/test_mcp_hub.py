"""MCP at a hub: a member's key opens the tools of an arena, within the bounds that the routes have."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mesh.events import ArenaClosed
from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from mesh.web.listening import listen
from mesh.wire import Post
from tests.support.arenas import TRAIN
from tests.support.hub import curl, gateway, register
from tests.support.mcp_lines import raw_client
from tests.test_mcp_stdio import called, opened_tiny


def changed(height: float) -> dict[str, str]:
    return {"train.py": TRAIN.replace("HEIGHT = 1.0", f"HEIGHT = {height}")}


def request_of(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


async def ask(url: str, key: str, tool: str, **arguments: Any) -> tuple[bool, dict[str, Any], str]:
    """Call a tool with curl; return whether it went wrong, its values and its text."""
    accept = "Accept: application/json, text/event-stream"
    answer = await curl(url, "-H", accept, key=key, data=request_of(tool, arguments))
    assert answer.status == 200, answer
    result = answer.json["result"]
    return result["isError"], result.get("structuredContent", {}), result["content"][0]["text"]


async def test_a_member_takes_part_by_mcp_and_nobody_else(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with gateway(home, server.url) as hub:
        base = hub.url.rstrip("/")
        url, key = f"{base}/a/tiny/mcp", await register(base, "ann.example")
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            posted = await called(client, "propose", {"files": changed(0.5), "title": "half"})
            assert (posted["author"], posted["is_new"]) == ("ann_example", True)
            waited = await called(client, "wait", {"since": posted["seq"], "seconds": 0})
            assert waited["woken_by"] == []
        assert (await ask(f"{base}/mcp", key, "status"))[1]["arena"] == "tiny"  # the only arena needs no name
        for given in ("", "wrong"):
            refused = await curl(url, key=given, data=request_of("status", {}))
            assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        nowhere = await curl(f"{base}/a/other/mcp", key=key, data=request_of("status", {}))
        assert (nowhere.status, nowhere.json) == (404, {"error": "this hub has no arena 'other'"})
        foreign = await curl(url, "-H", "Host: evil.example", key=key, data=request_of("status", {}))
        assert foreign.status == 421
        origin = await curl(url, "-H", "Origin: http://evil.example", key=key, data=request_of("status", {}))
        assert origin.status == 403
        long = await curl(url, key=key, data=b"x" * (5 * 1024 * 1024 + 1))
        assert long.status == 413


async def test_the_bounds_of_a_hub_hold_for_mcp(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with gateway(home, server.url) as hub:
        base = hub.url.rstrip("/")
        url, key = f"{base}/a/tiny/mcp", await register(base, "ann")
        went_wrong, _, text = await ask(url, key, "note", text=f"my key is {key}")
        assert (went_wrong, "has a key of this hub" in text) == (True, True)
        count = 0
        while not (answer := await ask(url, key, "propose", files=changed(count / 100)))[0]:
            count += 1
        assert 18 < count <= 20  # one may be the baseline
        went_wrong, _, text = answer
        assert (went_wrong, text.startswith("wait for "), text.endswith(" first")) == (True, True, True)
        async with connect(server.url) as bus_hub:
            bus = await bus_hub.arena("tiny")
            await bus.post(Post.new("operator", ArenaClosed(version=1, reason="operator")))
        with anyio.fail_after(60):
            while not (await ask(url, key, "status"))[1]["closed"]:
                pass
        assert (await ask(url, key, "note", text="hello"))[2].startswith("arena tiny is closed (operator)")


async def test_a_proxy_reaches_a_hub_whose_log_was_killed_between_two_calls(
    tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with gateway(home, server.url) as hub:
        base = hub.url.rstrip("/")
        key = await register(base, "ann")
        async with raw_client("--hub", base, home=home, MESH_KEY=key) as client:
            assert (await client.call("status"))[1]["arena"] == "tiny"
            assert server._process is not None
            os.kill(server._process.pid, signal.SIGKILL)
            server._process.wait()
            await server.ensure()
            with anyio.fail_after(60):
                went_wrong, posted, text = await client.call("propose", files=changed(0.5))
            assert (went_wrong, posted.get("author")) == (False, "ann"), text


def test_what_a_hub_answers_is_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
        assert listening.getsockname()[1]
