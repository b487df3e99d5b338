"""The tools of MCP before any protocol: their words, what they refuse in a sentence, how long they are, the wait."""

import json
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from gateway.answers import DoorAnswer
from gateway.await_news import await_news
from gateway.mcp_tools import INSTRUCTIONS, TOOLS, Speaker, arguments_of, sentence_for_model, text_for, values_of
from mesh.errors import BadInput
from mesh.events import (
    AgentJoined,
    ArenaClosed,
    CritiquePosted,
    NotePosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    Scored,
)
from mesh.testing import FILES, TRAIN, requested, run_of
from tests.support.doors import open_door, post

ANN = Speaker("ann", "opus")
BETTER = TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9").decode()
PATCH = """--- a/train.py
+++ b/train.py
@@ -3,3 +3,3 @@
-WIDTH = 8  # mesh: 1..64
+WIDTH = 9  # mesh: 1..64
"""


def test_there_are_nine_tools_in_few_words() -> None:
    assert list(TOOLS) == ["status", "digest", "propose", "critique", "note", "wait", "show", "code", "sql"]
    fields = [part for tool in TOOLS.values() for part in tool.schema["properties"].values()]
    described = [tool.about for tool in TOOLS.values()] + [part.get("description", "") for part in fields]
    assert sum(len(text.encode()) for text in described) < 1000
    assert len(INSTRUCTIONS.encode()) < 2000
    assert len(json.dumps([tool.schema for tool in TOOLS.values()])) < 3000


def test_the_arguments_are_those_that_are_promised() -> None:
    assert {name: list(tool.schema["properties"]) for name, tool in TOOLS.items()} == {
        "status": [],
        "digest": ["since", "max_tokens"],
        "propose": ["files", "patch", "title", "rationale", "predicted_gain", "confidence", "parents"],
        "critique": ["id", "verdict", "text", "predicted_gain", "confidence"],
        "note": ["text", "channel", "reply_to"],
        "wait": ["since", "seconds", "kinds"],
        "show": ["id"],
        "code": ["commit", "path", "first_line"],
        "sql": ["query", "max_rows"],
    }
    assert (TOOLS["digest"].schema["properties"]["max_tokens"]["maximum"], max_of("wait", "seconds")) == (8000, 50)
    assert max_of("sql", "max_rows") == 200
    assert [name for name, tool in TOOLS.items() if not tool.is_reading] == ["propose", "critique", "note"]


def max_of(tool: str, argument: str) -> Any:
    return TOOLS[tool].schema["properties"][argument]["maximum"]


SECRET = "hunter2-in-the-input"
WRONG: list[tuple[str, dict[str, Any] | None, str]] = [
    ("digest", {"since": SECRET}, "since of digest is not valid; use a whole number"),
    ("digest", {"since": -1}, "since of digest is not valid; use a whole number >= 0"),
    ("digest", {"max_tokens": 8001}, "max_tokens of digest is not valid; use a whole number <= 8000"),
    ("digest", {"upto": 3}, "digest has no argument 'upto'; digest takes since, max_tokens"),
    ("status", {"a": 1}, "status has no argument 'a'; status takes no arguments"),
    ("wait", None, "wait needs since; wait takes since, seconds, kinds"),
    ("wait", {"since": 1, "seconds": 51}, "seconds of wait is not valid; use a number <= 50.0"),
    ("propose", {"files": [SECRET]}, "files of propose is not valid; use an object"),
    ("propose", {"files": {"a.py": 3}}, "files of propose is not valid; use text in it"),
    ("propose", {"confidence": 2}, "confidence of propose is not valid; use a number <= 1.0"),
    ("propose", {"parents": [1.5, [SECRET]]}, "parents of propose is not valid; use text in it"),
    ("critique", {"id": "a", "verdict": SECRET, "text": "b"}, "use block, endorse, warn"),
    ("critique", {"id": "a", "verdict": "warn", "text": ""}, "text of critique is not valid; use text of length >= 1"),
    ("sql", {"query": {"a": SECRET}}, "query of sql is not valid; use text"),
    ("delete", {}, "there is no tool 'delete'; use status, digest, propose, critique, note, wait, show, code, sql"),
]


@pytest.mark.parametrize(("name", "given", "sentence"), WRONG)
def test_a_wrong_argument_is_one_sentence_without_what_was_given(
    name: str, given: dict[str, Any] | None, sentence: str
) -> None:
    with pytest.raises(BadInput) as refused:
        arguments_of(name, given)
    assert sentence in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_null_is_not_given_and_json_in_text_is_understood() -> None:
    given = {"patch": None, "files": '{"a.py": "b"}', "parents": '["champion"]', "confidence": "0.5"}
    found = msgspec.to_builtins(arguments_of("propose", given))
    assert (found["files"], found["parents"], found["confidence"]) == ({"a.py": "b"}, ("champion",), 0.5)
    assert found["patch"] == ""


class _Long(DoorAnswer, frozen=True, kw_only=True):
    rows: list[str]
    text: str


def test_no_answer_is_longer_than_ten_thousand_tokens() -> None:
    fenced = f"<data-1>{'é' * 50_000}</data-1>"
    answer = _Long(arena="a", seq=1, closed="", rows=["x" * 100] * 5000, text=fenced)
    found = values_of(answer)
    assert len(msgspec.json.encode(found)) <= 30_000
    assert len(text_for(found).encode()) <= 30_000
    assert found["text"].endswith("</data-1>")
    assert found["left_out_of_rows"] == 5000 - len(found["rows"])
    assert "characters left out" in found["text"]
    assert values_of(_Long(arena="a", seq=1, closed="", rows=["y"], text="t")) == {
        "arena": "a", "seq": 1, "closed": "", "rows": ["y"], "text": "t",
    }  # fmt: skip


async def test_files_and_a_patch_are_the_same_proposal_with_its_words(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        given = {"files": {"train.py": BETTER}, "title": "wider", "predicted_gain": 0.1, "confidence": 0.7}
        first: Any = await TOOLS["propose"].work(door, ANN, arguments_of("propose", given))
        again: Any = await TOOLS["propose"].work(door, Speaker("bob"), arguments_of("propose", {"patch": PATCH}))
        assert (first.is_new, again.is_new, again.proposal, again.known_by) == (True, False, first.proposal, "ann")
        assert first.next.endswith(f"wait(since={first.seq}) tells when it has a score or a verdict")
        event = door.board.proposals[first.proposal].event
        assert (event.title, event.predicted_gain, event.confidence) == ("wider", 0.1, 0.7)
        assert (event.origin.how, event.origin.name) == ("model", "opus")


async def test_a_proposal_has_all_its_parents(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        one = await proposed(door, {"files": {"train.py": BETTER}})
        two = await proposed(door, {"files": {"train.py": BETTER.replace("= 9", "= 10")}, "parents": [one[:8]]})
        both = await proposed(door, {"files": {"train.py": BETTER.replace("= 9", "= 11")}, "parents": [two, one]})
        assert door.board.proposals[both].event.parents == (two, one)
        base = door.board.opened
        assert base is not None
        third = await proposed(door, {"files": {"train.py": BETTER + "A = 1\n"}, "parents": ["baseline", one]})
        assert door.board.proposals[third].event.parents == (base.base_tree, one)


async def proposed(door: Any, given: dict[str, Any]) -> str:
    done: Any = await TOOLS["propose"].work(door, ANN, arguments_of("propose", given))
    assert isinstance(done.proposal, str)
    return done.proposal


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "propose needs either files or patch; give one of them"),
        ({"files": {"train.py": "a"}, "patch": PATCH}, "propose needs either files or patch; give one of them"),
        ({"files": {"score.py": "a"}}, "score.py is protected, but changed; undo that, and change only train.py"),
        (
            {"files": {"train.py": FILES["train.py"].decode()}},
            "nothing is changed: the files are those of the baseline",
        ),
        ({"patch": "make it faster"}, "the patch has no diff in it"),
        ({"patch": PATCH, "parents": ["beef"]}, "no proposal of arena a starts with 'beef'"),
    ],
)
async def test_what_cannot_be_proposed_is_one_sentence(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    async with open_door(tmp_path) as door:
        with pytest.raises(BadInput, match=r"^(?!.*\n)") as refused:
            await TOOLS["propose"].work(door, ANN, arguments_of("propose", given))
        assert sentence in str(refused.value)
        assert door.board.seq == 1


async def test_a_wait_ends_with_what_concerns_who_waits_and_loses_nothing(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        mine = await proposed(door, {"files": {"train.py": BETTER}})
        began = door.board.seq
        await post(door, "eve", AgentJoined(boot="b", role="explorer"))
        await post(door, "eve", NotePosted(channel="ops", text="an agent of ours talks to itself"))
        await post(door, "ann", NotePosted(channel="general", text="my own words"))
        nothing = await await_news(door, began, seconds=0.3, author="ann")
        assert (nothing.woken_by, nothing.text, nothing.closed) == ((), "", "")
        assert began < nothing.next <= door.board.seq
        async with anyio.create_task_group() as tasks:
            answers: list[Any] = []

            async def waits() -> None:
                answers.append(await await_news(door, nothing.next, seconds=30, author="ann"))

            tasks.start_soon(waits)
            await post(door, "curator", requested(mine))
            outcome = Scored(value=0.5)
            run = run_of(mine)
            await post(
                door,
                "w",
                RunFinished(run=run, proposal=mine, outcome=outcome, worker="w", worker_class="cpu"),
            )
        [woken] = answers
        assert [(each.kind, each.author, each.about) for each in woken.woken_by] == [("run.finished", "w", mine)]
        assert woken.next == woken.seq == door.board.seq
        await post(door, "critic", CritiquePosted(target=mine, verdict="endorse", rule="sound", text="it parses"))
        seq = await post(door, "curator", ProposalRetired(proposal=mine, round=1, why="not_better"))
        late = await await_news(door, began, seconds=0, author="ann")
        assert [each.kind for each in late.woken_by] == ["run.finished", "proposal.retired"]
        told = await await_news(door, woken.next, seconds=30, author="ann")
        assert [(each.seq, each.kind) for each in told.woken_by] == [(seq, "proposal.retired")]
        assert "retired" in told.text


async def test_nobody_waits_in_an_arena_that_is_closed(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        closed = await post(door, "operator", ArenaClosed(version=1, reason="time"))
        with anyio.fail_after(45):
            told = await await_news(door, closed, seconds=50, author="ann")
        assert (told.closed, told.woken_by, told.next) == ("time", (), closed)
        last: Any = await TOOLS["wait"].work(door, ANN, arguments_of("wait", {"since": closed - 1}))
        assert [each.kind for each in last.woken_by] == ["arena.closed"]


def test_a_sentence_names_tools_in_place_of_commands() -> None:
    said = "no proposal of arena a starts with 'beef'; see mesh leaderboard"
    assert sentence_for_model(said).endswith('; sql("SELECT proposal, mean FROM leaderboard") lists them')
    assert sentence_for_model("say more in a note: mesh reply 12 TEXT") == "say more in a note: note(reply_to=12)"
    assert sentence_for_model("arena a is closed (operator)") == "arena a is closed (operator)"


async def test_others_wait_for_champions_and_for_the_kinds_that_they_name(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        mine = await proposed(door, {"files": {"train.py": BETTER}})
        began = door.board.seq
        await post(door, "curator", requested(mine))
        quiet = await await_news(door, began, seconds=0.2, author="bob")
        assert quiet.woken_by == ()
        named = await await_news(door, began, seconds=30, kinds=["run.requested"], author="bob")
        assert [each.kind for each in named.woken_by] == ["run.requested"]
        await post(door, "curator", ProposalPromoted(proposal=mine, round=1, mean=0.5))
        better = await await_news(door, began, seconds=30, author="bob")
        assert [each.kind for each in better.woken_by] == ["proposal.promoted"]
        with pytest.raises(BadInput, match=r"^'run.done' is not a kind of fact; use some of agent.joined, "):
            await await_news(door, began, kinds=["run.done"])
        with pytest.raises(BadInput, match=rf"arena a has no entry 999; use 0 to {door.board.seq}"):
            await await_news(door, 999)
