"""What people say: posts and replies, and how many notes of a channel they have not read."""

from pathlib import Path

import pytest

from gateway.note import answer_to
from mesh.errors import BadInput, UnknownName
from mesh.events import NotePosted
from mesh.wire import Post
from mesh_cli.board.channels import channels_of
from mesh_cli.board.notes import text_of
from mesh_cli.board.read_marks import Marks
from mesh_cli.exit import ExitCode
from tests.conftest import OpenBus
from tests.support.history import HISTORY
from tests.support.terminal import Terminal


def note(channel: str, text: str, author: str = "ann") -> Post:
    return Post.new(author, NotePosted(channel=channel, text=text))


async def test_an_answer_to_a_note_stays_in_its_channel_and_any_other_goes_to_general(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        asked, made = note("ideas", "warm up longer?"), Post.new(*HISTORY[3])
        await bus.post(asked)
        await bus.post(made)
        assert await answer_to(bus, 1, "yes", None) == (
            NotePosted(channel="ideas", text="yes", reply_to=1),
            asked.id,
        )
        assert await answer_to(bus, 2, "why?", None) == (
            NotePosted(channel="general", text="why?", reply_to=2),
            made.id,
        )
        assert (await answer_to(bus, 2, "why?", "ideas"))[0].channel == "ideas"
        with pytest.raises(UnknownName, match="has no entry 3; use 1 to 2"):
            await answer_to(bus, 3, "what?", None)


async def test_what_was_said_after_the_mark_is_unread(open_bus: OpenBus, tmp_path: Path) -> None:
    async with open_bus() as bus:
        identity = await bus.identity()
        for channel in ("a", "b", "a", "a"):
            await bus.post(note(channel, f"in {channel}"))
        marks = Marks(tmp_path / "read" / "marks.json", identity)
        marks.move("a", 3)
        marks.move("a", 1)
        marks.save()
        again = Marks(tmp_path / "read" / "marks.json", identity)
        rows = await channels_of(bus, again)
        assert [(row["channel"], row["unread"], row["notes"], row["last"]) for row in rows] == [
            ("a", 1, 3, 4),
            ("b", 1, 1, 2),
        ]
        other = Marks(tmp_path / "read" / "marks.json", "another log")
        assert [row["unread"] for row in await channels_of(bus, other)] == [3, 1]


def test_without_a_text_it_does_not_wait_for_one_on_a_terminal(home: Path) -> None:
    with Terminal("post", "general") as terminal:
        code, drawn = terminal.end()
    assert (code, drawn.strip()) == (
        ExitCode.BAD_INPUT,
        "mesh: there is no text; give it as an argument or through a pipe",
    )


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_nothing_cannot_be_said(text: str) -> None:
    with pytest.raises(BadInput, match="the text is empty"):
        text_of(text)
