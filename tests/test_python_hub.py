"""The Python client through a real gateway, over HTTP alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import anyio
import pytest

import mesh
from mesh.errors import ArenaIsClosed, BadInput, BusUnavailable, MeshError, NotYet, UnknownName
from mesh.events import ArenaClosed, ProposalPosted, ProposalPromoted
from mesh.ports import free_port
from mesh.server import EmbeddedServer
from tests.support.arenas import TRAIN
from tests.support.hub import Hub, gateway, register
from tests.support.tiny_swarm import in_thread, measuring, open_tiny, posted

LOWER = TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5")


@pytest.fixture
async def hub(tmp_path: Path, home: Path, server: EmbeddedServer) -> AsyncIterator[Hub]:
    """A gateway on loopback for the tiny arena."""
    await open_tiny(tmp_path / "tiny", home, server.url)
    async with gateway(home, server.url, listen=f"127.0.0.1:{free_port()}") as running:
        yield running


async def test_a_script_takes_part_with_an_address_and_a_key(home: Path, server: EmbeddedServer, hub: Hub) -> None:
    key = await register(hub.url, "gpu-7.lab")

    def script() -> None:
        with mesh.connect("tiny", hub=hub.url, key=key) as m:
            assert repr(m) == "<mesh.Client of arena tiny>"
            p = m.propose({"train.py": LOWER}, title="half the height", confidence=0.75)
            assert (p.author, p.is_new) == ("gpu-7_lab", True)
            with pytest.raises(NotYet, match=r"is not decided after 0.1 s: "):
                m.wait(p, timeout=0.1)
            outcome = m.wait(p, timeout=300)
            assert (outcome.ending, outcome.author) == ("promoted", "gpu-7_lab")
            assert m.leaderboard(1).rows[0].proposal == m.status().champion == p.proposal
            assert "HEIGHT = 0.5" in m.code(p, "train.py").text
            assert "+HEIGHT = 0.5" in m.diff("baseline", p).text
            assert [row.proposal for row in m.lineage(p).rows][:1] == [p.proposal]
            assert m.show(p.proposal).about["author"] == "gpu-7_lab"
            assert m.critique("baseline", "warn", "it can be lower").verdict == "warn"
            noted = m.note("look at the height", channel="ideas")  # a channel that nobody has opened
            assert (m.reply(noted.posted, "yes").reply_to, noted.channel) == (noted.posted, "ideas")
            assert f"{p.proposal[:10]}" in m.digest().text
            posts = list(m.follow(0, kinds=["proposal.posted"], until=m.status().seq))
            assert [isinstance(entry.event, ProposalPosted) and entry.author for entry in posts] == ["gpu-7_lab"] * 2
            while [row[0] for row in m.sql("SELECT proposal FROM leaderboard WHERE rank = 1")] != [p.proposal]:
                time.sleep(0.1)  # the projector may lie behind

    async with measuring(home, server.url, "projector"):
        await in_thread(script)


WRONG: list[tuple[Callable[[mesh.Client], object], type[MeshError], str]] = [
    (lambda m: m.propose({"score.py": "1"}), BadInput, "score.py is protected"),
    (lambda m: m.propose({"train.py": b"\xff"}), BadInput, "train.py is binary; a proposal changes text"),
    (lambda m: m.show("beef0"), UnknownName, "'beef0' is not the name of anything in arena tiny"),
    (lambda m: m.board, BadInput, "through a hub, the board needs the log: connect with nats= instead of hub="),
    (lambda m: m.study(), BadInput, "through a hub, the board and studies need the log: connect with nats="),
    (lambda m: m.files(), BadInput, "through a hub, files as they are need the log, and `code` shows them"),
    (lambda m: m.checkout("baseline", "x"), BadInput, "through a hub, a checkout needs the log"),
    (lambda m: m.propose(Path("x")), BadInput, "through a hub, a folder needs the log; give a dict of files"),
    (lambda m: m.note("x", about="champion"), BadInput, "through a hub, what a note is about needs the log"),
    (lambda m: list(m.follow(-1)), BadInput, "since is -1; use 0"),
]


async def test_what_a_hub_refuses_or_lacks_is_one_sentence(hub: Hub, server: EmbeddedServer) -> None:
    key = await register(hub.url, "ann")

    def script() -> None:
        with mesh.connect(hub=f"{hub.url}/a/tiny/", key=key) as m:
            for call, kind, sentence in WRONG:
                with pytest.raises(kind) as raised:
                    call(m)
                assert sentence in str(raised.value)
                assert key not in str(raised.value)

    await in_thread(script)
    await posted(server.url, "operator", ArenaClosed(version=1, reason="operator"))

    def late() -> None:
        with mesh.connect("tiny", hub=hub.url, key=key) as m:
            assert next(m.follow(1)).kind == "arena.closed"
            with pytest.raises(ArenaIsClosed):
                m.propose({"train.py": LOWER})

    await in_thread(late)


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        ({"key": "0" * 64}, BadInput, "invalid api key; give key=, or set MESH_KEY"),
        ({"key": ""}, BadInput, "the hub 127.0.0.1 asks for a key; give key=, or set MESH_KEY"),
        ({"arena": "other"}, UnknownName, "this hub has no arena 'other'"),
        ({"hub": "ftp://x"}, BadInput, "hub is 'ftp://x'; use an address such as https://HOST/a/ARENA"),
        ({"hub": "http://127.0.0.1:1"}, BusUnavailable, "the hub 127.0.0.1:1 does not answer: "),
        ({"nats": "127.0.0.1"}, BadInput, "nats and hub are both given; use one of them"),
    ],
)
async def test_a_hub_that_cannot_be_entered_is_one_sentence(
    hub: Hub, words: dict[str, str], kind: type[MeshError], sentence: str
) -> None:
    arguments = {"arena": "tiny", "hub": hub.url, "key": await register(hub.url, "ann"), **words}

    def script() -> None:
        with pytest.raises(kind) as raised:
            mesh.connect(**arguments)
        assert sentence in str(raised.value)

    await in_thread(script)


async def test_a_wait_goes_on_when_the_gateway_is_killed_and_started_again(
    home: Path, server: EmbeddedServer, hub: Hub
) -> None:
    key, listen = await register(hub.url, "ann"), hub.url.removeprefix("http://")
    async with mesh.aconnect("tiny", hub=hub.url, key=key) as m, anyio.create_task_group() as tasks:
        p = await m.propose({"train.py": LOWER})

        async def again() -> None:
            hub.process.send_signal(signal.SIGKILL)
            await hub.process.wait()
            await posted(server.url, "curator", ProposalPromoted(proposal=p.proposal, round=1, mean=0.01))
            async with gateway(home, server.url, listen=listen):
                await anyio.sleep_forever()

        tasks.start_soon(again)
        with anyio.fail_after(300):
            assert (await m.wait(p)).ending == "promoted"
        tasks.cancel_scope.cancel()


async def test_the_key_may_stand_in_the_environment(hub: Hub, tmp_path: Path) -> None:
    key = await register(hub.url, "ann")
    code = f"import mesh\nprint(mesh.connect('tiny', hub='{hub.url}').status().arena)"

    def script() -> str:
        environ = {**os.environ, "MESH_KEY": key}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True).stdout

    assert await in_thread(script) == "tiny\n"


class _Elsewhere(BaseHTTPRequestHandler):
    """Sends every request to another path, and keeps what paths it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/other")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def test_the_key_does_not_follow_a_redirect() -> None:
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(BadInput, match="the hub answers 302"):
            mesh.connect("tiny", hub=f"http://127.0.0.1:{server.server_port}", key="secret")
        server.shutdown()
    assert _Elsewhere.asked == ["/a/tiny/api/status?"]
