"""What is ours beside AgentHub's interface, with a real curl: proposals, long polls, questions."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mesh.events import NotePosted
from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.hub import Answer, Hub, curl, gateway, register
from tests.test_cli import fill

PATCH = """--- a/train.py
+++ b/train.py
@@ -4,1 +4,1 @@
-HEIGHT = 0.5 # mesh: 0.0..2.0
+HEIGHT = 0.4 # mesh: 0.0..2.0
"""


@pytest.fixture
async def hub(home: Path, server: EmbeddedServer) -> AsyncIterator[Hub]:
    """A gateway on loopback for one arena, in which `better` beats `worse`."""
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with gateway(home, server.url) as running:
        yield running


async def test_a_proposal_without_git_is_one_like_any_other(hub: Hub) -> None:
    api, key = f"{hub.url}/api", await register(hub.url, "gpu-7.lab")
    code = (await curl(f"{api}/code/champion?path=train.py", key=key)).json
    assert "HEIGHT = 0.5" in code["text"]
    wish = {
        "patch": PATCH,
        "title": "a lower height",
        "rationale": "it was too high",
        "predicted_gain": 0.01,
        "confidence": 0.6,
    }
    made = await curl(f"{api}/proposals", key=key, data=wish)
    assert made.status == 201, made
    assert (made.json["author"], made.json["title"], made.json["is_new"]) == ("gpu-7_lab", "a lower height", True)
    assert (made.json["closed"], made.json["arena"]) == ("", "tiny")
    again = await curl(f"{api}/proposals", key=key, data=wish)
    assert (again.json["proposal"], again.json["is_new"]) == (made.json["proposal"], False)

    waited = (await curl(f"{api}/wait/{made.json['proposal']}?wait=0", key=key)).json
    assert (waited["ending"], waited["state"]) == ("", "open")
    shown = (await curl(f"{api}/show/{made.json['proposal'][:10]}", key=key)).json
    assert shown["id"] == made.json["proposal"]
    both = {"files": {"train.py": "HEIGHT = 0.3\n"}, "parents": ["champion", made.json["proposal"]]}
    child = (await curl(f"{api}/proposals", key=key, data=both)).json
    family = (await curl(f"{api}/lineage/{child['proposal']}", key=key)).json
    assert family["rows"][0]["parents"] == [waited["champion"], made.json["proposal"]]
    for path in ("status", "leaderboard?top=5", "digest?since=0", f"lineage/{made.json['proposal']}", "code/baseline"):
        answer = await curl(f"{api}/{path}", key=key)
        assert (answer.status, answer.json["arena"], answer.json["closed"]) == (200, "tiny", ""), path
        assert answer.json["seq"] >= made.json["posted"]
    for bad, sentence in (
        ({}, "a proposal needs either files or patch"),
        ({"files": {"score.py": "1"}}, "score.py is protected"),
        ({"files": {"train.py": f"KEY = '{key}'"}}, "train.py has a key of this hub"),
        ({"files": {"train.py": "x = 1"}, "parents": ["nobody"]}, "nobody"),
        ({"files": {"train.py": "x = 1"}, "confidence": 2}, "confidence: Expected float <= 1"),
        ({"files": ["train.py"]}, "files: Expected object, got array"),
    ):
        refused = await curl(f"{api}/proposals", key=key, data=bad)
        assert refused.status in (400, 404), refused
        assert sentence in refused.json["error"]
    judged = {"id": "champion", "verdict": "warn", "text": f"my key is {key}"}
    refused = await curl(f"{api}/critiques", key=key, data=judged)
    assert (refused.status, refused.json["error"].partition(";")[0]) == (400, "text has a key of this hub")
    wish = {"files": {"train.py": "HEIGHT = 0.2\n"}, "model": key}
    refused = await curl(f"{api}/proposals", key=key, data=wish)
    assert (refused.status, refused.json["error"].partition(";")[0]) == (400, "model has a key of this hub")
    for path in ("events", f"wait/{made.json['proposal']}"):
        refused = await curl(f"{api}/{path}?wait=nan", key=key)
        assert (refused.status, refused.json) == (400, {"error": "wait is not a number of seconds; use 0 to 50"})


async def test_what_an_agent_over_http_is_told_names_no_command_and_what_is_allowed(hub: Hub) -> None:
    api, key = f"{hub.url}/api", await register(hub.url, "ann-4")
    made = await curl(f"{api}/proposals", key=key, data={"files": {"train.py": "x = 4"}, "title": "four"})
    assert "place " in made.json["next"]
    assert "mesh " not in made.json["next"]
    word = {"id": made.json["proposal"], "verdict": "maybe", "text": "x"}
    refused = await curl(f"{api}/critiques", key=key, data=word)
    assert (refused.status, refused.json) == (
        400,
        {"error": "verdict: Invalid enum value 'maybe'; use endorse, warn or block"},
    )


async def test_who_waits_for_news_wakes_with_the_acknowledgement(hub: Hub, server: EmbeddedServer) -> None:
    api, key = f"{hub.url}/api", await register(hub.url, "ann-2")
    start = (await curl(f"{api}/events?wait=0", key=key)).json
    assert (start["events"], start["closed"]) == ([], "")
    woken: list[tuple[float, Answer]] = []

    async def wait() -> None:
        kinds = "note.posted,proposal.promoted"
        answer = await curl(f"{api}/events?after={start['next']}&wait=50&kinds={kinds}", key=key)
        woken.append((time.monotonic(), answer))

    async with connect(server.url) as other, anyio.create_task_group() as tasks:
        bus = await other.arena("tiny")
        tasks.start_soon(wait)
        seq = await bus.post(Post.new("bob", NotePosted(channel="general", text="news")))
        acknowledged = time.monotonic()
    [(at, answer)] = woken
    [event] = answer.json["events"]
    assert (event["seq"], event["kind"], event["author"]) == (seq, "note.posted", "bob")
    assert event["event"] == {"kind": "note.posted", "channel": "general", "text": "news", "reply_to": None}
    assert answer.json["next"] == seq
    assert at - acknowledged < 30  # seconds, on a machine with other work; else it would have waited for 50

    old = (await curl(f"{api}/events?after=0&wait=0", key=key)).json
    assert [each["seq"] for each in old["events"]] == list(range(1, seq + 1))
    bad = await curl(f"{api}/events?kinds=nothing", key=key)
    assert bad.status == 400
    assert re.match("'nothing' is not a kind of fact; use some of agent.joined", bad.json["error"])
    assert (await curl(f"{api}/events?after={seq + 1}", key=key)).status == 400
