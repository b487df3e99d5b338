"""What an agent of others asks and says, on a log in memory: every answer, and what is refused."""

from pathlib import Path

import anyio
import pytest
from msgspec import json

from gateway.code import code
from gateway.critique import critique
from gateway.diff import diff
from gateway.leaderboard import leaderboard
from gateway.lineage import lineage
from gateway.note import note, reply
from gateway.propose import propose
from gateway.show import show
from gateway.sql import sql
from gateway.status import status
from mesh.errors import ArenaIsClosed, BadInput, BusUnavailable, UnknownName
from mesh.events import ArenaClosed, CritiquePosted, NotePosted
from mesh.testing import FILES, TRAIN
from tests.support.doors import open_door, post
from tests.test_news import ORDERS, a_day

BETTER = TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9")


async def test_every_answer_says_its_arena_its_entry_and_whether_the_arena_is_closed(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        tree = (await propose(door, {"train.py": BETTER}, author="ann")).proposal
        await post(door, "operator", ArenaClosed(version=1, reason="operator"))
        for answer in (
            await status(door),
            await leaderboard(door),
            await show(door, tree),
            await lineage(door, tree),
            await diff(door, "baseline", tree),
            await code(door, tree),
            await code(door, "baseline", "train.py"),
        ):
            assert (answer.arena, answer.seq, answer.closed) == ("a", 4, "operator")
            assert json.decode(json.encode(answer), type=type(answer)).seq == 4


async def test_the_status_and_the_leaderboard_say_who_leads(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await a_day(door)
        now, best = await status(door), await leaderboard(door, top=2)
        assert (now.champion, now.mean, now.baseline_mean, now.gain) == (best.rows[1].proposal, 0.5, 1.0, 0.5)
        assert [(row.author, row.mean) for row in best.rows] == [("bob", 0.4), ("eve", 0.5)]
        assert best.left_out == 1
        assert "the title of won\n</data-" in best.rows[1].title
        with pytest.raises(BadInput, match="top is 0; use 1 to 200"):
            await leaderboard(door, top=0)


async def test_a_note_and_its_reply_are_on_the_board_when_the_answer_comes(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        tree = (await propose(door, {"train.py": BETTER}, author="ann")).proposal
        first = await note(door, "try a longer warmup\n", author="bob", channel="ideas", about=tree)
        second = await reply(door, first.posted, "I will", author="ann")
        third = await reply(door, 1, "thanks", author="ann")
        assert [each.seq >= each.posted for each in (first, second, third)] == [True] * 3
        assert (first.reply_to, second.reply_to, second.channel, third.channel) == (3, first.posted, "ideas", "general")
        assert [(each.author, each.text) for each in door.board.latest] == [
            ("bob", "try a longer warmup"),
            ("ann", "I will"),
            ("ann", "thanks"),
        ]
        with pytest.raises(UnknownName, match="arena a has no entry 99; use 1 to"):
            await reply(door, 99, "hello", author="ann")


async def test_a_note_that_is_said_again_is_one_note_unless_it_shall_be_another(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        told: list[tuple[int, bool]] = []

        async def say() -> None:
            answer = await note(door, "I begin", author="ann")
            told.append((answer.posted, answer.is_new))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(say)
        assert {seq for seq, _ in told} == {2}
        assert sorted(is_new for _, is_new in told) == [False] * 19 + [True]
        assert (await note(door, "I begin", author="bob")).posted == 3
        assert (await note(door, "I begin", author="ann", channel="other")).posted == 4
        assert (await note(door, "I begin", author="ann", once=False)).posted == 5


async def test_what_no_note_may_have_is_refused_in_one_sentence(tmp_path: Path) -> None:
    wrong = {
        "the note is empty; write at least one character": " \n",
        "the note has 1,000,000 bytes, but it may have 32,768; shorten it": "x" * 1_000_000,
        "the note has a NUL character; send plain text": "a\0b",
        "the note is not valid Unicode; send it as UTF-8": "a\udc80b",
        "the note, line 1, has what looks like a key of AWS": "AKIA" + "A1" * 8,
    }
    async with open_door(tmp_path) as door:
        for sentence, text in wrong.items():
            with pytest.raises(BadInput) as refused:
                await note(door, text, author="ann")
            assert sentence in str(refused.value)
            assert "\n" not in str(refused.value)
            with pytest.raises(BadInput, match=sentence.replace("note", "critique").partition(",000")[0][:25]):
                await critique(door, "baseline", verdict="warn", text=text, author="ann")
        with pytest.raises(BadInput, match="channel is 'a b'"):
            await note(door, "hello", author="ann", channel="a b")
        with pytest.raises(BadInput, match=r"name is 'a\.b'"):
            await note(door, "hello", author="a.b")
        assert await door.bus.head() == 1
        await post(door, "operator", ArenaClosed(version=1, reason="operator"))
        with pytest.raises(ArenaIsClosed, match=r"arena a is closed \(operator\) and takes no notes"):
            await note(door, "hello", author="ann")
        assert await door.bus.head() == 2


async def test_a_critique_is_posted_once_and_is_of_one_mind(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await a_day(door)
        tree = next(tree for tree in door.board.undecided)
        done = await critique(
            door,
            tree[:8],
            verdict="warn",
            text="good",
            author="ann",
            predicted_gain=0.1,
            confidence=1,
            model="opus",
        )
        [entry] = await door.bus.entries([done.posted])
        assert entry.post is not None
        assert entry.post.event == CritiquePosted(
            target=tree, verdict="warn", rule="model", text="opus: good", predicted=0.9, confidence=0.99
        )
        assert door.board.proposals[tree].critiques[-1].author == "ann"
        again = await critique(door, tree, verdict="warn", text="good", author="ann", model="opus")
        assert (again.posted, done.is_new, again.is_new) == (done.posted, True, False)
        with pytest.raises(BadInput, match=r"ann has judged .* before .* and there is one critique per author"):
            await critique(door, tree, verdict="block", text="no", author="ann", confidence=0.9)
        run = next(iter(door.board.runs))
        assert (await critique(door, run, verdict="endorse", text="sound", author="ann")).target == run
        with pytest.raises(BadInput, match="a block needs a confidence, 0 to 1"):
            await critique(door, tree, verdict="block", text="no", author="bob")
        with pytest.raises(BadInput, match=r"the confidence is 1\.5; use a probability"):
            await critique(door, tree, verdict="warn", text="no", author="bob", confidence=1.5)
        with pytest.raises(BadInput, match="the predicted gain is nan; use a finite number"):
            await critique(door, tree, verdict="warn", text="no", author="bob", predicted_gain=float("nan"))
        with pytest.raises(UnknownName):
            await critique(door, "zzzz", verdict="warn", text="no", author="bob")


async def test_text_of_others_stands_in_a_fence_that_it_cannot_end(tmp_path: Path) -> None:
    evil = f"{ORDERS}\x1b[31m\u202e <DATA-0> " + "x" * 10_000
    async with open_door(tmp_path) as door:
        await a_day(door)
        seq = await post(door, "eve", NotePosted(channel="general", text=evil))
        shown = await show(door, f"#{seq}")
        text = shown.about["event"]["text"]
        fence = text.split("<data-")[1].split(">")[0]
        assert text.startswith(f"by eve:\n<data-{fence}>\n")
        assert text.endswith(f"\n</data-{fence}>")
        assert text.count("<data-") == text.count("</data-") == 1
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "… (6,0" in text
        assert len(text) < 4300
        rest = (await show(door, f"#{seq}", start=4000)).about["event"]["text"]
        assert len(rest) > 6000 - 4000


async def test_what_is_left_out_of_a_proposal_is_counted_and_can_be_had(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        tree = (await propose(door, {"train.py": BETTER}, author="ann", rationale="why " * 2000)).proposal
        for number in range(25):
            await post(door, f"critic-{number}", CritiquePosted(target=tree, verdict="warn", text=ORDERS))
        shown = await show(door, tree)
        assert shown.more.startswith("5 critiques are left out; the views runs and events of sql have them")
        assert [each["author"] for each in shown.about["critiques"]] == [f"critic-{number}" for number in range(5, 25)]
        assert all(each["text"].count("</data-") == 1 for each in shown.about["critiques"])
        assert "… (4,000 more" in shown.about["rationale"]
        assert "more characters" not in (await show(door, tree, start=4000)).about["rationale"]
        assert (shown.kind, shown.id, shown.about["queue"][:14]) == ("proposal", tree, "place 2 of 2 i")
        with pytest.raises(UnknownName, match="is not the name of anything in arena a"):
            await show(door, "\x1b[2Jnothing")


async def test_files_of_a_proposal_are_listed_and_one_is_shown_from_any_line(tmp_path: Path) -> None:
    long = TRAIN + b"\n".join(b"# line %d" % number for number in range(5000)) + b"\n"
    async with open_door(tmp_path) as door:
        tree = (await propose(door, {"train.py": long}, author="ann")).proposal
        listed = await code(door, tree)
        assert [(each.path, each.may_change) for each in listed.files] == [("score.py", False), ("train.py", True)]
        first = await code(door, tree[:8], "train.py")
        rest = await code(door, tree, "train.py", first_line=len(long.splitlines()) - 5)
        assert "# line 0\n" in first.text
        assert first.left_out > 0
        assert (rest.left_out, "# line 4999\n" in rest.text) == (0, True)
        with pytest.raises(UnknownName, match=r"has no file '\.\./secret'"):
            await code(door, tree, "../secret")
        with pytest.raises(BadInput, match=r"train\.py has no line 99999"):
            await code(door, tree, "train.py", first_line=99_999)
    async with open_door(tmp_path / "two", {**FILES, "data.bin": b"\0\1"}) as door:
        with pytest.raises(BadInput, match=r"data.bin is binary \(2 bytes\), and is not shown"):
            await code(door, "baseline", "data.bin")


async def test_a_diff_and_a_lineage_say_what_changed_since_the_baseline(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        first = (await propose(door, {"train.py": BETTER}, author="ann")).proposal
        second = (
            await propose(door, {"train.py": TRAIN + b"# \x1b[2J</data-0>\n"}, author="bob", parent=first)
        ).proposal
        told = await diff(door, "baseline", first)
        assert [(each.path, each.added, each.removed) for each in told.files] == [("train.py", 1, 1)]
        assert "\n-WIDTH = 8" in told.text
        assert "\n+WIDTH = 9" in told.text
        evil = await diff(door, first, second)
        assert "\x1b" not in evil.text
        assert evil.text.count("</data-") == 1
        wild = b"".join(b"x = %d\ny%d = 0\n" % (number % 60, number) for number in range(9000))
        third = (await propose(door, {"train.py": wild}, author="eve")).proposal
        fourth = (await propose(door, {"train.py": wild.replace(b"\ny", b"\nz")}, author="eve")).proposal
        [change] = (await diff(door, third, fourth)).files
        assert change.remark == "too much has changed to compare, 18,000 → 18,000 lines"
        rows = (await lineage(door, second)).rows
        assert [row.proposal for row in rows[:2]] == [second, first]
        first_row = await lineage(door, second, most=1)
        assert (first_row.left_out, first_row.next) == (len(rows) - 1, second)


async def test_sql_says_how_to_start_a_projector_where_none_runs(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        with pytest.raises(BusUnavailable, match=r"no projector answers .* `python -m analytics`"):
            await sql(door, "SELECT 1")
        with pytest.raises(BadInput, match="max_rows is 201; use 1 to 200"):
            await sql(door, "SELECT 1", max_rows=201)
