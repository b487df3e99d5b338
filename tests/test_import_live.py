"""`mesh import --open`: a history of another loop as the beginning of an arena that goes on."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from agents.curation.reevaluation import due
from mesh.board import Board
from mesh.text import needed_places, plain_number, signed_number
from mesh_cli.connect import board_of, reach
from mesh_cli.exit import ExitCode
from tests.support.arenas import TRAIN, write_arena
from tests.test_cli import Mesh, mesh, refused, serving
from tests.test_results_tsv import ask, failed

__all__ = ["mesh"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with serving(tmp_path / "home"):
        yield tmp_path


def fork(folder: Path) -> list[str]:
    """Write a tiny arena as a git repository that kept two experiments; return its commits, the last one reset away."""
    write_arena(folder)

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), "-c", "user.name=Kim", "-c", "user.email=kim@example.com", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout.strip()

    git("init", "-q")
    commits = []
    for height in ("1.0", "0.7", "1.9"):
        (folder / "train.py").write_text(TRAIN.replace("HEIGHT = 1.0", f"HEIGHT = {height}"))
        git("add", ".")
        git("commit", "-q", "-m", height)
        commits.append(git("rev-parse", "--short=7", "HEAD"))
    git("reset", "-q", "--hard", "HEAD~1")
    return commits


def board() -> Board:
    async def read() -> Board:
        async with reach("tiny", None) as bus:
            return await board_of(bus)

    return anyio.run(read)


def test_a_history_is_the_first_version_of_an_arena_that_runs_its_best_again(home: Path, mesh: Mesh) -> None:
    base, better, worse = fork(home / "tiny")
    rows = f"{base}\t.26\tkeep\tbaseline\n{better}\t.05\tkeep\tlower\n{worse}\t1.97\tdiscard\thigh\n"
    rows += f"{better}\t.06\tdiscard\tnobody has this code\nfffffff\t-\tcrash\tgone\n"
    file = home / "results.tsv"
    file.write_text("commit\tloss\tstatus\tdescription\n" + rows)
    done = mesh("import", file, "--open", home / "tiny", "--yes")
    assert done.code == 0, done.err
    assert done.out.startswith("arena tiny has 5 rows, 5 of them new\narena tiny is open, version 2: ")
    now = board()
    titles = {tree: proposal.event.title for tree, proposal in now.proposals.items()}
    assert (now.closed, now.spec.objective.metric, titles[now.champion]) == (None, "loss", "lower")
    assert now.opened is not None
    assert now.opened.base_tree == now.champion  # the folder holds what was kept last
    assert [titles[tree] for tree in due(now)] == ["lower", "baseline", "high"]
    assert not any(now.scores(tree) for tree in titles)
    # The same again changes nothing.
    again = mesh("import", file, "--open", home / "tiny", "--yes")
    assert again.out.startswith(
        "arena tiny already has all 5 rows: nothing was changed\narena tiny is open, version 2: "
    )
    file.write_text(file.read_text() + "0\t1\tkeep\tlater\n")
    assert mesh("import", file, "--open", home / "tiny", "--yes", "--direction", "maximize").code == ExitCode.BAD_INPUT


def test_an_arena_that_has_run_takes_no_history(home: Path, mesh: Mesh) -> None:
    fork(home / "tiny")
    assert mesh("open", home / "tiny").code == 0
    file = home / "results.tsv"
    file.write_text("commit\tloss\tstatus\na\t1\tkeep\n")
    failed(mesh("import", file, "--open", home / "tiny", "--yes"), ExitCode.BAD_INPUT, "another arena is called tiny")
    file.write_text("commit\tzap\tstatus\na\t1\tkeep\n")
    refused(mesh("import", file, "--open", home / "tiny", "--yes"), ExitCode.BAD_INPUT, "--metric is loss, but")


LOOP_TRAIN = """import prepare
HEIGHT = {height}
print("---")
print(f"{metric}:   {{prepare.score(HEIGHT):.4f}}")
print(f"total_seconds:   {{0.1:.1f}}")
"""
LOOP_PREPARE = """TIME_BUDGET = {seconds}
def score(height):
    return {sign} * (height - 0.6) ** 2
if __name__ == "__main__":
    print("nothing to fetch")
"""
LOOPS = {
    # Lower is better, python without uv, crashes as 0.000000, no repository.
    "classic": (
        "- Modify `train.py`, the only file you edit.\nGoal: the lowest val_bpb.\n`grep '^val_bpb:' run.log`\n"
        "Run `python train.py > run.log 2>&1`.\n",
        "train.py",
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "a1\t1.81\t0.0\tkeep\tbaseline\nb2\t1.49\t0.0\tkeep\twide\nc3\t0.000000\t0.0\tcrash\tdeep\n",
        ("val_bpb", "minimize", 300.0, "wide", 3),
    ),
    # Higher is better, `uv run`, -999.0 for what crashed.
    "finance": (
        'Modify `train.py` only.\n**Goal: get the highest val_sharpe.**\n`grep "^val_sharpe:\\|^failed:" run.log`\n'
        "Run: `uv run train.py > run.log 2>&1`\n",
        "train.py",
        "commit\tval_sharpe\tmemory_gb\tstatus\tdescription\n"
        "a1\t0.45\t0.0\tkeep\tbaseline\nb2\t-999.0\t0.0\tcrash\tno prior\nc3\t0.44\t0.0\tdiscard\tworse\n",
        ("val_sharpe", "maximize", 120.0, "baseline", 3),
    ),
    # The edited file is not the one that runs; names instead of commits, other statuses, a baseline without a score.
    "trading": (
        "- Modify `strategy.py` \u2014 this is the only file you edit.\n"
        "**The goal: get the highest `score`.** Higher is better.\n"
        '`uv run train.py > run.log 2>&1`\n`grep "^score:\\|^sharpe:" run.log`\n',
        "strategy.py",
        "commit\tscore\tsharpe\tmax_dd\tstatus\tdescription\nexp0\t-999.000\t0\t0\tBASELINE\tno trades\n"
        "exp1\t1.079\t1.079\t8.74\tKEEP\tfallback\nexp2\t0.68\t0.68\t4.39\tREVERT\talign\n"
        "exp3\t1.136\t1.136\t9.15\tKEEP\traise\n",
        ("score", "maximize", 60.0, "raise", 4),
    ),
}


@pytest.mark.parametrize("form", LOOPS)
def test_a_lived_in_loop_without_an_arena_goes_on_from_its_results(home: Path, mesh: Mesh, form: str) -> None:
    program, edited, rows, (metric, direction, seconds, best, count) = LOOPS[form]
    folder = home / form
    (folder / ".venv").mkdir(parents=True)
    (folder / "logs").mkdir()
    files = {
        "program.md": program,
        "train.py": LOOP_TRAIN.format(height=1.0, metric=metric),
        "prepare.py": LOOP_PREPARE.format(seconds=f"{seconds:g}", sign=1 if direction == "minimize" else -1),
        "results.tsv": rows,
        "run.log": f"{metric}: 1.5\n",
        "logs/1.txt": "step 1\n",
        ".venv/pyvenv.cfg": "home = /usr/bin\n",
        "notes.ipynb": "{}",
        edited: LOOP_TRAIN.format(height=1.0, metric=metric),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    done = mesh("import", folder / "results.tsv", "--open", folder, "--environment", "none", "--yes")
    assert done.code == 0, done.err
    assert f"mesh: {folder} is a task of karpathy/autoresearch: wrote {folder / 'arena.toml'}, in which" in done.err
    assert f"  metric     {metric}: as in arena.toml; " in done.err
    assert done.out.startswith(f"arena {form} has {count} rows, {count} of them new\narena {form} is open, version 2: ")

    async def opened() -> Board:
        async with reach(form, None) as bus:
            return await board_of(bus)

    now = anyio.run(opened)
    spec = now.spec
    assert (spec.objective.metric, spec.objective.direction, spec.trial.budget_s) == (metric, direction, seconds)
    assert spec.artifact.editable == (edited,)
    assert now.opened is not None
    assert (now.proposals[now.champion].event.title, now.champion) == (best, now.opened.base_tree)
    assert mesh("import", folder / "results.tsv", "--open", folder, "--environment", "none", "--yes").code == 0


def test_a_loop_whose_files_disagree_takes_its_metric_from_the_option_of_the_import(home: Path, mesh: Mesh) -> None:
    folder = home / "loop"
    folder.mkdir()
    (folder / "program.md").write_text(LOOPS["classic"][0])
    (folder / "train.py").write_text(LOOP_TRAIN.format(height=1.0, metric="val_bpb") + "print(f'val_loss: {1.0}')\n")
    (folder / "prepare.py").write_text(LOOP_PREPARE.format(seconds=300, sign=1))
    file = folder / "results.tsv"
    file.write_text("commit\tval_loss\tstatus\tdescription\na1\t1.81\tkeep\tbaseline\n")
    refused(mesh("import", file, "--open", folder, "--yes"), ExitCode.BAD_INPUT, "name it with --metric NAME")
    assert not (folder / "arena.toml").exists()
    done = mesh("import", file, "--open", folder, "--metric", "val_loss", "--yes")
    assert done.code == 0, done.err
    assert 'metric = "val_loss"' in (folder / "arena.toml").read_text()
    # The options of a run are for the folder alone.
    refused(mesh("import", file, "--run-seconds", "5", "--yes"), ExitCode.BAD_INPUT, "add it")


def test_diffs_times_and_parents_become_code_times_and_lineage(home: Path, mesh: Mesh) -> None:
    write_arena(home / "tiny")

    def diff(old: str, new: str) -> str:
        line = "HEIGHT = {}  # mesh: 0.0..2.0\n"
        return f"--- a/train.py\n+++ b/train.py\n@@ -4 +4 @@\n-{line.format(old)}+{line.format(new)}"

    rows = [
        {"id": "a", "loss": 0.26, "status": "baseline", "timestamp": "2026-03-01T00:00:00Z", "seconds": 2.5},
        {"id": "b", "loss": 0.20, "status": "keep", "parent": "a", "diff": diff("1.0", "0.9")},
        {"id": "c", "loss": 0.30, "status": "discard", "parent": "a", "diff": diff("1.0", "1.1")},
        {"id": "d", "loss": 0.10, "status": "keep", "parent": "b", "diff": diff("0.9", "0.7")},
        {"id": "e", "loss": 0.40, "status": "discard", "parent": "b", "diff": diff("5.0", "0.7")},
    ]
    file = home / "history.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = mesh("import", file, "--open", home / "tiny", "--yes")
    assert done.code == 0, done.err
    assert "mesh: 1 diffs do not fit: these proposals have no code\n" in done.err
    assert ask(
        mesh, "SELECT title, number FROM knobs JOIN proposals USING (proposal) WHERE name = 'HEIGHT' ORDER BY 1"
    ) == [
        ["a", 1.0],
        ["b", 0.9],
        ["c", 1.1],
        ["d", 0.7],
    ]
    assert ask(mesh, "SELECT title, parent_title FROM lineage ORDER BY title") == [
        ["b", "a"],
        ["c", "a"],
        ["d", "b"],
        ["e", "b"],
    ]
    assert ask(mesh, "SELECT trial_s FROM runs WHERE run = 'row-1'") == [[2.5]]
    assert ask(mesh, "SELECT posted_at FROM events WHERE kind = 'proposal.posted' ORDER BY seq LIMIT 1") == [
        ["2026-03-01 00:00:00"]
    ]


def test_gains_are_shown_in_the_digits_that_they_need(home: Path, mesh: Mesh) -> None:
    file = home / "results.tsv"
    file.write_text("commit\tval_bpb\tstatus\tdescription\na\t1.26471\tkeep\tbaseline\nb\t1.26468\tkeep\ttiny\n")
    assert mesh("import", file, "--name", "a", "--yes").code == 0
    assert "+3e-5" in mesh("lineage").out
    assert [signed_number(value) for value in (3e-5, -0.00047, 0.0, -12.5)] == [
        "+3e-5",
        "-0.0005",
        "+0.0000",
        "-12.5000",
    ]
    assert "1.26468" in mesh("leaderboard").out
    assert "1.26468" in mesh("show", "champion").out
    first = json.loads(mesh("leaderboard", "--json").out)[-1]["proposal"]
    told = mesh("diff", first, "champion")
    assert "by 3e-5" in told.out, told
    assert (needed_places([1.0, 2.0]), needed_places([1.26471, 1.26468]), needed_places([])) == (4, 5, 4)
    assert needed_places([1.0], 0.5, 0.5001) == 6
    assert (needed_places([1e308, -1e308]), needed_places([], -1e308, 1.5e308), needed_places([], 0.0, 5e-324)) == (
        4,
        4,
        4,
    )
    assert [plain_number(value) for value in (3e-5, 0.5, -2e-6)] == ["3e-5", "0.5000", "-2e-6"]
    report = home / "report.md"
    assert mesh("report", "-o", report).code == 0
    text = report.read_text()
    assert "From 1.264710 to 1.264680 (−0.0024 %)" in text
    assert "+0.000030" in text
