"""ShinkaEvolve's tasks whose program is a whole folder, what its YAML files say, and keys that lie beside a task."""

from pathlib import Path

import pytest

from mesh import arena
from mesh.arena_files import read_arena, read_files
from mesh.errors import BadArena
from mesh.events import Failed, Scored
from mesh.foreign_config import has_key, shinka_options
from mesh.foreign_folder import describe, describe_program
from tests.support.arenas import write
from tests.test_foreign_folder import EVALUATOR, PROGRAM
from tests.test_foreign_tasks import run

EVALUATE = """
import argparse, importlib.util, json
from pathlib import Path

def main(repo_path, results_dir):
    spec = importlib.util.spec_from_file_location("candidate", Path(repo_path) / "src" / "area.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    area, folder = module.area(), Path(results_dir)
    metrics = {"combined_score": area, "public": {"parts": len(module.PARTS)}, "text_feedback": "wider than 9"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "correct.json").write_text(json.dumps({"correct": area < 9, "error": ""}))

parser = argparse.ArgumentParser()
parser.add_argument("--repo_path", required=True)
parser.add_argument("--results_dir", required=True)
main(**vars(parser.parse_args()))
"""
PARTS = "PARTS = [1.5, 2.0]\n"
AREA = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from parts import PARTS


def area():
    return PARTS[0] * PARTS[1]
"""
REPOSITORY = {
    "evaluate.py": EVALUATE,
    "seed_repo/src/area.py": AREA,
    "seed_repo/src/parts.py": PARTS,
    "seed_repo/tests/check.py": "assert True\n",
    "seed_repo/README.md": "Areas.\n",
    "seed_repo/.env": "KEY=1\n",
}
START = """
evo:
  seed_repo_path: ./seed_repo
  mutable_paths: [src]
  immutable_paths:
    - src/area.py
  task_sys_msg: |
    Make the area as large as it may be.
job:
  eval_program_path: evaluate.py
  time: "00:02:00"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_program_that_is_a_folder_is_found_with_what_may_change_in_it(tmp_path: Path, home: Path) -> None:
    folder = write(tmp_path / "areas", {**REPOSITORY, "shinka.yaml": START})
    assert describe(folder, home)
    spec = arena.load_arena(folder)
    assert spec.artifact.editable == ("seed_repo/src/parts.py",)
    assert spec.score.command == ("python", "evaluate.py", "--repo_path=seed_repo")
    assert (spec.brief, spec.score.deadline_s) == ("Make the area as large as it may be.", 120)


@pytest.mark.parametrize(
    ("start", "editable"),
    [
        ("", {"area.py", "parts.py", "check.py"}),
        ("evo:\n  mutable_paths: []\n", {"area.py", "parts.py", "check.py"}),
        ("evo_config:\n  mutable_paths: [src/]\n", {"area.py", "parts.py"}),
        ("evo:\n  immutable_paths: [tests, ../elsewhere]\n", {"area.py", "parts.py"}),
    ],
)
def test_all_source_files_of_the_folder_may_change_unless_the_task_says_otherwise(
    start: str, editable: set[str], tmp_path: Path, home: Path
) -> None:
    folder = write(tmp_path / "areas", {**REPOSITORY, "shinka_small.yaml": start})
    assert describe(folder, home)
    assert {Path(name).name for name in arena.load_arena(folder).artifact.editable} == editable


@pytest.mark.parametrize(("program", "count"), [("seed_repo", 3), ("seed_repo/src/area.py", 1)])
def test_the_folder_or_a_file_of_it_may_be_named(program: str, count: int, tmp_path: Path, home: Path) -> None:
    folder = write(tmp_path / "areas", REPOSITORY)
    assert describe_program(folder / program, folder / "evaluate.py", None, home)[0] == folder
    spec = arena.load_arena(folder)
    assert (len(spec.artifact.editable), spec.score.command[2:]) == (count, ("--repo_path=seed_repo",))


async def test_a_folder_is_scored_whole_and_the_feedback_says_why_it_is_not_correct(tmp_path: Path) -> None:
    folder = write(tmp_path / "areas", REPOSITORY)
    assert describe(folder, tmp_path / "home")
    done = await run(folder, tmp_path)
    assert isinstance(done.outcome, Scored), (done.outcome, done.log_tail)
    assert (done.outcome.value, done.outcome.metrics["public.parts"]) == (3.0, 2)
    failed = (await run(folder, tmp_path, proof=False, **{"seed_repo/src/parts": "PARTS = [3.0, 4.0, 5.0]\n"})).outcome
    assert isinstance(failed, Failed)
    assert failed.message == "the program is not correct: wider than 9"


@pytest.mark.parametrize(
    ("files", "program", "words"),
    [
        ({"evaluate.py": EVALUATE}, "", "evaluate.py scores a folder (--repo_path), and seed_repo is none that has a"),
        (
            {"evaluate.py": EVALUATE, "areas/README.md": "x"},
            "areas",
            "evaluate.py scores a folder with a program in it, and ",
        ),
        ({"evaluator.py": EVALUATOR, "areas/a.py": PROGRAM}, "areas", "evaluator.py scores one program, and "),
    ],
)
def test_a_folder_where_a_program_is_wanted_is_refused_in_one_sentence(
    files: dict[str, str], program: str, words: str, tmp_path: Path, home: Path
) -> None:
    folder = write(tmp_path / "task", files)
    evaluator = next(folder.glob("evaluat*.py"))
    with pytest.raises(BadArena) as refused:
        describe_program(folder / program, evaluator, None, home) if program else describe(folder, home)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shinka.yaml", "evo:\n  init_program_path: ./first.py\n  task_sys_msg: Pack.\njob:\n  time: 5m\n"),
        ("run_evo.py", "x = EvolutionConfig(init_program_path='first.py', task_sys_msg='Pack.')\ny = Job(time='5m')\n"),
    ],
)
def test_yaml_and_python_files_that_start_a_run_say_the_same(name: str, text: str) -> None:
    found = shinka_options([(name, text), ("zz.yaml", "evo: [1")])
    assert (found.program, found.brief, found.timeout_s) == ("first.py", "Pack.", 300)


def test_the_program_that_a_run_starts_from_is_taken_before_others(tmp_path: Path, home: Path) -> None:
    files = {"initial.py": PROGRAM, "better.py": PROGRAM, "evaluate.py": "def main(program_path, results_dir): ...\n"}
    folder = write(tmp_path / "task", {**files, "run_evo.py": "Evolution(init_program_path='better.py')\n"})
    assert describe(folder, home)
    assert arena.load_arena(folder).artifact.editable == ("better.py",)


KEY = "sk4f9a0b77c1d2e3f4a5b6c7"


@pytest.mark.parametrize(
    ("name", "text", "is_key"),
    [
        ("config.yaml", f"llm:\n  api_key: {KEY}\n", True),
        ("keys.json", f'{{"OPENAI_API_KEY": "{KEY}"}}', True),
        ("start.sh", f"export OPENAI_API_KEY={KEY}\n", True),
        ("run.py", f"client = Client(api_key='{KEY}')", True),
        ("run.py", "client = Client(api_key=first_of_my_keys_2024)", False),
        ("run.py", "api_key=os.environ['A_KEY_12345678']", False),
        ("config.yaml", "llm:\n  api_key: ${OPENAI_API_KEY_2}\n", False),
        ("config.yaml", "llm:\n  api_key: ollama\n  api_key_env: OPENAI_API_KEY_2\n", False),
        ("config.yaml", "api_key: your-key-here-123456\n", False),
        ("data.yaml", "primary_key: 12345678901234567890abc\n", False),
    ],
)
def test_a_key_is_told_from_the_name_of_a_variable(name: str, text: str, is_key: bool) -> None:
    assert has_key(text, name) == is_key


def test_a_file_with_a_key_belongs_to_no_task(tmp_path: Path, home: Path) -> None:
    files = {"initial_program.py": PROGRAM, "evaluator.py": EVALUATOR, "config.yaml": f"llm:\n  api_key: {KEY}\n"}
    hidden = {
        ".env": f"KEY={KEY}\n",
        "tools/.env": f"KEY={KEY}\n",
        ".env.local": f"KEY={KEY}\n",
        "tools/a.py": "A = 1\n",
    }
    folder = write(tmp_path / "task", {**files, **hidden})
    assert "config.yaml: holds a key" in describe(folder, home)
    spec = arena.load_arena(folder)
    kept = read_files(folder, spec.artifact)
    assert set(kept) == {"arena.toml", "evaluator.py", "initial_program.py", "tools/a.py"}
    assert not any(KEY.encode() in data for data in kept.values())
    assert [each.path for each in read_arena(folder, spec).left] == [".env", ".env.local", "config.yaml", "tools/.env"]


@pytest.mark.parametrize(
    ("file", "text", "use"),
    [
        ("config.yaml", f"llm:\n  api_key: {KEY}\n", "CONFIG = open('config.yaml')\n"),
        ("keys.py", f"API_KEY = '{KEY}'\n", "from keys import API_KEY\n"),
    ],
)
def test_a_task_that_reads_its_key_from_a_file_is_refused(
    file: str, text: str, use: str, tmp_path: Path, home: Path
) -> None:
    files = {"initial_program.py": PROGRAM, "evaluator.py": f"{use}{EVALUATOR}", file: text}
    with pytest.raises(BadArena, match=rf"{file} holds a key, and the task reads it"):
        describe(write(tmp_path / "task", files), home)


TIMED = """
import time

def evaluate(path):
    began = time.time()
    exec(open(path).read(), found := {})
    time.sleep(found["SLOPE"] / 10)
    return {"overall_score": 1 / found["SLOPE"], "runtime": time.time() - began, "error": 0.0}
"""


@pytest.mark.parametrize(
    ("key", "metric", "words"),
    [
        ("overall_score", "overall_score", "overall_score is the score (objective.metric; combined_score is the"),
        ("fitness", "fitness", "fitness is the score (objective.metric"),
        ("speed_score", "combined_score", "write the number that matters as objective.metric (speed_score)"),
    ],
)
async def test_without_a_combined_score_the_number_that_the_evaluator_means_is_the_metric(
    key: str, metric: str, words: str, tmp_path: Path, home: Path
) -> None:
    evaluator = TIMED.replace("overall_score", key)
    folder = write(tmp_path / "task", {"initial_program.py": "SLOPE = 2.0\n", "evaluator.py": evaluator})
    assert words in describe(folder, home)
    assert arena.load_arena(folder).objective.metric == metric
    done = await run(folder, tmp_path)
    assert isinstance(done.outcome, Scored), (done.outcome, done.log_tail)
    found = done.outcome.metrics
    assert (found[key], found["runtime"] >= 0.2) == (0.5, True)
    score = (found[key] + found["runtime"]) / 2 if metric == "combined_score" else 0.5
    assert done.outcome.value == pytest.approx(score)
    other = write(tmp_path / "other", {"initial_program.py": PROGRAM, "evaluator.py": EVALUATOR})
    assert "names no combined_score" not in describe(other, home)


RELAYED = """
import subprocess, sys

def evaluate(path):
    done = subprocess.run([sys.executable, path], capture_output=True, text=True)
    print(done.stderr)
    if done.returncode:
        return {"combined_score": 0.0, "error": f"Process exited with code {done.returncode}"}
    return {"combined_score": 1.0}
"""


async def test_the_first_error_in_the_log_is_told_where_an_evaluator_tells_only_an_exit_code(tmp_path: Path) -> None:
    files = {"initial_program.py": "import a_missing_solver\n", "evaluator.py": RELAYED}
    outcome = (await run(write(tmp_path / "task", files), tmp_path)).outcome
    assert isinstance(outcome, Failed)
    told = "ValueError: the evaluator says: Process exited with code 1 (its log: ModuleNotFoundError: No module named "
    assert outcome.message == f"{told}'a_missing_solver')"
