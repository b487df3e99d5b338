"""Folders of other systems' tasks as people have them: programs of any name, configurations, leavings, taken names."""

import tomllib
from pathlib import Path

import pytest

from mesh import arena
from mesh.arena_files import read_arena, read_files
from mesh.errors import BadArena
from mesh.events import Scored
from mesh.foreign_config import seconds_in
from mesh.foreign_folder import describe, describe_program
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.spec import ArenaSpec
from tests.support.arenas import write
from tests.test_foreign_tasks import run
from tests.test_take_part import mesh

EVALUATOR = "def evaluate(path):\n    return {'combined_score': float(len(open(path).read()))}\n"
PROGRAM = "SLOPE = 1.5\n\n\ndef predict(x):\n    return SLOPE * x\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def spec_of(folder: Path, home: Path) -> ArenaSpec:
    assert describe(folder, home)
    return arena.load_arena(folder)


@pytest.mark.parametrize(
    ("files", "program"),
    [
        ({"initial_prompt.txt": "Answer: {question}"}, "initial_prompt.txt"),
        ({"init_program.py": PROGRAM}, "init_program.py"),
        ({"initial_solution.cpp": "int main() {}"}, "initial_solution.cpp"),
        ({"initial_policy.py": PROGRAM, "initial_notes.md": "x"}, "initial_policy.py"),
        ({"initial_program.py": PROGRAM, "initial_program.rs": "fn f() {}"}, "initial_program.py"),
        ({"init_program.py": PROGRAM, "init_program.rs": "", "config.yaml": "language: rust"}, "init_program.rs"),
        ({"init_prompt.txt": "x y", "init_prompt.json": "", "config.yml": 'file_suffix: ".txt"'}, "init_prompt.txt"),
        ({"initial_program.txt": "./real.py\n", "real.py": PROGRAM}, "real.py"),
    ],
)  # fmt: skip
def test_a_program_is_found_by_its_name_and_the_configuration(
    files: dict[str, str], program: str, tmp_path: Path, home: Path
) -> None:
    folder = write(tmp_path / "a-task", {**files, "evaluator.py": EVALUATOR})
    assert spec_of(folder, home).artifact.editable == (program,)


@pytest.mark.parametrize(
    "files",
    [
        {"initial_program.txt": "somewhere/else.py"},
        {"initial_notes.md": "# Notes"},
        {"initial_program.py": PROGRAM, "evaluator.py": "def judge(path): ...\n"},
    ],
)
def test_what_only_looks_like_a_task_is_left_alone(files: dict[str, str], tmp_path: Path, home: Path) -> None:
    folder = write(tmp_path / "a-task", {"evaluator.py": EVALUATOR, **files})
    assert describe(folder, home) == ""


def test_programs_between_which_nothing_decides_are_named(tmp_path: Path, home: Path) -> None:
    folder = write(tmp_path / "t", {"initial_program.rs": "a b", "initial_program.c": "a b", "evaluator.py": EVALUATOR})
    with pytest.raises(BadArena, match=r"initial_program.c and initial_program.rs may each be the program: name it"):
        describe(folder, home)


def test_what_a_configuration_says_counts(tmp_path: Path, home: Path) -> None:
    config = """
prompt:
  system_message: |
    You improve "sorting".
    Keep C:\\paths.
database: {feature_dimensions: [length, speed]}
evaluator:
  timeout: "5m"
  memory_limit_mb: 2048
  cascade_thresholds: [0.2]
  evaluator_args: {weight: 2}
"""
    files = {"initial_program.py": PROGRAM, "evaluator.py": f"import numpy, csv\n{EVALUATOR}", "config_b.yaml": config}
    folder = write(tmp_path / "a-task", {**files, "config_c.yaml": ""})
    assert "; read config_b.yaml, the first of 2 configurations: --config names another" in describe(folder, home)
    spec = arena.load_arena(folder)
    assert spec.brief == 'You improve "sorting".\nKeep C:\\paths.'
    assert (spec.score.deadline_s, spec.score.cascade, spec.trial.memory_gb) == (300, (0.2,), 2)
    assert spec.score.command[2:] == ("--features=length,speed", '--evaluator-args={"weight": 2}')
    assert spec.trial.preload == ("csv", "numpy")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("5m", 300), ("1h 30m", 5400), ("00:05:00", 300), ("90s", 90), ("10 minutes", 600), ("soon", 0)],
)
def test_a_timeout_may_be_a_text(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds


def test_shinka_tells_its_task_in_the_file_that_starts_it(tmp_path: Path, home: Path) -> None:
    start = 'task_sys_msg = """Pack circles."""\nconfig = LocalJobConfig(time="00:10:00")\n'
    files = {"initial.py": PROGRAM, "evaluate.py": "def main(program_path, results_dir): ...\n", "run_evo.py": start}
    spec = spec_of(write(tmp_path / "a-task", files), home)
    assert (spec.score.how, spec.brief, spec.score.deadline_s) == ("shinka", "Pack circles.", 600)


def test_autoresearch_says_its_budget_and_that_its_seeds_repeat(tmp_path: Path, home: Path) -> None:
    train = "import torch\ntorch.manual_seed(42)\nprint(f'val_bpb: {1}')\n"
    files = {"program.md": "Be bold.", "prepare.py": "TIME_BUDGET = 10 * 60  # s\n", "train.py": train}
    folder = write(tmp_path / "a-task", files)
    said = describe(folder, home)
    spec = arena.load_arena(folder)
    assert "train.py sets its own seed in line 2, so runs on fresh seeds repeat each other" in said
    assert (spec.trial.budget_s, spec.brief) == (600, "Be bold.")
    assert spec.trial.deadline_s >= spec.trial.budget_s * spec.trial.budget_tolerance + spec.trial.startup_s


async def test_a_loss_that_is_no_number_is_a_bad_score(tmp_path: Path) -> None:
    files = {"program.md": "", "train.py": "print('val_bpb:          nan')\n"}
    prepare = "import os\nos.makedirs(os.path.expanduser('~'), exist_ok=True)\nopen(os.path.expanduser('~/x'), 'w')\n"
    done = await run(write(tmp_path / "a-task", {**files, "prepare.py": prepare}), tmp_path)
    assert getattr(done.outcome, "reason", "") == "bad_score", done.outcome


async def test_folders_called_data_and_out_belong_to_a_task_and_leavings_do_not(tmp_path: Path, home: Path) -> None:
    text = EVALUATOR + "import pathlib\nROWS = pathlib.Path(__file__).parent.joinpath('data', 'rows.csv').read_text()\n"
    files = {"initial_program.py": PROGRAM, "evaluator.py": text, "data/rows.csv": "1", "out/known.txt": "2"}
    left = {
        "openevolve_output/best/x.json": "{}",
        "results_20260101/evolution_db.sqlite": "x",
        "env/pyvenv.cfg": "",
        "env/lib/a.py": "",
        "run.log": "",
        ".env": "KEY=1",
        "node_modules/a.js": "",
    }
    folder = write(tmp_path / "a-task", files | left)
    spec = spec_of(folder, home)
    read = read_arena(folder, spec)
    assert read.files.keys() == {*files, "arena.toml"}
    names = {".env", "env", "node_modules", "openevolve_output", "results_20260101", "run.log"}
    assert {each.path for each in read.left} == names
    _, first = await open_arena(MemoryHub(), folder, home=home)
    write(folder, {"run.log": "more", "logs/a.txt": ""})
    assert arena.evaluator_hash(spec, read_files(folder, spec.artifact)) == first.evaluator
    done = await run(folder, tmp_path)
    assert isinstance(done.outcome, Scored), done.log_tail


def test_what_git_ignores_is_left_out_unless_the_task_names_it(tmp_path: Path, home: Path) -> None:
    import pygit2

    evaluator = EVALUATOR + "TABLE = 'tables/a.csv'\n"
    files = {"initial_program.py": PROGRAM, "evaluator.py": evaluator, "tables/a.csv": "1", "cache.bin": "x"}
    pygit2.init_repository(str(tmp_path))
    write(tmp_path, {".gitignore": "cache.bin\ntables/\n"})
    folder = write(tmp_path / "a-task", files)
    read = read_arena(folder, spec_of(folder, home))
    assert read.files.keys() == {"arena.toml", "evaluator.py", "initial_program.py", "tables/a.csv"}
    assert [(each.path, each.why) for each in read.left] == [("cache.bin", "ignored by git")]
    assert read.taken_anyway == ("tables",)


async def test_an_unrelated_task_never_becomes_the_next_version_of_an_arena(tmp_path: Path, home: Path) -> None:
    hub = MemoryHub()
    first = write(tmp_path / "a" / "packing", {"initial_program.py": PROGRAM, "evaluator.py": EVALUATOR})
    other = {"initial_program.py": "WIDTH = 2\n\ndef pack(seed):\n    return [WIDTH] * seed\n"}
    other |= {
        "evaluator.py": "import runpy\n\ndef evaluate(path):\n    return {'combined_score': runpy.run_path(path)}\n"
    }
    second = write(tmp_path / "b" / "packing", other)
    assert spec_of(first, home).name == "packing"
    await open_arena(hub, first, home=home)
    assert spec_of(second, home).name == "b-packing"
    await open_arena(hub, second, home=home)
    text = (second / "arena.toml").read_text().replace('name = "b-packing"', 'name = "packing"')
    (second / "arena.toml").write_text(text)
    sentence = (
        f"arena.name is 'packing', the name of another arena, which was opened from {first}: take another name, such"
    )
    with pytest.raises(BadArena, match=sentence):
        await open_arena(hub, second, home=home)
    copy = write(tmp_path / "c" / "packing", {path.name: path.read_text() for path in first.iterdir()})
    write(copy, {"initial_program.py": PROGRAM.replace("1.5", "1.6")})
    assert (await open_arena(hub, copy, home=home))[1].version == 2


def test_a_program_and_its_evaluator_may_lie_side_by_side_or_in_two_folders(tmp_path: Path, home: Path) -> None:
    files = {"programs/fast.py": PROGRAM, "judge/evaluator.py": EVALUATOR, "my.yaml": "evaluator: {timeout: 7}"}
    task = write(tmp_path / "task-x", files)
    folder, said = describe_program(task / "programs" / "fast.py", task / "judge", task / "my.yaml", home)
    assert (folder, "is a task of OpenEvolve" in said) == (task, True)
    spec = arena.load_arena(folder)
    assert (spec.artifact.editable, spec.score.command) == (("programs/fast.py",), ("python", "judge/evaluator.py"))
    assert (spec.name, spec.score.deadline_s) == ("task-x-fast", 7)
    assert describe_program(task / "programs" / "fast.py", task / "judge" / "evaluator.py", None, home) == (task, "")
    write(task, {"programs/slow.py": PROGRAM})
    with pytest.raises(BadArena, match=r"arena.toml does not run programs/slow.py with judge/evaluator.py: change it"):
        describe_program(task / "programs" / "slow.py", task / "judge" / "evaluator.py", None, home)
    with pytest.raises(BadArena, match=r"the evaluator .*nothing.py is not a file"):
        describe_program(task / "programs" / "slow.py", task / "nothing.py", None, home)


def test_openevolves_own_command_line_opens_a_task(tmp_path: Path, home: Path) -> None:
    folder = write(tmp_path / "p", {"start.py": PROGRAM, "judge.py": EVALUATOR, "c.yaml": "evaluator: {timeout: x}"})
    words = ["up", str(folder / "start.py"), str(folder / "judge.py"), "--config", str(folder / "c.yaml")]
    done = mesh(*words, "--minutes", "-1", home=home, url="")
    assert "--minutes is -1" in done.stderr
    words = ["up", str(folder / "start.py"), "--minutes", "1"]
    assert "is a file: name its evaluator behind it" in mesh(*words, home=home, url="").stderr


def test_every_text_survives_the_way_through_toml(tmp_path: Path, home: Path) -> None:
    odd = 'a "quote" \'\'\' """ \\ \\u0041 \x07 é\ttab\nend\\'
    start = f"task_sys_msg = {odd!r}\n"
    files = {"initial.py": PROGRAM, "evaluate.py": "results_dir = 1\n", "run_evo.py": start}
    spec = spec_of(write(tmp_path / 'a "b" \\c', files), home)
    assert spec.brief == odd
    assert spec.summary == f"The task {spec.name}"
    assert tomllib.loads((tmp_path / 'a "b" \\c' / "arena.toml").read_text(encoding="utf-8"))
