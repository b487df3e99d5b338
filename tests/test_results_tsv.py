"""`mesh import` and `export`: the results.tsv of karpathy/autoresearch in and out, with and without its repository."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import BadInput
from mesh_cli.exit import ExitCode
from mesh_cli.history.result_rows import read_history
from tests.test_cli import Done, Mesh, mesh, refused, serving

__all__ = ["mesh"]

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
TSV = (
    HEADER
    + """a1b2c3d\t0.997900\t44.0\tkeep\tbaseline
b2c3d4e\t0.993200\t44.2\tkeep\tincrease LR to 0.04
c3d4e5f\t1.005000\t44.0\tdiscard\tswitch to GeLU activation\tand a tab
d4e5f6a\t0.000000\t0.0\tcrash\tdouble model width (OOM)
e5f6a7b\t0.993200\t44.2\tdiscard\tsame "score" as the champion, | pipes, émoji 🙂
b2c3d4e\t0.993400\t44.2\tdiscard\tthe champion once more
f6a7b8c\t0.990000\t60.2\tkeep\twarmup 200 → 300
"""
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with serving(tmp_path / "home"):
        yield tmp_path


def write(folder: Path, text: str = TSV) -> Path:
    path = folder / "nanochat runs" / "results.tsv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def failed(done: Done, code: ExitCode, sentence: str) -> None:
    """Check that an import ended with a sentence, after it had said what it takes the columns for."""
    refused(Done(done.code, done.out, done.err.splitlines(keepends=True)[-1]), code, sentence)


def ask(mesh: Mesh, query: str) -> list[list[Any]]:
    done = mesh("sql", query, "--json")
    assert done.code == 0, done.err
    return [list(row.values()) for row in json.loads(done.out)["rows"]]


def test_the_views_say_what_the_file_says(home: Path, mesh: Mesh) -> None:
    done = mesh("import", write(home), "--yes")
    assert done[:2] == (0, "arena nanochat-runs has 7 rows, 7 of them new\n")
    assert ask(mesh, "SELECT rank, title, mean, state, seeds, self_reported FROM leaderboard ORDER BY rank") == [
        [1, "warmup 200 → 300", 0.99, "champion", 1, True],
        [2, "increase LR to 0.04", 0.9932, "past_champion", 1, True],
        [3, 'same "score" as the champion, | pipes, émoji 🙂', 0.9932, "retired", 1, True],
        [4, "the champion once more", 0.9934, "retired", 1, True],
        [5, "baseline", 0.9979, "past_champion", 1, True],
        [6, "switch to GeLU activation\tand a tab", 1.005, "retired", 1, True],
    ]
    assert ask(mesh, "SELECT run, state, reason, value, peak_memory_mb, self_reported FROM runs ORDER BY seq") == [
        ["row-1", "scored", None, 0.9979, 44.0 * 1024, True],
        ["row-2", "scored", None, 0.9932, 44.2 * 1024, True],
        ["row-3", "scored", None, 1.005, 44.0 * 1024, True],
        ["row-4", "failed", "crash", None, 0.0, False],
        ["row-5", "scored", None, 0.9932, 44.2 * 1024, True],
        ["row-6", "scored", None, 0.9934, 44.2 * 1024, True],
        ["row-7", "scored", None, 0.99, 60.2 * 1024, True],
    ]
    assert ask(
        mesh, "SELECT p.title, parent_title FROM proposals p LEFT JOIN lineage USING (proposal) ORDER BY seq"
    ) == [
        ["baseline", None],
        ["increase LR to 0.04", "baseline"],
        ["switch to GeLU activation\tand a tab", "increase LR to 0.04"],
        ["double model width (OOM)", "increase LR to 0.04"],
        ['same "score" as the champion, | pipes, émoji 🙂', "increase LR to 0.04"],
        ["the champion once more", "increase LR to 0.04"],
        ["warmup 200 → 300", "increase LR to 0.04"],
    ]
    assert ask(mesh, "SELECT title, best FROM frontier") == [
        ["baseline", 0.9979],
        ["increase LR to 0.04", 0.9932],
        ["warmup 200 → 300", 0.99],
    ]
    assert ask(mesh, "SELECT title, state, why FROM proposals WHERE why IS NOT NULL ORDER BY seq") == [
        ["switch to GeLU activation\tand a tab", "retired", "not_better"],
        ["double model width (OOM)", "retired", "failed"],
        ['same "score" as the champion, | pipes, émoji 🙂', "retired", "not_better"],
        ["the champion once more", "retired", "not_better"],
    ]
    assert ask(mesh, "SELECT metric, direction, state FROM arenas") == [["val_bpb", "minimize", "closed"]]


def test_what_was_imported_is_exported_as_it_was(home: Path, mesh: Mesh) -> None:
    mesh("import", write(home), "--yes")
    assert mesh("export", home / "back.tsv") == Done(0, "", f"7 rows in {home / 'back.tsv'}\n")
    assert (home / "back.tsv").read_text(encoding="utf-8") == TSV


def test_importing_again_changes_nothing_and_a_longer_file_adds_what_is_new(home: Path, mesh: Mesh) -> None:
    path = write(home)
    mesh("import", path, "--yes")
    [[before]] = ask(mesh, "SELECT max(seq) FROM events")
    assert mesh("import", path, "--yes").out == "arena nanochat-runs already has all 7 rows: nothing was changed\n"
    assert ask(mesh, "SELECT max(seq) FROM events") == [[before]]
    longer = TSV + "0a7b8c9\t0.985000\t60.2\tkeep\tone more\n"
    assert mesh("import", write(home, longer), "--yes").out == "arena nanochat-runs has 8 rows, 1 of them new\n"
    assert ask(
        mesh,
        "SELECT proposal = (SELECT proposal FROM leaderboard WHERE title = 'one more'), count(*) OVER () "
        "FROM champions WHERE reigns",
    ) == [[True, 1]]
    assert ask(mesh, "SELECT state FROM arenas") == [["closed"]]
    assert mesh("import", write(home, longer), "--yes").out.endswith("nothing was changed\n")
    failed(mesh("import", write(home, TSV.replace("0.04", "0.05")), "--yes"), ExitCode.BAD_INPUT, "use another --name")
    failed(
        mesh("import", write(home, longer), "--yes", "--direction", "maximize"),
        ExitCode.BAD_INPUT,
        "another arena is called",
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("b 0.9 44.0 keep spaces", "line 9: there are 1 columns; use 5"),
        ("b\t0.9\t44.0\tkeep\t" + "x" * 20_000, "line 9: the line has 20,0.. characters; use at most 10,000"),
    ],
)
def test_a_malformed_line_is_named_and_nothing_is_imported(home: Path, mesh: Mesh, line: str, sentence: str) -> None:
    refused(mesh("import", write(home, TSV + line + "\n")), ExitCode.BAD_INPUT, f"results.tsv {sentence}")
    refused(mesh("status"), ExitCode.BAD_INPUT, "there is no arena yet")


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    for data, sentence in (
        (b"", "has no rows"),
        (HEADER.encode(), "has no rows"),
        (b"a\n\xff", "line 2: not UTF-8 text"),
    ):
        with pytest.raises(BadInput, match=sentence):
            read_history(data, "results.tsv")
    found = read_history(b"\xef\xbb\xbfcommit\tloss\tmemory_gb\tstatus\tdescription\r\n\r\na\t1\t2\tkeep\t\r\n", "r")
    [row] = found.rows
    assert (found.roles.metric_name, row.commit, row.value, row.title) == ("loss", "a", 1.0, "a")
    assert row.raw == "a\t1\t2\tkeep\t"


def test_with_the_repository_the_code_is_that_of_its_commits(home: Path, mesh: Mesh) -> None:
    repo = home / "repo"
    repo.mkdir()

    def git(*words: str) -> str:
        who = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
        command = ["git", "-C", str(repo), *who, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.strip()

    def commit(text: str, day: int) -> str:
        (repo / "train.py").write_text(text)
        git("add", ".")
        git("commit", "-q", "-m", text, "--date", f"2026-03-0{day}T10:00:00+02:00")
        return git("rev-parse", "--short=7", "HEAD")

    git("init", "-q")
    commit("LR = 0.0\n", 1)
    base, better = commit("LR = 0.02\n", 2), commit("LR = 0.04\n", 3)
    worse = commit("LR = 9.0\n", 4)
    git("reset", "-q", "--hard", "HEAD~1")  # as autoresearch does with what it discards
    text = HEADER + "".join(
        f"{name}\t{value:.6f}\t44.0\t{status}\tLR {name}\n"
        for name, value, status in (
            (base, 0.9, "keep"),
            (better, 0.8, "keep"),
            (worse, 1.9, "discard"),
            ("fffffff", 0, "crash"),
        )
    )
    done = mesh("import", write(home, text), "--repo", repo, "--name", "lr", "--yes")
    assert done.out == "arena lr has 4 rows, 4 of them new\n"
    assert (
        done.err.splitlines(keepends=True)[-1]
        == f"mesh: {repo} does not have 1 of the commits: these proposals have no code\n"
    )
    assert [row[0] for row in ask(mesh, "SELECT commit FROM proposals ORDER BY seq")][:3] == [
        git("rev-parse", name) for name in (base, better, worse)
    ]
    assert ask(mesh, "SELECT posted_at FROM events WHERE kind = 'proposal.posted' ORDER BY seq")[0] == [
        "2026-03-02 08:00:00"
    ]
    assert ask(mesh, "SELECT file, name, number FROM knobs ORDER BY seq") == [
        ["train.py", "LR", 0.02],
        ["train.py", "LR", 0.04],
        ["train.py", "LR", 9.0],
    ]
    out = home / "out"
    assert mesh("git", "export", out).code == 0
    log = ["git", "-C", str(out), "log", "--format=%an %s", "HEAD"]
    said = subprocess.run(log, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    assert said == ["Kim LR = 0.04", "Kim LR = 0.02"]
    assert (out / "train.py").read_text() == "LR = 0.04\n"
    mesh("export", home / "back.tsv")
    assert (home / "back.tsv").read_text() == text
    failed(mesh("import", write(home, text), "--repo", home, "--yes"), ExitCode.BAD_INPUT, "is not a git repository")


def test_a_history_can_be_asked_where_no_mesh_ever_ran(
    tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MESH_NATS", raising=False)
    refused(
        mesh("import", write(tmp_path, "a\tb\nc\td\n")), ExitCode.BAD_INPUT, "line 1: there are 2 columns and no header"
    )
    assert not (tmp_path / "home").exists()
    failed(mesh("import", write(tmp_path)), ExitCode.BAD_INPUT, "nothing was imported: .* add --yes")
    assert not (tmp_path / "home").exists()
    assert mesh("import", write(tmp_path), "--yes").code == 0
    assert ask(mesh, "SELECT count(*) FROM runs") == [[7]]
    assert "warmup 200" in mesh("leaderboard", "-n", "1").out
    assert mesh("import", write(tmp_path), "--yes").out.endswith("nothing was changed\n")
