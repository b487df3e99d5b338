"""A command on a long log: rows come from a projector that is up to date, and else the screen says how far it is."""

import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from mesh.events import AnyEvent
from mesh.follow import Follower
from mesh.leaderboard import leaderboard
from mesh.memory import MemoryHub
from mesh.wire import Post
from mesh_cli.projected import asking
from mesh_cli.projected.ranking import projected_rows
from mesh_cli.render.fold_progress import FoldProgress
from mesh_cli.render.step_progress import StepProgress
from tests.support.folding import bus_with, projecting
from tests.support.history import finish, proposal, request
from tests.test_leaderboard_contract import close_to, columns

NEW = "9" * 40


async def test_the_rows_of_a_long_log_are_those_of_the_projector_and_have_the_latest_fact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_CATCHES_UP_WITHIN_S", 100.0)  # of a busy machine, whose projector lies behind
    hub = MemoryHub()
    bus = await bus_with(hub)
    async with projecting(hub, tmp_path / "a.duckdb"):
        facts: list[AnyEvent] = [proposal(NEW), request("r-new", NEW), finish("r-new", NEW, -123.0)]
        for event in facts:
            await bus.post(Post.new("ann", event))
            follower = Follower(bus)
            await follower.catch_up()
            found = await projected_rows(bus, 100, long=0) or []
            assert list(map(columns, found)) == list(map(close_to, leaderboard(follower.board)))
        assert NEW in [row.proposal for row in found]
        assert await projected_rows(bus, 1, long=0) == found[:1]


async def test_a_short_log_and_one_without_a_projector_are_folded(tmp_path: Path) -> None:
    hub = MemoryHub()
    bus = await bus_with(hub)
    assert await projected_rows(bus, 100, long=0) is None
    async with projecting(hub, tmp_path / "a.duckdb"):
        assert await projected_rows(bus, 100, long=await bus.head() + 1) is None
        assert await projected_rows(bus, 100, long=await bus.head())


@contextmanager
def screen() -> Iterator[tuple[TextIO, int]]:
    """Yield a terminal to write to, and the other end, to read what is on it."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as opened:
        yield opened, ours
    os.close(ours)


def read_until(end: int, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        found += os.read(end, 1000)
    return found


def test_the_screen_says_how_far_a_long_log_is_read_and_what_is_faster() -> None:
    with screen() as (opened, other_end):
        reading = FoldProgress(opened, shown_after_s=0, long_s=0)
        reading.at(50, 200)
        assert read_until(other_end, b"(25%)\x1b[K") == b"\rreading the log: 50 of 200 entries (25%)\x1b[K"
        reading.end("a", 200)
        assert read_until(other_end, b"\n").startswith(b"\r\x1b[Kmesh: reading 200 entries took 0 s. A projector")


def test_the_screen_says_at_once_what_is_being_done_until_it_is_done(tmp_path: Path) -> None:
    with screen() as (opened, other_end):
        with StepProgress(opened) as progress:
            progress.at("drawing")
            assert read_until(other_end, b"\x1b[K") == b"\rdrawing\x1b[K"
        assert read_until(other_end, b"\x1b[K") == b"\r\x1b[K"
    with (tmp_path / "text").open("w") as file, StepProgress(file) as progress:
        progress.at("drawing")
    assert (tmp_path / "text").read_text() == ""


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_is_said_of_a_short_log_nor_to_a_file(is_terminal: bool, tmp_path: Path) -> None:
    with screen() as (opened, other_end), (tmp_path / "text").open("w") as file:
        seconds = 60.0 if is_terminal else 0.0
        reading = FoldProgress(opened if is_terminal else file, shown_after_s=seconds, long_s=seconds)
        reading.at(50, 200)
        reading.end("a", 200)
        opened.write("|")
        opened.flush()
        assert read_until(other_end, b"|") == b"|"
    assert (tmp_path / "text").read_text() == ""
