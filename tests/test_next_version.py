"""What a next version would rule out is said before it is opened, and later how much is ruled out since when."""

import json
import sys
from pathlib import Path

import anyio
import pytest

from gateway.resolve import find
from mesh.arena import load_arena
from mesh.ruled_out import ruled_out_words
from mesh_cli.live.status import standing_of, status_lines
from mesh_cli.proposals.card import card
from mesh_cli.proposals.describe import about
from mesh_cli.setup.next_version import next_version_lines
from tests.support.arenas import SCORE, write
from tests.test_versions import PYTHON, Study, study

FIXED = PYTHON.replace("1..1000", "fixed")
LATER = FIXED.replace("0.01..1", "fixed")


async def lines(it: Study, text: str) -> list[str]:
    """Write the next version of the file, which nobody has opened yet."""
    write(it.folder, {it.name: text})
    return await next_version_lines(it.folder, load_arena(it.folder))


async def mesh(*words: object, code: int = 0) -> str:
    """Run a command and return what it prints."""
    done = await anyio.run_process([sys.executable, "-m", "mesh_cli", *map(str, words)], check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode()


async def test_mesh_check_says_which_proposals_the_next_version_rules_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        monkeypatch.setenv("MESH_NATS", it.url)
        monkeypatch.setenv("MESH_HOME", str(it.home))
        write(it.folder, {"arena.toml": it.arena, "score.py": SCORE, "train.py": PYTHON})
        assert await next_version_lines(it.folder, load_arena(it.folder)) == []  # there is no such arena yet
        await it.open()
        better = PYTHON.replace("0.1 ", "0.2 ")
        _, honest, _ = await it.crowned((better, 5.0), (better.replace("400", "200"), 1.0))
        await it.propose(PYTHON.replace("400", "100"), 7.0)
        would = f"the champion would be {honest[:10]} (loss 5.0), loss 5.0000"
        assert await lines(it, PYTHON) == []
        assert await lines(it, PYTHON.replace("0.1 ", "0.3 ")) == []
        assert await lines(it, FIXED) == [
            "2 proposals, the champion among them, would count nowhere from version 2 on: they changed SIZE, which "
            "version 2 fixes",
            would,
        ]
        assert (await lines(it, PYTHON.replace("1..1000", "150..1000"))) == [
            "1 proposal would count nowhere from version 2 on: it has SIZE outside of its range 150..1000 in version 2"
        ]
        all_fixed = await lines(it, LATER)
        assert all_fixed[0].startswith("3 proposals, the champion among them, would count nowhere from version 2 on: ")
        assert all_fixed[1].startswith("the champion would be ")
        assert "(as it is), loss 9.0000" in all_fixed[1]
        said = await mesh("check", it.folder, "--seeds", 1, "--slots", 1, "--device", "cpu", code=1)  # it has no score
        assert "next version\n  - 3 proposals, the champion among them, would count nowhere" in said
        board = await it.board()
        assert board.opened
        assert (board.opened.version, len(board.proposals)) == (1, 4)  # mesh check has opened nothing


async def test_status_and_show_say_how_many_are_ruled_out_and_since_which_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        monkeypatch.setenv("MESH_NATS", it.url)
        monkeypatch.setenv("MESH_HOME", str(it.home))
        await it.open()
        better = PYTHON.replace("0.1 ", "0.2 ")
        _, honest, cheat = await it.crowned((better, 5.0), (better.replace("400", "200"), 1.0))
        assert standing_of(await it.board(), ())["ruled_out"] == ""
        board = await it.open(FIXED)
        one = "1 proposal is ruled out since version 2, and counts nowhere: changed SIZE, which version 2 fixes"
        assert ruled_out_words(board) == standing_of(board, ())["ruled_out"] == one
        back = await lines(it, PYTHON)
        assert back[0] == "1 proposal that is ruled out would count again"
        assert back[1] == f"the champion would be {cheat[:10]} (loss 1.0), loss 1.0000"
        board = await it.open(LATER)
        two = "2 proposals are ruled out since versions 2 to 3, and count nowhere: changed"
        assert ruled_out_words(board).startswith(two)
        [shown] = [line for line in card(board, about(board, find(board, cheat)[0])) if line.startswith("state")]
        assert shown.startswith("state: ruled out since version 2: it changed ")
        assert shown.endswith("; no score counts")
        assert f"ruled out       {two}" in await mesh("status", "--arena", "tiny")
        row = json.loads(await mesh("status", "--arena", "tiny", "--json"))
        assert row["ruled_out"].startswith(two)
        assert any(line.startswith("ruled out ") for line in status_lines(row, None))
        for form in ("md", "html"):
            target = tmp_path / f"report.{form}"
            await mesh("report", "--arena", "tiny", "-o", target)
            assert two in target.read_text(), form
        assert honest in board.proposals
