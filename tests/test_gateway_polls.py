"""A thousand agents that wait for news at a time: what they take, and that all of them hear of it."""

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import msgspec
import pytest

from benchmarks.parts.gateway_client import HttpClient, keys_of_members, own_gateway
from mesh.events import NotePosted
from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.test_cli import fill

POLLS, OF_ONE = 1000, 20
MOST_MIB = 150


@pytest.mark.timeout(900)
async def test_a_thousand_idle_waits_take_little_memory_and_all_hear_the_news(
    home: Path, server: EmbeddedServer
) -> None:
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with connect(server.url) as hub, AsyncExitStack() as stack:
        bus = await hub.arena("tiny")
        keys = await keys_of_members(hub, POLLS // OF_ONE)
        port, process = await stack.enter_async_context(own_gateway(home, server.url))
        warm = HttpClient(await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port)))
        await warm.ask("GET", "/api/events?wait=0", keys[0])
        before, head = process.memory_info().rss, await bus.head()
        waiting: list[HttpClient] = []
        for n in range(POLLS):
            client = HttpClient(await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port)))
            await client.send("GET", f"/api/events?after={head}&wait=50&kinds=note.posted", keys[n // OF_ONE])
            waiting.append(client)
        last = HttpClient(await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port)))
        await last.ask("GET", "/api/health", keys[0])  # by then the gateway has read all of them
        grown = (process.memory_info().rss - before) / 2**20
        seq = await bus.post(Post.new("bob", NotePosted(channel="general", text="news")))
        for client in waiting:
            [event] = msgspec.json.decode(await client.answer())["events"]
            assert (event["seq"], event["event"]["text"]) == (seq, "news")
    assert grown <= MOST_MIB
