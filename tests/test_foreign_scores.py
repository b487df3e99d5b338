"""What an evaluator of another system returns becomes the score that this system takes, or a failure that says why."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.launch import runner
from mesh.events import Failed, Scored
from mesh.foreign_folder import describe
from mesh.plain_command import plain_command
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from tests.test_foreign_tasks import run, run_all

PROGRAM = "SLOPE = 1.5\n\ndef predict(x):\n    return SLOPE * x\n"


def answer(tmp_path: Path, evaluator: str, *options: str) -> dict[str, Any]:
    """What the runner of OpenEvolve's evaluators prints about this evaluator, in a process of its own."""
    spec = ArenaSpec(
        name="t",
        objective=ObjectiveSpec(metric="combined_score", direction="maximize"),
        artifact=ArtifactSpec(editable=("initial_program.py",)),
        trial=TrialSpec(budget_s=10, deadline_s=10),
        score=ScoreSpec(how="openevolve", command=("python", "evaluator.py")),
    )
    [(name, program)] = runner(spec).items()
    for path, text in ((name, program.decode()), ("evaluator.py", evaluator), ("initial_program.py", PROGRAM)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    command = [sys.executable, name, "evaluator.py", "initial_program.py", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("returned", "score"),
    [
        ("True", 1.0),
        ("False", 0.0),
        ("'0.91'", 0.91),
        ("' 1e-3 '", 0.001),
        ("__import__('decimal').Decimal('0.7')", 0.7),
        ("__import__('fractions').Fraction(1, 4)", 0.25),
        ("type('Tensor', (), {'__float__': lambda self: 0.5})()", 0.5),
        ("3", 3.0),
        ("float('nan')", None),
        ("float('-inf')", None),
        ("'nan'", None),
    ],
)
def test_what_openevolve_takes_as_a_number_is_the_score_whatever_its_type(
    returned: str, score: float | None, tmp_path: Path
) -> None:
    body = f"def evaluate(path):\n    return {{'combined_score': {returned}, 'runtime_ms': 1234.5}}\n"
    assert answer(tmp_path, body) == {"metrics": {"runtime_ms": 1234.5, "combined_score": score}}


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (
            "{'combined_score': None, 'runtime_ms': 3}",
            "combined_score is not a number: the evaluator returned NoneType",
        ),
        (
            "{'combined_score': 'high', 'runtime_ms': 3}",
            "combined_score is not a number: the evaluator returned str 'hi",
        ),
        ("{'combined_score': [1, 2]}", "combined_score is not a number: the evaluator returned list '[1, 2]'"),
        ("{'combined_score': 0.0, 'error': 'no module\\nnamed x'}", "the evaluator says: no module named x"),
        ("{'combined_score': float('-inf'), 'error': 'diverged'}", "the evaluator says: diverged"),
        (
            "{'metrics': {'combined_score': 0}, 'artifacts': {'error_message': 'overlap'}}",
            "the evaluator says: overlap",
        ),
        ("{'error': 'all is lost'}", "the evaluator says: all is lost"),
        ("{'error': 0.0}", "the evaluator gave no number"),
        ("{'runs_successfully': 0.0, 'error': 'no function run_search'}", "the evaluator says: no function run_search"),
        (
            "{'combined_score': (0.9, 60.0), 'metrics': {'runtime': 1.0}}",
            "combined_score is not a number: the eval",
        ),
        ("[1]", "the evaluator returned list; it must return a dict of metrics"),
    ],
)
def test_a_result_without_a_score_is_a_failure_that_says_why(returned: str, words: str, tmp_path: Path) -> None:
    found = answer(tmp_path, f"def evaluate(path):\n    return {returned}\n")
    assert words in found["error"], found


def test_an_error_beside_a_score_that_is_not_zero_is_no_failure(tmp_path: Path) -> None:
    body = "def evaluate(path):\n    return {'combined_score': 0.4, 'error': 'one case of ten'}\n"
    assert answer(tmp_path, body) == {"metrics": {"combined_score": 0.4}}
    body = "def evaluate(path):\n    return {'ran': 0.5, 'error': 'infinite'}\n"
    assert answer(tmp_path, body) == {"metrics": {"ran": 0.5, "combined_score": 0.5}}
    body = "def evaluate(path):\n    return {'combined_score': 0.0, 'error': ''}\n"
    assert answer(tmp_path, body) == {"metrics": {"combined_score": 0.0}}


def test_features_do_not_count_in_the_mean_and_arguments_reach_the_evaluator(tmp_path: Path) -> None:
    body = "async def evaluate(path, weight=1.0):\n    return {'good': weight, 'length': 500}\n"
    assert answer(tmp_path, body)["metrics"]["combined_score"] == 250.5
    options = ("--features=length,score", '--evaluator-args={"weight": 3, "unknown": 1}')
    assert answer(tmp_path, body, *options)["metrics"] == {"good": 3, "length": 500, "combined_score": 3}


@pytest.mark.parametrize(
    "left",
    [
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        "concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, 60)",
        "multiprocessing.Process(target=time.sleep, args=(60,)).start()",
        "subprocess.Popen(['sleep', '60'])",
    ],
)
async def test_what_an_evaluator_returned_counts_though_its_threads_and_processes_live(
    left: str, tmp_path: Path
) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "initial_program.py").write_text(PROGRAM)
    (folder / "config.yaml").write_text("evaluator: {timeout: 30}\n")
    imports = "import concurrent.futures, multiprocessing, subprocess, threading, time\n"
    (folder / "evaluator.py").write_text(
        f"{imports}def evaluate(path):\n    {left}\n    return {{'combined_score': 2}}\n"
    )
    done = await run(folder, tmp_path)
    assert done.outcome == Scored(value=2, metrics={"combined_score": 2}, self_reported=True), done.log_tail
    assert done.trial_s < 28


SHINKA = """
import argparse
{more}
from shinka.core import run_shinka_eval

def aggregate(results):
    public = {{"runs": len(results)}}
    return {{"combined_score": sum(results), "public": public, "private": {{}}, "extra_data": object()}}

def main(program_path, results_dir):
    run_shinka_eval(
        program_path=program_path,
        results_dir=results_dir,
        experiment_fn_name="run_experiment",
        num_runs=3,
        get_experiment_kwargs=lambda i: {{"x": i}},
        validate_fn=lambda found: (found < 9, "too much"),
        aggregate_metrics_fn=aggregate,
        run_workers={workers},
    )

parser = argparse.ArgumentParser()
parser.add_argument("--program_path")
parser.add_argument("--results_dir")
main(**vars(parser.parse_args()))
"""


def shinka(tmp_path: Path, more: str = "", workers: int = 1) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "initial.py").write_text("def run_experiment(x):\n    return 2.5 * x\n")
    (folder / "evaluate.py").write_text(SHINKA.format(more=more, workers=workers))
    describe(folder)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_shinka_task_runs_without_the_package(workers: int, tmp_path: Path) -> None:
    done = await run(shinka(tmp_path, workers=workers), tmp_path)
    assert isinstance(done.outcome, Scored), (done.outcome, done.log_tail)
    metrics = done.outcome.metrics
    assert (done.outcome.value, metrics["public.runs"], metrics["num_valid_runs"]) == (7.5, 3, 3)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("def run_experiment(x): return 5 * x", "the program is not correct: Validation failed: too much"),
        ("def run_experiment(x): raise OSError('no disk')", "the program is not correct: no disk"),
        (
            "def other(x): return 1",
            "the program is not correct: the function 'run_experiment' is missing in initial.py",
        ),
    ],
)
async def test_a_program_that_the_standin_refuses_says_why(program: str, words: str, tmp_path: Path) -> None:
    outcome = (await run(shinka(tmp_path), tmp_path, initial=program)).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.message) == ("no_score", words)


async def test_what_is_missing_for_a_shinka_task_is_said(tmp_path: Path) -> None:
    outcome = (await run(shinka(tmp_path, more="import a_solver"), tmp_path)).outcome
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("ModuleNotFoundError: No module named 'a_solver' (the evaluation ended with exit")


def test_a_cascade_has_no_more_stages_than_openevolve_knows(tmp_path: Path) -> None:
    stages = "".join(f"def evaluate_stage{n}(path):\n    return {{'s{n}': {n}}}\n" for n in (1, 2, 3, 4))
    found = answer(tmp_path, stages, "-1.5e-07", "0", "0")
    assert [stage["stage"] for stage in found["stages"]] == ["stage1", "stage2", "stage3"]


async def test_nothing_of_one_evaluation_reaches_the_next(tmp_path: Path) -> None:
    evaluator = """
import json, os, random, tempfile

def evaluate(path):
    left = [os.path.join(place, "left") for place in (tempfile.gettempdir(), "/tmp", ".", os.path.dirname(path))]
    seen = getattr(json, "seen", 0) + os.environ.get("SEEN", "0").count("1") + sum(map(os.path.exists, left))
    json.seen, os.environ["SEEN"] = 1, "1"
    for name in left:
        open(name, "w").close()
    return {"combined_score": seen, "drawn": random.random(), "descriptors": len(os.listdir("/proc/self/fd"))}
"""
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "initial_program.py").write_text(PROGRAM)
    (folder / "evaluator.py").write_text(evaluator)
    ends = await run_all(folder, tmp_path, 3)
    metrics = [end.outcome.metrics for end in ends if isinstance(end.outcome, Scored)]
    assert [each["combined_score"] for each in metrics] == [0, 0, 0]
    assert len({each["drawn"] for each in metrics}) == 3
    assert len({each["descriptors"] for each in metrics}) == 1


@pytest.mark.parametrize(
    ("command", "plain"),
    [
        (("python", "a.py"), (sys.executable, "a.py")),
        (("uv", "run", "train.py", "--x"), (sys.executable, "train.py", "--x")),
        (("uv", "run", "--frozen", "--with", "numpy", "python3", "-c", "1"), (sys.executable, "-c", "1")),
        (("uv", "run", "-m", "tool"), (sys.executable, "-m", "tool")),
        (("uv", "run", "pytest"), ("pytest",)),
        (("uv", "run", "--odd", "a.py"), ("uv", "run", "--odd", "a.py")),
        (("/opt/bin/python", "a.py"), ("/opt/bin/python", "a.py")),
    ],
)
def test_uv_run_is_understood(command: tuple[str, ...], plain: tuple[str, ...]) -> None:
    assert plain_command(command) == plain


COMBINED = 'return {"speed_ms": 1234.5, "combined_score": 0.25}'
STAGES = 'def evaluate_stage1(p):\n    return {"ok": 1.0}\n\ndef evaluate_stage2(p):\n    '


@pytest.mark.parametrize(
    ("evaluator", "is_said"),
    [
        (f'{STAGES}return {{"speed_ms": 1234.5}}\n\ndef evaluate(p):\n    {COMBINED}\n', True),
        (
            f'def whole(p):\n    {COMBINED}\n\n{STAGES}return {{"ok": 1.0}}\n\ndef evaluate(p):\n    return whole(p)\n',
            True,
        ),
        (f"{STAGES}return evaluate(p)\n\ndef evaluate(p):\n    {COMBINED}\n", False),
        (f"def whole(p):\n    {COMBINED}\n\n{STAGES}return whole(p)\n\ndef evaluate(p):\n    return whole(p)\n", False),
        (f"{STAGES}{COMBINED}\n\ndef evaluate(p):\n    return evaluate_stage2(p)\n", False),
        (f"def evaluate(p):\n    {COMBINED}\n", False),
        (f"{STAGES}return (\n\ndef evaluate(p):\n    {COMBINED}\n", False),
    ],
)
def test_it_is_said_where_stages_give_no_combined_score_but_the_whole_evaluation_does(
    evaluator: str, is_said: bool, tmp_path: Path
) -> None:
    """The mean of what such stages return may rank a program by its run time, the slowest first."""
    (tmp_path / "initial_program.py").write_text(PROGRAM)
    (tmp_path / "evaluator.py").write_text(evaluator)
    said = (
        "the stages of evaluator.py give no combined_score: the score is the mean of all their numbers, as in "
        "OpenEvolve, be they times or counts; score.cascade = [] calls evaluate(), which gives one"
    )
    assert (said in describe(tmp_path)) == is_said


async def test_its_cure_gives_the_score_of_the_whole(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "initial_program.py").write_text(PROGRAM)
    stages = f'{STAGES}return {{"speed_ms": 1234.5}}'
    (folder / "evaluator.py").write_text(f"{stages}\n\ndef evaluate(p):\n    {COMBINED}\n")
    describe(folder)
    text = (folder / "arena.toml").read_text()
    (folder / "arena.toml").write_text(text.replace("cascade = [0.5, 0.75, 0.9]", "cascade = []"))
    done = await run(folder, tmp_path)
    assert isinstance(done.outcome, Scored)
    assert done.outcome.value == 0.25
