"""A score that is the candidate's own word is marked wherever a person sees it."""

import io
import json
from pathlib import Path

import anyio
import msgspec
import pytest
from rich.console import Console

from analytics.projection import Projection
from analytics.projector import replay
from analytics.sql_server import SqlServer
from mesh.board import Board
from mesh.events import AnyEvent, Scored
from mesh.jetstream import connect
from mesh.leaderboard import MARKED, Ranking, leaderboard, row_score
from mesh.memory import MemoryHub
from mesh.testing import Log
from mesh.wire import Post
from mesh_cli.__main__ import main
from mesh_cli.live.up_view import LiveView
from mesh_cli.render.words import say
from tests.support.folding import rows
from tests.support.history import T1, T2, finish, opened, proposal, request
from tests.test_cli import serving

OWN = msgspec.structs.replace(finish("r1", T1, 1.0), outcome=Scored(value=1.0, self_reported=True))
FACTS: list[AnyEvent] = [
    opened(),
    proposal(T1),
    proposal(T2, T1),
    request("r1", T1),
    request("r2", T2),
    OWN,
    finish("r2", T2, 2.0),
]


def board() -> Board:
    log = Log()
    for event in FACTS:
        log.add("ann", event)
    return log.board


def test_the_mean_is_marked_if_any_of_its_scores_is() -> None:
    told = board()
    rows = leaderboard(told)
    assert [(row.proposal, row.self_reported, row_score(row)) for row in rows] == [
        (T1, True, "1.0000*"),
        (T2, False, "2.0000"),
    ]


def test_a_mark_goes_with_the_evaluator_that_gave_it() -> None:
    log = Log()
    for event in [*FACTS, opened(2, "newer")]:
        log.add("ann", event)
    assert row_score(Ranking(log.board).of(T1)) == "-"
    assert leaderboard(log.board) == []


def test_the_message_board_says_it() -> None:
    assert say(OWN) == "finished r1: 1.0000 (self-reported) in 2.0 s"


def test_the_live_screen_marks_it() -> None:
    screen = LiveView()
    try:
        console = Console(file=io.StringIO(), width=200)
        console.print(screen._view(board()))
    finally:
        screen.close()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "1.0000*" in shown
    assert "2.0000 " in shown
    assert MARKED in shown


async def test_the_views_have_a_column_for_it(tmp_path: Path) -> None:
    bus = await MemoryHub().arena("a", create=True)
    for event in FACTS:
        await bus.post(Post.new("ann", event))
    await replay(bus, tmp_path / "mesh.duckdb")
    projection = Projection.open(tmp_path / "mesh.duckdb")
    try:
        queries = SqlServer(projection)
        for view, key in (("runs", "run"), ("leaderboard", "proposal")):
            found = await rows(queries, f"SELECT {key}, self_reported FROM {view} ORDER BY {key}")
            assert [marked for _, marked in found] == [True, False]
    finally:
        projection.close()


def test_the_commands_mark_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def fill(url: str) -> None:
        async with connect(url) as hub:
            bus = await hub.arena("a", create=True)
            for event in FACTS:
                await bus.post(Post.new("ann", event))

    def mesh(*words: str) -> tuple[str, str]:
        with pytest.raises(SystemExit, match="0"):
            main(list(words))
        said = capsys.readouterr()
        return said.out, said.err

    with serving(tmp_path / "home") as url:
        anyio.run(fill, url)
        out, err = mesh("leaderboard")
        assert ("1.0000*" in out, "2.0000*" in out, err) == (True, False, f"{MARKED}\n")
        out, err = mesh("leaderboard", "--json")
        assert ([row["self_reported"] for row in json.loads(out)], err) == ([True, False], "")
        out, _ = mesh("lineage", T1)
        assert "1.0000*" in out
        out, _ = mesh("tail", "--no-follow")
        assert out.count("(self-reported)") == 1
