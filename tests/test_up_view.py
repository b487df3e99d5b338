"""The screen of `mesh up`: leaderboard and entries fit the terminal."""

import io
from typing import Literal

import pytest
from rich.console import Console

from mesh.events import CritiquePosted, NotePosted, Origin, ProposalPosted
from mesh.leaderboard import Ranking
from mesh.testing import Log, commit_hash, git_hash
from mesh_cli.live.up_view import LiveView, QuietView, is_shown
from tests.support.history import entries

LONG = "gaussian: HIDDEN 16 → 14, LEARNING_RATE 0.1 → 0.8657, MOMENTUM 0.3 → 0.1 and 11 more"


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40), (60, 12)])
def test_the_screen_fits_the_terminal(columns: int, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    log = Log()
    log.open()
    for number in range(12):
        name = f"t{number}"
        log.add(
            "ann",
            ProposalPosted(tree=git_hash(name), commit=commit_hash(name), title=LONG, origin=Origin(how="sampler")),
        )
        log.score(name, float(number))
    screen = LiveView(5)
    try:
        for entry in entries([("ann", NotePosted(channel="general", text=f"note {n} {'w' * 200}")) for n in range(60)]):
            screen.take(entry, counts=True)
        console = Console(file=io.StringIO(), width=columns, height=lines)
        console.print(screen._view(log.board))
    finally:
        screen.close()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue().rstrip("\n").splitlines()
    assert len(shown) < lines
    assert max(map(len, shown)) <= columns
    assert "note 59" in shown[-2]
    assert any("gaussian" in line and "0.0000" in line for line in shown)


def test_warnings_that_decide_nothing_are_counted_and_not_shown() -> None:
    def critique(verdict: Literal["endorse", "warn", "block"], rule: str) -> CritiquePosted:
        return CritiquePosted(target=git_hash("t"), verdict=verdict, rule=rule, text="why")

    counted = [critique("warn", rule) for rule in ("within_noise", "within_noise", "near_duplicate")]
    decisions = [critique("block", "duplicate"), critique("block", "dead_end"), critique("warn", "model")]
    given = entries([("critic", event) for event in (*counted, *decisions, critique("endorse", "sound"))])
    assert [is_shown(entry) for entry in given] == [False] * 3 + [True] * 3 + [False]
    view = QuietView(5)
    log = Log()
    log.open()
    assert "champion" not in view.headline(log.board, Ranking(log.board))
    for entry in given:
        view.take(entry, counts=True)
    line = view.headline(log.board, Ranking(log.board))
    assert line.endswith("left, 2 no better than the champion, 1 near duplicates")
