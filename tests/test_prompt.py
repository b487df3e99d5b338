"""The prompt of `mesh sql` on a real terminal, with the projector as a process of its own."""

import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.support.arenas import write_arena
from tests.support.terminal import Terminal
from tests.test_cli import Lab, fill, serving

RUNAWAY = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b;"


@pytest.fixture(scope="module", params=["a projector runs", "none runs"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("prompt") / "home"
    with serving(home) as url:
        found = Lab(home, url, *anyio.run(fill, home, url, write_arena(home.parent / "arena")))
        if request.param == "none runs":
            yield found
            return
        command = [sys.executable, "-m", "analytics", "--home", str(home)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as projector:
            assert projector.stderr is not None
            assert "is up to date" in projector.stderr.readline()
            yield found
            projector.terminate()


def test_a_statement_over_several_lines_is_answered_at_its_semicolon(lab: Lab) -> None:
    with Terminal("sql", lines=40, columns=100) as terminal:
        terminal.until("mesh >")
        terminal.press("SELECT run, value\r")
        terminal.until(r"\.\.\.")
        terminal.press("FROM runs WHERE value < 0.5; SELECT 'two' AS second;\r")
        terminal.until(r"run │ value\n.*\nr2  │  0.25\n")
        terminal.until(r"second\n.*\ntwo")
        terminal.until("mesh >")
        terminal.press("SELEC 1;\r")
        terminal.until("mesh: .*syntax error.*\n")
        terminal.until("mesh >")
        terminal.press("\x04")
        assert "Traceback" not in terminal.rest()
        assert terminal.code() == 0


def test_commands_begin_with_a_dot(lab: Lab) -> None:
    with Terminal("sql", lines=60, columns=100) as terminal:  # all views, without the pager
        for typed, shown in {
            ".tables": "leaderboard",
            ".schema noise": r"noise │ sd +│ DOUBLE",
            ".format csv": "the format is csv",
            "SELECT 1 AS a, 2 AS b;": "a,b\n1,2\n",
            ".format xml": "mesh: 'xml' is not a format of the prompt; use table, json, jsonl, csv, markdown",
            ".timer on": "the timer is on",
            "SELECT 3;": r"\d\.\d{3} s\n",
            ".help": "Ctrl-C interrupts",
            ".nonsense": "mesh: '.nonsense' is not a command; .help lists them",
        }.items():
            terminal.until("mesh >")
            terminal.press(typed + "\r")
            terminal.until(shown)
        terminal.until("mesh >")
        terminal.press(".quit\r")
        terminal.rest()
        assert terminal.code() == 0


def test_ctrl_c_interrupts_the_query_that_runs_and_drops_a_line_but_never_leaves(lab: Lab) -> None:
    with Terminal("sql", "--timeout-s", "60", lines=40, columns=100) as terminal:
        terminal.until("mesh >")
        for _ in range(3):  # more than run at the same time: those before have really ended
            terminal.press(RUNAWAY + "\r")
            terminal.until_signals()
            began = time.monotonic()
            terminal.press("\x03")
            terminal.until("interrupted")
            assert time.monotonic() - began < 40
            terminal.until("mesh >")
        terminal.press("SELECT dropped\x03")
        terminal.until("mesh >")
        began = time.monotonic()
        terminal.press("SELECT 6 * 7 AS answer;\r")
        terminal.until(r"answer\n.*\n +42\n")
        terminal.until("mesh >")
        assert time.monotonic() - began < 40
        terminal.press("\x04")
        assert "Traceback" not in terminal.rest()
        assert terminal.code() == 0


def test_a_prompt_that_is_left_open_keeps_no_projector_from_starting_and_shows_what_is_new(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as url:
        anyio.run(fill, home, url, write_arena(tmp_path / "arena"))
        with Terminal("sql", lines=40, columns=100) as terminal:
            terminal.until("mesh >")
            for typed, shown in {  # here the prompt folds the log itself
                "BEGIN;": "mesh: TRANSACTION is refused: a query only reads",
                "SELECT count(*) AS before FROM runs;": r"before\n.*\n +3\n",
            }.items():
                terminal.press(typed + "\r")
                terminal.until(shown)
                terminal.until("mesh >")
            command = [sys.executable, "-m", "analytics", "--home", str(home)]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as projector:
                assert projector.stderr is not None
                assert "is up to date" in projector.stderr.readline()
                post = [sys.executable, "-m", "mesh_cli", "post", "general", "fresh"]
                subprocess.run(post, check=True, capture_output=True)
                while True:
                    terminal.press("SELECT 'notes', count(*) FROM board WHERE text = 'fresh';\r")
                    if terminal.until(r"\nnotes +│ +(\d)\n")[1] == "1":
                        break
                    terminal.until("mesh >")
                terminal.until("mesh >")
                terminal.press("\x04")
                assert "Traceback" not in terminal.rest()
                projector.terminate()


def test_what_was_asked_is_recalled_and_names_are_completed(lab: Lab) -> None:
    with Terminal("sql", lines=40, columns=100) as terminal:
        terminal.until("mesh >")
        terminal.press("SELECT count(*) AS remembered FROM leaderb\t")
        terminal.until("oard")
        terminal.press(";\r")
        terminal.until(r"remembered\n.*\n +2\n")
        terminal.until("mesh >")
        terminal.press("\x04")
        terminal.rest()
    path: Path = lab.home / "sql_history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Terminal("sql", lines=40, columns=100) as terminal:
        terminal.until("mesh >")
        terminal.press("\x1b[A\r")
        terminal.until(r"remembered\n.*\n +2\n")
        terminal.until("mesh >")
        terminal.press("\x04")
        terminal.rest()
