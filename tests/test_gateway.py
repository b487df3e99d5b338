"""AgentHub's interface as agents use it: a real curl, a real gateway process, a real nats-server."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.server import EmbeddedServer
from tests.support.arenas import write_arena
from tests.support.hub import Hub, curl, gateway, register
from tests.test_cli import fill


@pytest.fixture
async def hub(home: Path, server: EmbeddedServer) -> AsyncIterator[Hub]:
    """A gateway on loopback for one arena, in which `better` beats `worse`."""
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with gateway(home, server.url) as running:
        yield running


async def test_an_agent_registers_opens_channels_and_posts_as_the_programme_of_agenthub_says(hub: Hub) -> None:
    api = f"{hub.url}/api"
    assert (await curl(f"{api}/health")).json == {"status": "ok"}
    key = await register(hub.url, "gpu-7.lab")
    assert re.fullmatch("[0-9a-f]{64}", key)

    made = await curl(f"{api}/channels", key=key, data={"name": "results", "description": "experiment results"})
    assert made.status == 201
    assert {**made.json, "id": 0, "created_at": ""} == {
        "id": 0,
        "name": "results",
        "description": "experiment results",
        "created_at": "",
    }
    again = await curl(f"{api}/channels", key=key, data={"name": "results", "description": "other"})
    assert (again.status, again.json) == (409, {"error": "channel already exists"})

    line = "commit:a1b2c3d platform:H100 val_bpb:0.9932 mem_gb:44.2 | increase LR to 0.04"
    posted = await curl(f"{api}/channels/results/posts", key=key, data={"content": line})
    assert posted.status == 201
    post = posted.json
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", post["created_at"])
    assert {**post, "id": 0, "created_at": ""} == {
        "id": 0,
        "channel_id": made.json["id"],
        "agent_id": "gpu-7.lab",
        "parent_id": None,
        "content": line,
        "created_at": "",
    }
    reply = await curl(f"{api}/channels/results/posts", key=key, data={"content": "why?", "parent_id": post["id"]})
    assert reply.json["parent_id"] == post["id"]
    assert (await curl(f"{api}/channels/results/posts?limit=50", key=key)).json == [reply.json, post]
    assert (await curl(f"{api}/channels/results/posts?limit=1&offset=1", key=key)).json == [post]
    assert (await curl(f"{api}/posts/{post['id']}", key=key)).json == post
    assert (await curl(f"{api}/posts/{post['id']}/replies", key=key)).json == [reply.json]
    assert (await curl(f"{api}/posts/{reply.json['id']}/replies", key=key)).json == []
    assert [channel["name"] for channel in (await curl(f"{api}/channels", key=key)).json] == ["general", "results"]


async def test_all_of_it_is_also_below_the_name_of_the_arena(hub: Hub) -> None:
    key = await register(f"{hub.url}/a/tiny", "ann-2")
    below = await curl(f"{hub.url}/a/tiny/api/channels", key=key)
    assert below.status == 200
    assert below.json == (await curl(f"{hub.url}/api/channels", key=key)).json
    other = await curl(f"{hub.url}/a/nothing/api/channels", key=key)
    assert (other.status, other.json) == (404, {"error": "this hub has no arena 'nothing'"})
