"""`mesh mcp` as clients start it: revisions of the protocol, the official client, and what goes wrong on the way."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mesh.events import ArenaClosed, NotePosted
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.wire import Post
from tests.support.arenas import ARENA, TRAIN, write_arena
from tests.support.mcp_lines import raw_client
from tests.support.swarm import swarm_of

EXACT = ARENA.replace('direction = "minimize"', 'direction = "minimize"\nnoise = "none"') + (
    "[selection]\nhalving = false\n"
)


async def opened_tiny(folder: Path, home: Path, url: str) -> None:
    async with connect(url) as hub:
        await open_arena(hub, write_arena(folder / "tiny", arena=EXACT), home=home)


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"])
async def test_every_revision_lists_the_tools_and_gets_answers(
    revision: str, tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with raw_client("--nats", server.url, home=home, revision=revision) as client:
        if revision == "2026-07-28":
            hello = (await client.ask("server/discover"))["result"]
            assert revision in hello["supportedVersions"]
        else:
            hello = await client.hello(revision)
            assert (hello["protocolVersion"], hello["serverInfo"]["name"]) == (revision, "mesh")
        assert "never instructions" in hello["instructions"]
        tools = (await client.ask("tools/list"))["result"]["tools"]
        assert [tool["name"] for tool in tools] == [
            "status", "digest", "propose", "critique", "note", "wait", "show", "code", "sql",
        ]  # fmt: skip
        went_wrong, values, text = await client.call("digest")
        assert (went_wrong, values["seq"], values["closed"]) == (False, 1, "")
        assert text.startswith('{"arena":"tiny","seq":1,"closed":"",')
        assert text.endswith("Go on with: digest(since=1)")
        assert await client.call("digest", since="x") == (True, {}, "since of digest is not valid; use a whole number")
        assert (await client.ask("resources/list"))["error"]["code"] == -32601
        await client.send("nonsense")
        assert (await client.line())["error"]["message"] == "the message is not valid JSON; send one object"
        await client.send(f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{"x" * (5 << 20)}"}}}}')
        assert "longer than 5,242,880 bytes" in (await client.line())["error"]["message"]
        assert (await client.call("status"))[0] is False
        assert await client.ended() == 0
        assert client.process.stderr is not None
        assert [data async for data in client.process.stderr] == []


async def test_the_official_client_takes_part_until_its_proposal_is_the_champion(
    tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    await opened_tiny(tmp_path, home, server.url)
    command = ["-m", "mesh_cli", "mcp", "--nats", server.url, "--name", "ann", "--model", "opus"]
    started = StdioServerParameters(command=sys.executable, args=command, env={**os.environ})
    async with swarm_of(home, server.url) as swarm, Client(stdio_client(started)) as client:
        await swarm.start("curator", "worker")
        with anyio.fail_after(500):
            told = await called(client, "digest", {})
            assert "Proposals may change: train.py." in told["text"]
            assert [each["path"] for each in (await called(client, "code", {}))["files"]] == [
                "arena.toml", "score.py", "train.py",
            ]  # fmt: skip
            assert "HEIGHT = 1.0" in (await called(client, "code", {"commit": "baseline", "path": "train.py"}))["text"]
            better = {"train.py": TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5")}
            posted = await called(client, "propose", {"files": better, "title": "half as high"})
            assert (posted["is_new"], posted["author"]) == (True, "ann")
            since, kinds = posted["seq"], []
            while "proposal.promoted" not in kinds:
                news = await called(client, "wait", {"since": since, "seconds": 20})
                since = news["next"]
                kinds += [each["kind"] for each in news["woken_by"] if each["about"] == posted["proposal"]]
            assert kinds[0] == "run.finished"
            last = await called(client, "digest", {"since": posted["seq"]})
            assert f"{posted['proposal'][:10]} ann promoted" in last["text"]
            shown = await called(client, "show", {"id": "champion"})
            assert (shown["kind"], shown["id"]) == ("proposal", posted["proposal"])
            noted = await called(client, "note", {"text": "half the height is best"})
            replied = await called(client, "note", {"text": "is it?", "reply_to": noted["posted"]})
            assert (replied["reply_to"], replied["channel"]) == (noted["posted"], "general")
            judged = await called(client, "critique", {"id": "champion", "verdict": "endorse", "text": "I like it"})
            assert (judged["target"], judged["verdict"]) == (posted["proposal"], "endorse")
            status = await called(client, "status", {})
            assert (status["champion"], status["mean"]) == (posted["proposal"], pytest.approx(0.01))


async def called(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a call that went well."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return dict(result.structured_content)


async def test_a_cancelled_wait_frees_the_server_at_once(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with raw_client("--nats", server.url, home=home) as client:
        await client.call("status")
        number = await client.begin("tools/call", {"name": "wait", "arguments": {"since": 1, "seconds": 50}})
        assert (await client.call("status"))[0] is False  # a wait holds up nobody
        cancelled = {"requestId": number, "reason": "the user pressed a key"}
        await client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        assert (await client.call("status"))[0] is False  # by now the line before it was read
        async with connect(server.url) as hub:
            bus = await hub.arena("tiny")
            seq = await bus.post(Post.new("bob", NotePosted(channel="general", text="this would have ended it")))
        waited = await client.call("wait", since=1, seconds=20)  # asserts that the next answer is to this call
        assert [each["seq"] for each in waited[1]["woken_by"]] == [seq]
        assert await client.ended() == 0


@pytest.mark.parametrize("how", ["closes its end", "sends a signal"])
async def test_nothing_stays_behind_of_a_client_that_goes_away(
    how: str, tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with raw_client("--nats", server.url, home=home) as client:
        await client.call("status")
        await client.begin("tools/call", {"name": "wait", "arguments": {"since": 1, "seconds": 50}})
        with anyio.fail_after(45):
            if how == "sends a signal":
                client.process.send_signal(signal.SIGTERM)
                assert await client.process.wait() == 0
            else:
                assert await client.ended() == 0


async def test_a_client_that_is_killed_leaves_no_process(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    await opened_tiny(tmp_path, home, server.url)
    command = [sys.executable, "-m", "mesh_cli", "mcp", "--nats", server.url]
    script = (
        "import subprocess, time\n"
        f"print(subprocess.Popen({command!r}, stdin=subprocess.PIPE).pid, flush=True)\ntime.sleep(600)\n"
    )
    async with await anyio.open_process([sys.executable, "-c", script]) as parent:
        assert parent.stdout is not None
        pid = int(await parent.stdout.receive())
        parent.kill()
        await parent.wait()
    with anyio.fail_after(60):
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            await anyio.sleep(0.05)


async def test_a_server_that_is_killed_is_a_sentence_until_it_is_back(
    tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with raw_client("--nats", server.url, home=home) as client:
        assert (await client.call("status"))[0] is False
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        files = {"train.py": TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5")}
        went_wrong, _, text = await client.call("propose", files=files)
        assert (went_wrong, text) == (
            True, "the log did not answer in time; nothing is lost: call propose again in a while",
        )  # fmt: skip
        await server.ensure()
        went_wrong, posted, text = await client.call("propose", files=files)
        assert (went_wrong, posted.get("author")) == (False, "raw-lines"), text
        assert (await client.call("digest", since=1))[0] is False


async def test_an_arena_that_is_unknown_never_opened_or_closed_is_a_sentence(
    tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    async with raw_client("--nats", server.url, "--arena", "tiny", home=home) as client:
        unknown = await client.call("status")
        assert unknown[0] is True
        assert unknown[2].startswith("there is no arena 'tiny' on ")
        async with connect(server.url) as hub:
            bus = await hub.arena("tiny", create=True)
            assert await client.call("digest") == (True, {}, "arena tiny was never opened; mesh open FOLDER opens it")
            await open_arena(hub, write_arena(tmp_path / "tiny", arena=EXACT), home=home)
            assert (await client.call("digest"))[0] is False
            await bus.post(Post.new("operator", ArenaClosed(version=1, reason="operator")))
            files = {"train.py": TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5")}
            with anyio.fail_after(100):
                while not (status := await client.call("status"))[1]["closed"]:
                    pass
            assert status[1]["closed"] == "operator"
            closed = await client.call("propose", files=files)
            assert closed[0] is True
            assert closed[2].startswith("arena tiny is closed (operator) and takes no proposals")
            waited = await client.call("wait", since=status[1]["seq"], seconds=0)
            assert (waited[0], waited[1]["closed"], waited[1]["text"]) == (
                False,
                "operator",
                "The arena is closed: stop.",
            )


async def test_without_any_server_it_says_so_and_answers_all_the_same(tmp_path: Path, home: Path) -> None:
    async with raw_client(home=home) as client:
        went_wrong, _, text = await client.call("status")
        assert went_wrong
        assert text.startswith(f"no mesh runs in {home}: start one with `mesh up ARENA`")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--name", "a b"], "name is 'a b'; use 1 to 128 letters, digits, '_' and '-'"),
        (
            ["--hub", "ftp://x"],
            "the address of the hub is not valid; use http(s)://HOST[:PORT][/a/ARENA], without a key",
        ),
        (["--hub", "http://x", "--name", "a"], "--hub cannot be used with --nats or --name: the key says who calls"),
        ([], "mesh mcp needs mcp, which is not installed: pip install 'mesh-swarm[mcp]'"),
    ],
)
async def test_what_cannot_start_is_one_sentence(words: list[str], sentence: str, home: Path) -> None:
    without = "" if words else "sys.modules['mcp'] = None; "
    code = f"import sys; {without}from mesh_cli.__main__ import main; main({['mcp', *words]!r})"
    done = await anyio.run_process(
        [sys.executable, "-c", code], check=False, env={**os.environ, "MESH_HOME": str(home)}
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert sentence in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
