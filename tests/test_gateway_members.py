"""Who may take part through a gateway: invitations, keys, revocation, several gateways, and killed ones."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.wire import HUB_LOG
from tests.support.arenas import ARENA, write_arena
from tests.support.hub import Hub, curl, gateway, register
from tests.test_cli import fill

UNINVITED = "--no-open"


@pytest.fixture
async def arena(home: Path, server: EmbeddedServer) -> str:
    """The address of a server with the arena `tiny`."""
    await fill(home, server.url, write_arena(home.parent / "arena"))
    return server.url


async def _open_second(home: Path, url: str) -> None:
    folder = write_arena(home.parent / "second", arena=ARENA.replace('"tiny"', '"second"'))
    async with connect(url) as hub:
        await open_arena(hub, folder, home=home)


async def mesh(*words: str) -> str:
    """Run a command and return what it prints."""
    command = [sys.executable, "-m", "mesh_cli", *words]
    done = await anyio.run_process(command, env=dict(os.environ), stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


async def test_a_stranger_without_an_invitation_can_do_nothing(home: Path, arena: str) -> None:
    async with gateway(home, arena, UNINVITED) as hub:
        for prefix in ("", "/a/tiny"):
            refused = await curl(f"{hub.url}{prefix}/api/register", data={"id": "bob"})
            sentence = f"this hub asks for an invitation: set HUB={hub.url}{prefix}/i/INVITE"
            assert (refused.status, refused.json) == (403, {"error": sentence})
        unknown = await curl(f"{hub.url}/a/tiny/i/{'0' * 32}/api/register", data={"id": "bob"})
        assert (unknown.status, unknown.json["error"]) == (403, "this invitation is not known here; ask for a new one")
        for path in (
            "/",
            "/guide",
            "/llms.txt",
            "/a/tiny/guide",
            "/api/state",
            "/api/events",
            "/api/proposals",
            "/a/x/",
        ):
            answer = await curl(f"{hub.url}/{path}")
            assert answer.status in (200, 401, 404, 405), path
            assert b"tiny" not in answer.body.replace(b"/a/tiny", b""), path
            assert b"parabola" not in answer.body, path  # the summary of the arena
        assert (await curl(f"{hub.url}/api/health")).json == {"status": "ok"}


async def test_a_stranger_is_not_told_which_arenas_there_are(home: Path, arena: str) -> None:
    await _open_second(home, arena)
    async with gateway(home, arena, UNINVITED) as hub:
        for prefix in ("", "/a/tiny", "/a/none"):
            refused = await curl(f"{hub.url}{prefix}/api/register", data={"id": "bob"})
            sentence = f"this hub asks for an invitation: set HUB={hub.url}{prefix}/i/INVITE"
            assert (refused.status, refused.json) == (403, {"error": sentence})
        answers = [await curl(f"{hub.url}/a/{name}/i/x/api/register", data={"id": "bob"}) for name in ("tiny", "none")]
        assert [each.status for each in answers] == [403, 403]
        assert answers[0].body == answers[1].body


async def test_a_gateway_of_some_arenas_answers_no_sql_which_reads_all(home: Path, arena: str) -> None:
    await _open_second(home, arena)
    async with gateway(home, arena, "--arena", "tiny") as hub:
        key, ask = await register(hub.url, "ann-1"), {"sql": "SELECT arena FROM events"}
        refused = await curl(f"{hub.url}/api/sql", key=key, data=ask)
        sentence = "sql reads all arenas of this hub, and this gateway serves only some of them"
        assert (refused.status, refused.json) == (403, {"error": sentence})
        assert (await curl(f"{hub.url}/api/sql", data=ask)).status == 401  # nor to the page, which has no key
    async with gateway(home, arena) as hub:  # one of all arenas, on the same log
        assert (await curl(f"{hub.url}/a/tiny/api/status", key=key)).status == 200
        other = await curl(f"{hub.url}/a/second/api/status", key=key)
        assert (other.status, other.json) == (403, {"error": "this key is for tiny, not for arena second"})


async def test_names_that_look_like_those_of_the_swarm_are_taken(home: Path, arena: str) -> None:
    async with gateway(home, arena) as hub:
        for name in ("curator", "Curator", "coder-2", "explorer_1", "gateway.1", "WORKER3"):
            refused = await curl(f"{hub.url}/api/register", data={"id": name})
            assert (refused.status, refused.json) == (409, {"error": "agent id already taken"}), name
        await register(hub.url, "coder-of-ann")


async def test_an_invitation_in_the_address_lets_so_many_in(home: Path, arena: str) -> None:
    secret = await mesh("gateway", "invite", "--arena", "tiny", "--uses", "2", "--nats", arena)
    async with gateway(home, arena, UNINVITED) as hub:
        invited = f"{hub.url}/a/tiny/i/{secret}"
        assert "arena tiny" in (await curl(f"{invited}/guide")).body.decode()
        keys = [await register(invited, name) for name in ("ann-1", "ann-2")]
        third = await curl(f"{invited}/api/register", data={"id": "ann-3"})
        assert third.status == 403
        assert "was for 2 members and is used up" in third.json["error"]
        for address in (invited, f"{hub.url}/a/tiny", hub.url):
            assert (await curl(f"{address}/api/channels", key=keys[0])).status == 200
        await mesh("gateway", "revoke", "ann-1", "--reason", "left", "--nats", arena)
        assert (await curl(f"{invited}/api/channels", key=keys[0])).json == {"error": "invalid api key"}
        assert (await curl(f"{invited}/api/channels", key=keys[1])).status == 200
        rows = json.loads(await mesh("gateway", "members", "--json", "--nats", arena))
        assert [(row["name"], row["state"]) for row in rows[1:]] == [("ann-1", "left"), ("ann-2", "member")]
        assert rows[0]["state"] == "invitation, used 2 of 2"


async def test_a_revoked_invitation_and_one_for_another_arena_let_nobody_in(home: Path, arena: str) -> None:
    secrets = [await mesh("gateway", "invite", "--nats", arena) for _ in range(2)]
    rows = json.loads(await mesh("gateway", "members", "--json", "--nats", arena))
    await mesh("gateway", "revoke", rows[0]["name"], "--nats", arena)
    async with gateway(home, arena, UNINVITED) as hub:
        statuses = [
            (await curl(f"{hub.url}/a/tiny/i/{secret}/api/register", data={"id": f"ann-{n}"})).status
            for n, secret in enumerate(secrets)
        ]
    assert statuses == [403, 201]


async def test_a_gateway_that_was_killed_and_a_second_one_know_all_keys(home: Path, arena: str) -> None:
    async with gateway(home, arena) as first, gateway(home, arena) as second:
        keys = {name: await register(hub.url, name) for hub, name in ((first, "ann-1"), (second, "ann-2"))}
        taken = [await curl(f"{hub.url}/api/register", data={"id": "ann-1"}) for hub in (first, second)]
        assert [answer.status for answer in taken] == [409, 409]
        both: list[int] = []

        async def race(hub: Hub) -> None:
            both.append((await curl(f"{hub.url}/api/register", data={"id": "ann-3"})).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(race, first)
            tasks.start_soon(race, second)
        assert sorted(both) == [201, 409]
        for hub in (first, second):
            for name, key in keys.items():
                assert (await curl(f"{hub.url}/api/channels", key=key)).status == 200, name
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    async with gateway(home, arena) as again:
        posted = await curl(f"{again.url}/api/channels/general/posts", key=keys["ann-1"], data={"content": "here"})
        assert (posted.status, posted.json["agent_id"]) == (201, "ann-1")


async def test_no_key_and_no_invitation_is_in_a_log(home: Path, arena: str) -> None:
    secret = await mesh("gateway", "invite", "--nats", arena)
    admin = await mesh("gateway", "admit", "boss", "--role", "admin", "--nats", arena)
    async with gateway(home, arena) as hub:
        key = await register(f"{hub.url}/a/tiny/i/{secret}", "ann-1")
        made = await curl(f"{hub.url}/api/admin/agents", key=admin, data={"id": "ann-2"})
        assert (made.status, made.json["id"]) == (201, "ann-2")
        assert (await curl(f"{hub.url}/api/channels", key=made.json["api_key"])).status == 200
        assert (await curl(f"{hub.url}/api/admin/agents", key=admin, data={"id": "ann-2"})).json == {
            "error": "agent already exists"
        }
        for wrong in (key, "0" * 64):
            assert (await curl(f"{hub.url}/api/admin/agents", key=wrong, data={"id": "ann-3"})).status == 401
    async with connect(arena) as connected:
        logs = [await connected.arena(name) for name in ("tiny", HUB_LOG)]
        raw = b""
        for log in logs:
            raw += b"".join([entry.raw async for batch in log.read() for entry in batch])
        assert await connected.arenas() == ["tiny"]
    assert b"ann-2" in raw
    for each in (secret, admin, key, made.json["api_key"]):
        assert each.encode() not in raw


async def test_an_observer_reads_and_does_not_post(home: Path, arena: str) -> None:
    key = await mesh("gateway", "admit", "eve", "--role", "observer", "--nats", arena)
    async with gateway(home, arena) as hub:
        assert (await curl(f"{hub.url}/api/channels/general/posts", key=key)).status == 200
        refused = await curl(f"{hub.url}/api/channels/general/posts", key=key, data={"content": "x"})
        assert (refused.status, refused.json) == (403, {"error": "eve is an observer, who reads and does not post"})


async def test_a_gateway_that_others_can_reach_asks_for_an_invitation_unless_it_is_open(home: Path, arena: str) -> None:
    for words, status in (((), 403), (("--open",), 201)):
        async with gateway(home, arena, *words, listen="0.0.0.0:0") as hub:
            url = hub.url.replace("0.0.0.0", "127.0.0.1")
            assert (await curl(f"{url}/api/register", data={"id": "ann-1"})).status == status
            named = await curl(f"{url}/api/health", "-H", "Host: hub.example.org")
            assert named.status == 421
            numbered = await curl(f"{url}/api/health", "-H", "Host: 192.0.2.7:8080")  # no site has such a name
            assert numbered.status == 200
