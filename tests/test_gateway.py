"""AgentHub's interface as agents use it: a real curl, a real gateway process, a real nats-server."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mesh.server import EmbeddedServer
from tests.support.arenas import write_arena
from tests.support.hub import Answer, Hub, curl, gateway, register
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


@pytest.mark.timeout(1200)
async def test_what_is_wrong_is_one_sentence_with_the_status_of_agenthub(hub: Hub) -> None:
    api = f"{hub.url}/api"
    key = await register(hub.url, "bob")
    await curl(f"{api}/channels", key=key, data={"name": "results"})
    await curl(f"{api}/channels", key=key, data={"name": "other"})
    [post] = [(await curl(f"{api}/channels/other/posts", key=key, data={"content": "x"})).json]

    missing = await curl(f"{api}/channels")
    assert (missing.status, missing.json) == (401, {"error": "missing authorization"})
    assert missing.headers["content-type"].startswith("text/plain")
    for wrong in ("0" * 64, key[:-1], key.upper(), "x", f"{key} {key}"):
        assert (await curl(f"{api}/channels", key=wrong)).json == {"error": "invalid api key"}, wrong

    async def refused(path: str, data: object, status: int, sentence: str) -> None:
        answer = await curl(f"{api}/{path}", key=key, data=data)
        assert (answer.status, answer.json) == (status, {"error": sentence}), path

    taken = "agent id already taken"
    rule = "id must be 1-63 chars, alphanumeric/dash/dot/underscore, start with alphanumeric"
    for bad in ("", ".a", "-a", "a b", "a/b", "x" * 64, "é", "a\n"):
        await refused("register", {"id": bad}, 400, rule)
    for name in ("bob", "ann", "operator", "curator", "hub"):  # `ann` has posted over NATS
        await refused("register", {"id": name}, 409, taken)
    await refused("register", {"id": 5}, 400, "id: Expected str, got int")
    await refused("register", {"id": "c\0"}, 400, "id: it has a NUL character")
    await refused("register", b'{"id":"\xff"}', 400, "invalid json")
    await refused("register", b"{", 400, "invalid json")

    named = "channel name must be 1-31 lowercase alphanumeric/dash/underscore chars"
    for bad in ("", "A", "-a", "a.b", "x" * 32):
        await refused("channels", {"name": bad}, 400, named)
    await refused("channels/nothing/posts", {"content": "x"}, 404, "channel not found")
    posts = "channels/results/posts"
    await refused(posts, {"content": ""}, 400, "content is required")
    await refused(posts, {}, 400, "content is required")
    await refused(posts, {"content": 5}, 400, "content: Expected str, got int")
    await refused(posts, {"content": "a\0b"}, 400, "content: it has a NUL character")
    await refused(posts, {"content": "ä" * (16 * 1024 + 1)}, 400, "post content too large (max 32KB)")
    await refused(posts, {"content": "x" * 70_000}, 413, "the body has more than 65,536 bytes, which is the most")
    for parent in (0, -1, 1, 10**6, 10**30):
        await refused(posts, {"content": "x", "parent_id": parent}, 400, "parent post not found")
    await refused(posts, {"content": "x", "parent_id": post["id"]}, 400, "parent post is in a different channel")
    ours = "content has a key of this hub; the log never forgets: take it out"
    await refused(posts, {"content": f"my key is {key}"}, 400, ours)
    for word, status in (("x", 400), ("-1", 400), ("0", 404), ("1", 404), ("9" * 30, 404)):
        assert (await curl(f"{api}/posts/{word}", key=key)).status == status, word
    assert (await curl(f"{api}/{posts}", key=key)).json == []
    assert (await curl(f"{api}/{posts}?limit=x&offset=-3", key=key)).json == []
    ignored = await curl(f"{api}/{posts}", key=key, data={"content": "x", "more": [1]})
    assert ignored.status == 201


@pytest.mark.timeout(1200)
async def test_twenty_agents_at_once_get_ids_in_the_order_of_the_log(hub: Hub) -> None:
    api = f"{hub.url}/api"
    made: list[int] = []
    posted: list[Answer] = []
    keys = [await register(hub.url, f"agent-{n}") for n in range(9)]

    async def create(key: str) -> None:
        made.append((await curl(f"{api}/channels", key=key, data={"name": "results"})).status)

    async def post(key: str, n: int) -> None:
        posted.append(await curl(f"{api}/channels/results/posts", key=key, data={"content": f"{n}"}))

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(create, keys[n % 9])
    assert sorted(made) == [201] + [409] * 19
    async with anyio.create_task_group() as tasks:
        for n in range(60):
            tasks.start_soon(post, keys[n % 9], n)
    assert {answer.status for answer in posted} == {201}
    ids = [answer.json["id"] for answer in posted]
    assert len(set(ids)) == 60
    listed = (await curl(f"{api}/channels/results/posts?limit=100", key=keys[0])).json
    assert [each["id"] for each in listed] == sorted(ids, reverse=True)
    assert {each["id"]: each["content"] for each in listed} == {a.json["id"]: a.json["content"] for a in posted}


@pytest.mark.timeout(1200)
async def test_who_has_had_enough_is_told_when_to_come_back(hub: Hub) -> None:
    api = f"{hub.url}/api"
    keys = [await register(hub.url, f"agent-{n}") for n in range(10)]
    eleventh = await curl(f"{api}/register", data={"id": "agent-10"})
    assert (eleventh.status, eleventh.json) == (429, {"error": "registration rate limit exceeded"})
    assert 3000 < int(eleventh.headers["retry-after"]) <= 3600

    await curl(f"{api}/channels", key=keys[0], data={"name": "results"})
    statuses: list[int] = []

    async def post(n: int) -> None:
        statuses.append((await curl(f"{api}/channels/results/posts", key=keys[0], data={"content": f"{n}"})).status)

    for start in range(0, 110, 10):
        async with anyio.create_task_group() as tasks:
            for n in range(start, start + 10):
                tasks.start_soon(post, n)
    assert sorted(statuses) == [201] * 100 + [429] * 10
    assert (await curl(f"{api}/channels/results/posts", key=keys[1], data={"content": "x"})).status == 201


async def test_the_guide_has_the_address_and_the_arena_in_it(hub: Hub) -> None:
    for prefix in ("", "/a/tiny"):
        text = (await curl(f"{hub.url}{prefix}/guide")).body.decode()
        assert f"\nHUB={hub.url}{prefix}\n" in text
        assert "arena tiny" in text
        assert "{" not in re.sub(r"\{\"[^}]*\}|\{\"error\": sentence\}", "", text)
    assert f"({hub.url}/guide)" in (await curl(f"{hub.url}/llms.txt")).body.decode()
