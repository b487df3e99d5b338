"""Loops in the manner of autoresearch: what their files say about metric, direction and budget, by a real worker."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gpu_worker.outcome import changed_sentence
from mesh.errors import BadArena
from mesh.events import Failed, Scored
from mesh.foreign_folder import describe
from mesh.loop_reading import LoopWish, read_loop
from mesh_cli.setup.check_runs import Artifact, run_artifacts

PROGRAM = """# A loop
You may ONLY edit `train.py`. Do not modify `prepare.py`.
Run `uv run train.py > run.log 2>&1`, then `grep "^val_sharpe:\\|^peak_vram_mb:" run.log`.
The goal: get the highest val_sharpe. A simpler program is better.
If val_sharpe is equal or lower, discard it.

commit\tval_sharpe\tmemory_gb\tstatus\tdescription
"""
TRAIN = """import json, time
from prepare import TIME_BUDGET
LR = 0.5
print("---")
print(f"val_sharpe:       {1.5 * LR:.6f}")
print(f"peak_vram_mb:     {0:.1f}")
"""
PREPARE = """import json
TIME_BUDGET = 2 * 60
if __name__ == "__main__":
    json.dump({"x": 1}, open("data.json", "w"))
"""
FILES = {"program.md": PROGRAM, "train.py": TRAIN, "prepare.py": PREPARE}


def reading(files: Mapping[str, str], wish: LoopWish | None = None) -> tuple[str, str, float]:
    found = read_loop(list(files), lambda name: files.get(name, ""), wish)
    assert found is not None
    return found.metric, found.direction, found.budget_s


def written(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("val_sharpe", "maximize", 120)),
        ({"train.py": TRAIN + "print(f'other: {1}')\n"}, ("val_sharpe", "maximize", 120)),
        ({"prepare.py": "TIME_BUDGET: int = 45\n"}, ("val_sharpe", "maximize", 45)),
        ({"prepare.py": "TIME_BUDGET_MINUTES = 3\n"}, ("val_sharpe", "maximize", 180)),
        ({"prepare.py": "TIME_BUDGET = int(os.environ.get('T', '30'))\n"}, ("val_sharpe", "maximize", 30)),
        ({"prepare.py": "", "program.md": PROGRAM + "Each run has a fixed budget of 5 minutes.\n"},
         ("val_sharpe", "maximize", 300)),
        ({"program.md": PROGRAM.replace("val_sharpe", "val_cost").replace("highest", "lowest"),
          "train.py": TRAIN.replace("val_sharpe", "val_cost")}, ("val_cost", "minimize", 120)),
        ({"program.md": "Only modify `train.py`. See results.tsv.", "prepare.py": "# accuracy. Higher is better.\n"},
         ("val_sharpe", "maximize", 300)),
        ({"program.md": "Only modify `train.py`. See results.tsv.", "train.py": "print(f'val_rmse : {1}')"},
         ("val_rmse", "minimize", 120)),
    ],
)  # fmt: skip
def test_metric_direction_and_budget_are_read_from_the_files(
    changes: dict[str, str], expected: tuple[str, str, float]
) -> None:
    assert reading(FILES | changes) == expected


@pytest.mark.parametrize(
    ("changes", "sentence", "wish", "settled"),
    [
        ({"results.tsv": "commit\tval_return\tstatus\tdescription\n", "train.py": TRAIN + "print(f'val_return: {1}')"},
         "its files do not say which number is the metric, the candidates are val_return (header in results.tsv line "
         "1); val_sharpe (grep in program.md line 3): name it with --metric NAME",
         LoopWish(metric="val_return"), ("val_return", "maximize", 120)),
        ({"prepare.py": PREPARE + "# val_sharpe: lower is better\n"},
         "its files disagree about whether val_sharpe is to be minimized (prepare.py line 5) or maximized (program.md "
         "line 4): say it with --direction min or --direction max",
         LoopWish(direction="minimize"), ("val_sharpe", "minimize", 120)),
        ({"train.py": TRAIN + "# Metric: a ratio (lower is better)\n"},
         "its files disagree about whether val_sharpe is to be minimized (train.py line 7) or maximized (program.md "
         "line 4): say it with --direction min or --direction max",
         LoopWish(direction="maximize"), ("val_sharpe", "maximize", 120)),
        ({"train.py": TRAIN + "TIME_BUDGET = 900\n"},
         "its files disagree about the budget of a run, 120 s (prepare.py line 2); 900 s (train.py line 7): say it "
         "with --run-seconds SECONDS",
         LoopWish(budget_s=60), ("val_sharpe", "maximize", 60)),
        ({"program.md": "Only edit `train.py`; results.tsv", "train.py": "print(f'aa: {1}')\nprint(f'bb: {2}')"},
         "its files do not say which number is the metric, the candidates are aa (printed by train.py); bb (printed by "
         "train.py): name it with --metric NAME",
         LoopWish("bb", "maximize"), ("bb", "maximize", 120)),
        ({"program.md": "Only edit `train.py`; results.tsv", "train.py": "print(f'quux: {1}')"},
         "its files do not say whether quux is to be minimized or maximized: say it with --direction min or "
         "--direction max",
         LoopWish(direction="maximize"), ("quux", "maximize", 120)),
    ],
)  # fmt: skip
def test_files_that_disagree_are_refused_with_every_candidate_and_an_option_settles_it(
    changes: dict[str, str], sentence: str, wish: LoopWish, settled: tuple[str, str, float]
) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        reading(FILES | changes)
    assert str(refused.value) == sentence
    assert reading(FILES | changes, wish) == settled


@pytest.mark.parametrize(
    ("words", "editable", "command"),
    [
        ("- `solve.py` — the file you modify.\nLaunch: `uv run solve.py`.", ("solve.py",), ("solve.py",)),
        ("Modify **`model/net.py`** — this is the ONLY file you edit.\n`python run.py --fast > run.log`",
         ("model/net.py",), ("run.py", "--fast")),
        ("You may only edit `solve.py` and `model/net.py`.\n`uv run --with x python -u run.py > log`",
         ("solve.py", "model/net.py"), ("run.py",)),
        ("Never only edit `run.py`. Edit it.\n`python train.py --tag <tag>`\n`python repo/train.py >> log`",
         ("train.py",), ("train.py",)),
    ],
)  # fmt: skip
def test_the_file_that_is_edited_and_the_command_of_a_run_are_read(
    words: str, editable: tuple[str, ...], command: tuple[str, ...]
) -> None:
    files = [*FILES, "solve.py", "run.py", "model/net.py"]
    text = f"{words}\nUse `grep '^score:' run.log`: higher is better. `uv run prepare.py` makes the data.\n"
    found = read_loop(files, lambda name: text if name == "program.md" else "")
    assert found is not None
    assert (found.editable, found.command, found.prepare) == (editable, command, ("prepare.py",))


def test_an_option_for_loops_is_refused_where_there_is_an_arena_or_no_loop(tmp_path: Path, home: Path) -> None:
    asked = LoopWish("x")
    with pytest.raises(BadArena, match="are for autoresearch loops"):
        describe(written(tmp_path / "a", {"initial.py": "", "evaluator.py": "def evaluate(): 0"}), home, asked)
    folder = written(tmp_path / "b", FILES)
    assert "its metric is val_sharpe (grep in program.md line 3)" in describe(folder, home)
    with pytest.raises(BadArena, match=r"without arena\.toml: change objective"):
        describe(folder, home, asked)


READS_DATA = TRAIN.replace("import json, time", "import json, os\nassert json.load(open('data.json')) == {'x': 1}")
SCORED = Scored(value=0.75, metrics={"val_sharpe": 0.75, "peak_vram_mb": 0.0}, self_reported=True)
ENDS = {
    "": SCORED,
    "open('.best', 'w').write('1')\nopen('data.json', 'w').write('{}')\n": SCORED,
    "open('history.csv', 'a').write('1,2')\n": SCORED,
    "os.chmod('prepare.py', 0)\nopen('train.py', 'a').write('#')\n": SCORED,
    "open('prepare.py', 'a').write('#')\n": Failed(reason="no_score", message=changed_sentence(["prepare.py"])),
    "os.remove('prepare.py')\n": Failed(reason="no_score", message=changed_sentence(["prepare.py"])),
    "os.replace('data.json', 'program.md')\n": Failed(reason="no_score", message=changed_sentence(["program.md"])),
    "os.remove('prepare.py'); os.symlink('data.json', 'prepare.py')\n": Failed(
        reason="no_score", message=changed_sentence(["prepare.py"])
    ),
}
"""What a trial does in its own folder, and how it ends."""


async def test_a_loop_that_writes_into_its_own_folder_runs_and_may_not_change_what_scores(
    tmp_path: Path, home: Path
) -> None:
    folder = written(tmp_path / "loop", FILES | {"train.py": READS_DATA, "history.csv": "a,b\n"})
    describe(folder, home)
    text = (folder / "arena.toml").read_text().replace("[trial] ", 'writes = ["*.csv"]\n[trial] ')
    (folder / "arena.toml").write_text(text)
    artifacts = [Artifact(more, {"train.py": (READS_DATA + more).encode()}) for more in ENDS]
    ended = await run_artifacts(folder, artifacts, device="cpu", slots=1)
    assert {more: done[0].outcome for more, done in ended.items()} == ENDS
