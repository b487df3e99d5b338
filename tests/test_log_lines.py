"""`MESH_LOG=json`, `--log-json`: every line is an object, and each posted fact has the ids of its post and its run."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesh.events import RunFinished
from mesh.log_lines import log_lines
from tests.support.hub import curl, gateway
from tests.test_leases import a_gate


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_a_worker_tells_each_fact_with_the_ids_of_its_post_and_its_run(home: Path) -> None:
    async with a_gate(home) as gate:
        gate.open()
        await gate.worker("w", "--log-json")
        await gate.ask("r")
        await gate.finished("r")
        assert await gate.on.swarm.end("w") == 0
        told = objects((home.parent / "swarm.log").read_text())
        assert {"w"} == {each["process"] for each in told}
        assert any("takes runs of arena tiny" in each.get("text", "") for each in told)
        assert [each["kind"] for each in told if "kind" in each] == [
            "worker.joined",
            "run.started",
            "run.finished",
            "worker.left",
        ]
        [finish] = [each for each in told if each.get("kind") == "run.finished"]
        [entry] = [each for each in gate.on.entries if each.post and isinstance(each.post.event, RunFinished)]
        assert entry.post
        proposal = gate.on.follower.board.runs["r"].requested.proposal
        known = {"seq": entry.seq, "post": entry.post.id, "cause": entry.post.cause, "run": "r", "proposal": proposal}
        assert finish.items() >= (known | {"arena": "tiny", "author": "w", "outcome": "scored"}).items()


async def test_the_setting_chooses_it_for_every_process_and_errors_are_objects_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_LOG", "json")
    async with a_gate(home) as gate:
        await gate.on.swarm.start("critic")
        await gate.on.until(lambda board: len(board.agents) == 1)
        assert await gate.on.swarm.end("critic") == 0
        told = objects((home.parent / "swarm.log").read_text())
        assert [each["kind"] for each in told if "kind" in each] == ["agent.joined", "agent.left"]
        words = [*gate.on.swarm.commands["critic"], "--option", "no"]
        with anyio.fail_after(90):
            done = await anyio.run_process(words, check=False)
        [error] = objects(done.stderr.decode())
        assert (done.returncode, error["text"]) == (2, "--option is 'no'; use KEY=VALUE")


async def test_a_gateway_tells_who_asked_for_what_and_no_invitation(home: Path) -> None:
    async with a_gate(home) as gate:
        errors = home.parent / "gateway.log"
        with errors.open("wb") as stderr:
            async with gateway(home, gate.on.server.url, "--log-json", stderr=stderr) as hub:
                made = await curl(f"{hub.url}/a/tiny/api/register", data={"id": "ann"})
                asked = await curl(f"{hub.url}/a/tiny/i/secret/api/git/leaves", key=made.json["api_key"])
                assert asked.status == 200
        told = [each for each in objects(errors.read_text()) if "status" in each]
        assert [(each["method"], each["path"], each["status"], each.get("agent", "")) for each in told] == [
            ("POST", "/api/register", made.status, ""),
            ("GET", "/api/git/leaves", 200, "ann"),
        ]
        assert all(each["arena"] == "tiny" and each["ms"] >= 0 for each in told)
        assert "secret" not in errors.read_text()


def test_text_becomes_lines_of_objects_and_the_stream_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with log_lines("w", json=True):
        sys.stderr.write("w: one\nw: two\n")
        sys.stderr.write("no end")
        sys.stderr.flush()
    assert sys.stderr is out
    told = objects(out.getvalue())
    assert [each["text"] for each in told] == ["one", "two", "no end"]
    assert {each["process"] for each in told} == {"w"}


def test_without_the_setting_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stderr
    with log_lines("w"):
        assert sys.stderr is before
