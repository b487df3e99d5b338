"""`mesh tail`: what it finds, where it begins and ends, how a line looks, and what it leaves behind."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from mesh.board import Board
from mesh.bus import Bus
from mesh.errors import BadInput
from mesh.events import NotePosted, RunFinished, RunRequested, RunStarted, Scored
from mesh.jetstream import connect
from mesh.jetstream.streams import stream_of
from mesh.testing import git_hash
from mesh.text import printable
from mesh.times import moment
from mesh.wire import Entry, Post
from mesh_cli.board.filters import Wanted
from mesh_cli.board.lines import Lines, clock
from mesh_cli.board.tail import Span, entries, span_of
from mesh_cli.exit import ExitCode
from mesh_cli.render.colour import Ink, colour_of
from tests.conftest import OpenBus
from tests.support.history import HISTORY, SPEC, T2, T3
from tests.support.terminal import Terminal
from tests.test_cli import serving

MESH = [sys.executable, "-m", "mesh_cli"]


def note(text: str, channel: str = "general", author: str = "ann", reply_to: int | None = None) -> Post:
    return Post.new(author, NotePosted(channel=channel, text=text, reply_to=reply_to))


async def read(bus: Bus, wanted: Wanted, span: Span) -> list[int]:
    async with aclosing(entries(bus, wanted, span)) as batches:
        return [entry.seq async for batch in batches for entry in batch]


async def fold(bus: Bus) -> tuple[Board, list[Entry]]:
    board = Board(arena=bus.arena)
    async with aclosing(bus.read()) as batches:
        found = [entry async for batch in batches for entry in batch]
    for entry in found:
        board.fold(entry)
    return board, found


WANTED: list[Callable[[Board], Wanted]] = [
    lambda board: Wanted(),
    lambda board: Wanted(kinds=["run.finished"]),
    lambda board: Wanted(kinds=["run.*", "note.posted"]),
    lambda board: Wanted(kinds=["*"], authors=["ann"]),
    lambda board: Wanted(authors=["ann", "bob"]),
    lambda board: Wanted(authors=["?n*", "cid"]),
    lambda board: Wanted(kinds=["proposal.*"], authors=["cur"]),
    lambda board: Wanted(channels=["gen*"]),
    lambda board: Wanted(channels=["ops", "general"], grep=["5"]),
    lambda board: Wanted(run="r2"),
    lambda board: Wanted(run="r2", kinds=["run.finished"]),
    lambda board: Wanted(proposal=(board, T2)),
    lambda board: Wanted(proposal=(board, T3), kinds=["run.finished", "proposal.*"]),
    lambda board: Wanted(proposal=(board, T3), run="r4"),
    lambda board: Wanted(grep=["^ann .*chatter 7", "promotes"]),
    lambda board: Wanted(exclude=["chatter", "^w "]),
]


async def test_the_last_lines_that_match_are_found_however_far_back(open_bus: OpenBus) -> None:
    """What the server leaves out and what is looked through in windows gives the same as reading everything."""
    async with open_bus() as bus:
        for author, event in HISTORY:
            await bus.post(Post.new(author, event))
        await bus.post(note("why?", reply_to=5))
        await bus.post_all([note(f"chatter {n}", "ops" if n % 3 else "general") for n in range(2500)])
        board, everything = await fold(bus)
        head = len(everything)
        for make in WANTED:
            found = [entry.seq for entry in everything if make(board).matches(entry)]
            assert found
            for last in (None, 0, 1, 5, 10_000):
                wanted = make(board)
                rest = found if last is None else found[len(found) - min(last, len(found)) :]
                assert await read(bus, wanted, Span(0, head, last, follow=False)) == rest
            inside = [seq for seq in found if 10 < seq <= 20]
            assert await read(bus, make(board), Span(10, 20, None, follow=False)) == inside
            assert await read(bus, make(board), Span(10, 20, 2, follow=False)) == inside[-2:]


async def test_a_proposal_is_followed_into_runs_that_are_asked_for_later(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        for author, event in HISTORY:
            await bus.post(Post.new(author, event))
        board, _ = await fold(bus)
        heard: list[int] = []
        asked = RunRequested(
            run="r9", lane="confirm", proposal=T2, commit=git_hash("c"), seed=9, budget_s=1, deadline_s=2
        )
        done = RunFinished(run="r9", proposal=T2, outcome=Scored(value=1), worker="w", worker_class="cpu")
        other_run = RunStarted(run="rX", attempt=1, worker="w")
        wanted = Wanted(proposal=(board, T2))
        async with aclosing(entries(bus, wanted, Span(24, 24, None, follow=True))) as batches:
            for later in (asked, RunStarted(run="r9", attempt=1, worker="w"), other_run, done):
                await other.post(Post.new("w", later))
            await other.post(note("well done", reply_to=5))
            with anyio.fail_after(60):
                while len(heard) < 4:
                    heard += [entry.seq for entry in await anext(batches)]
    assert heard == [25, 26, 28, 29]


async def test_a_log_is_cut_by_times(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.post_all([note(str(n)) for n in range(6)])
        _, found = await fold(bus)
        times = [entry.time.isoformat() for entry in found]

        async def span(*, follow: bool = False, n: int | None = None, **limits: str | int | None) -> Span:
            given = {"from_seq": None, "since": None, "until": None} | limits
            return await span_of(bus, follow=follow, n=n, **given)  # type: ignore[arg-type]

        assert await span() == Span(0, 6, 20, follow=False)
        assert await span(since="1h") == Span(0, 6, None, follow=False)
        assert await span(since=times[2], until=times[4]) == Span(2, 4, None, follow=False)
        assert await span(since=times[2].replace("+00:00", ""), n=1) == Span(2, 6, 1, follow=False)
        assert await span(from_seq=5, follow=True) == Span(4, 6, None, follow=True)
        assert await span(from_seq=50, follow=True) == Span(49, 6, None, follow=True)
        assert await span(from_seq=50) == Span(6, 6, None, follow=False)
        assert await span(until="1h") == Span(0, 0, 20, follow=False)


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("2026-01-31") == dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    assert moment("2026-01-31T12:00") == moment("2026-01-31T14:00+02:00") == moment("2026-01-31T12:00:00Z")
    with pytest.raises(BadInput):
        moment("0001-01-01T00:00+14:00")


def test_times_are_short_on_a_screen_and_whole_in_a_pipe() -> None:
    time = dt.datetime(2026, 1, 31, 12, 0, 5, tzinfo=dt.UTC)
    assert clock(time, None) == "2026-01-31T12:00:05Z"
    assert clock(time, time + dt.timedelta(hours=1)) == "12:00:05"
    assert clock(time, time + dt.timedelta(days=1)) == "01-31 12:00"


async def test_a_reply_shows_what_it_answers(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        long = "a first thought, which goes on \x1b[2J for much longer than anybody quotes"
        await bus.post_all([note(long), note("yes", author="bob", reply_to=1), note("what?", reply_to=77)])
        _, found = await fold(bus)
        lines = Lines(Ink(on=False), screen=False)  # has not seen what is answered
        answer, lost = [(await lines.line_from(bus, entry))[27:].strip() for entry in found[1:]]
    assert answer == "bob            ≡ #general ↳ to #1 ann: a first thought, which goes on \ufffd[2J for… │ yes"
    assert lost == "ann            ≡ #general ↳ to #77 ? │ what?"


async def test_an_author_keeps_a_colour_and_plain_text_has_none(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.post_all([note("a"), note("b", author="bob"), note("c")])
        _, found = await fold(bus)
        coloured = [Lines(Ink(on=True), screen=True).line(entry) for entry in found]
    colours = [re.findall(r"\x1b\[38;5;(\d+)m(\w+)", line) for line in coloured]
    assert colours == [[(str(colour_of(name)), name)] for name in ("ann", "bob", "ann")]
    assert all(re.match(r"\x1b\[2m {5}\d \d\d:\d\d:\d\d\x1b\[0m ", line) for line in coloured)
    assert colour_of("ann") != colour_of("bob")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with an arena of a few hundred notes, 40 KB each."""

    async def fill(url: str) -> None:
        async with connect(url) as hub:
            bus = await hub.arena("a", create=True)
            await bus.post(Post.new("op", HISTORY[0][1]))
            await bus.post_all([note(f"{n} " + "x" * 40_000, "general") for n in range(100)])

    assert SPEC.name == "a"
    with serving(tmp_path_factory.mktemp("tail") / "home") as url:
        anyio.run(fill, url)
        yield url


def readers(url: str) -> list[str]:
    async def names() -> list[str]:
        async with connect(url) as hub:
            answer = await hub.link.call(f"$JS.API.CONSUMER.NAMES.{stream_of('a')}", {"offset": 0})
            return [name for name in answer["consumers"] if name.startswith("read-")]

    return anyio.run(names)


@pytest.mark.parametrize("words", [["--follow"], ["--no-follow"], ["--follow", "--kind", "note.posted", "-n", "3"]])
def test_a_reader_that_goes_away_ends_it_in_silence_and_no_consumer_is_left(served: str, words: list[str]) -> None:
    with subprocess.Popen([*MESH, "tail", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as telling:
        assert telling.stdout
        assert telling.stderr
        assert telling.stdout.readline()
        telling.stdout.close()
        assert (telling.stderr.read(), telling.wait(100)) == (b"", ExitCode.OK)
    assert readers(served) == []


@pytest.mark.parametrize("line", ["--help", "status", "tail --no-follow --json -n 100", "sql --csv 'FROM events'"])
def test_a_full_disk_is_one_sentence(served: str, line: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            f"exec {sys.executable} -m mesh_cli {line}",
            shell=True,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=300,
            check=False,
        )
    said = done.stderr.splitlines()[-1:]
    assert (said, done.returncode) == (
        [b"mesh: the output cannot be written: No space left on device"],
        ExitCode.HOST,
    )
    assert b"Traceback" not in done.stderr


def test_on_a_terminal_it_follows_in_colour_and_reading_a_channel_moves_its_mark(served: str) -> None:
    def unread() -> dict[str, int]:
        done = subprocess.run([*MESH, "channels", "--json"], capture_output=True, timeout=300, check=True)
        return {row["channel"]: row["unread"] for row in json.loads(done.stdout)}

    def say(text: str, channel: str) -> None:
        subprocess.run([*MESH, "post", channel, text], capture_output=True, timeout=300, check=True)

    say("one", "talk")
    before = unread()
    assert before["talk"] == 1
    subprocess.run([*MESH, "tail", "--channel", "talk", "--no-follow"], capture_output=True, timeout=300, check=True)
    assert unread() == before
    with Terminal("tail", "--channel", "talk") as terminal:
        terminal.until("one")
        say("elsewhere", "other")
        say("two", "talk")
        terminal.until("two")
        terminal.press("\x03")
        code, drawn = terminal.end()
    assert (code, "elsewhere" in drawn) == (ExitCode.OK, False)
    assert re.search(r"\x1b\[38;5;\d+moperator", drawn)
    assert unread() == before | {"talk": 0, "other": 1}
    say("three", "talk")
    assert unread()["talk"] == 1
    with Terminal("tail", "--no-follow", "-n", "1", NO_COLOR="1") as terminal:
        assert "\x1b" not in terminal.end()[1]
    assert readers(served) == []


def test_a_table_stays_within_a_narrow_terminal(served: str) -> None:
    subprocess.run([*MESH, "post", "wide", "some 漢字 " * 30], capture_output=True, timeout=300, check=True)
    for columns in (60, 80):
        for words in (["channels"], ["status"]):
            with Terminal(*words, columns=columns) as terminal:
                code, drawn = terminal.end()
            assert code == ExitCode.OK
            assert max(len(line) for line in drawn.splitlines()) <= columns


def test_every_line_of_json_is_an_entry(served: str) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*MESH, "tail", "--json", "--no-follow", "--from-seq", "1", "-n", "3", "--kind", "note.*"]
    done = subprocess.run(command, capture_output=True, timeout=300, check=True, env=env)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["kind"] for row in rows] == ["note.posted"] * 3
    assert all(row["post"]["event"]["text"] for row in rows)


def test_a_text_is_cut_only_where_that_makes_it_shorter() -> None:
    assert printable("x" * 57, 40) == "x" * 57
    assert printable("x" * 58, 40) == f"{'x' * 40}… (58 characters)"
