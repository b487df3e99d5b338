"""Tasks of CORAL: what their files say, and what their graders give, in both forms and without the package."""

from pathlib import Path

import pytest

from mesh import arena
from mesh.errors import BadArena
from mesh.events import Failed, Scored
from mesh.foreign_folder import describe
from tests.support.arenas import write
from tests.test_foreign_tasks import run

SOLUTION = "STEP = 2.5\n\n\ndef run():\n    return 10 - (STEP - 4) ** 2\n"
GRADER = '''
import json
from pathlib import Path

from coral.grader import TaskGrader
from coral.types import Score, ScoreBundle

from .known import BEST


class Grader(TaskGrader):
    def evaluate(self) -> ScoreBundle:
        program = Path(self.codebase_path) / self.args.get("program_file", "solution.py")
        if not program.exists():
            return self.fail("no program")
        secret = json.loads((Path(self.private_dir) / "answers" / "key.json").read_text())
        told = self.run_script_json(
            f"import sys, json; sys.path.insert(0, {str(program.parent)!r}); print('noise')\\n"
            f"import {program.stem} as p; print(json.dumps(dict(value=p.run())))"
        )
        if told["value"] < 0:
            return self.fail("the value is below zero")
        (self.eval_logs_dir / "log.txt").write_text("kept")
        value = told["value"] / BEST * secret["factor"]
        scores = {"eval": Score(value, "eval", "fine"), "raw": Score(told["value"], "raw")}
        return ScoreBundle(scores=scores, aggregated=value)
'''  # fmt: skip
TASK = """
task:
  name: "A step"
  description: |
    Find the best step.
  tips: Four is near.
grader:
  entrypoint: "step_grader.grader:Grader"
  setup: ["uv pip install -e ./grader"]
  timeout: 45
  direction: maximize
  args: {program_file: solution.py, sizes: [1, 2], deep: {a: true}}
  private: ["answers"]
workspace:
  repo_path: "./examples/step/seed"
"""
PACKAGED = {
    "task.yaml": TASK,
    "seed/solution.py": SOLUTION,
    "seed/helper.py": "X = 1\n",
    "grader/pyproject.toml": "[project]\nname = 'step-grader'\n",
    "grader/src/step_grader/__init__.py": "",
    "grader/src/step_grader/known.py": "BEST = 10.0\n",
    "grader/src/step_grader/grader.py": GRADER,
    "answers/key.json": '{"factor": 2.0}',
}
OLDER = {
    "task.yaml": "task: {name: tsp}\ngrader: {direction: minimize}\n",
    "seed/solution.py": "LENGTH = 12.0\nprint(LENGTH)\n",
    "eval/grader.py": "from coral.grader import TaskGrader\n\n\nclass Grader(TaskGrader):\n    def evaluate(self):\n"
    "        return float(self.run_program('solution.py').stdout) + len(self.read_eval('more.txt'))\n",
    "eval/more.txt": "abc",
}


def test_what_a_task_says_is_in_the_arena(tmp_path: Path) -> None:
    folder = write(tmp_path / "step", PACKAGED)
    said = describe(folder, tmp_path / "home")
    assert "is a task of CORAL" in said
    assert "answers: CORAL shows it to the grader alone; here the judged program can read it too" in said
    spec = arena.load_arena(folder)
    assert (spec.objective.metric, spec.objective.direction) == ("score", "maximize")
    assert (spec.artifact.editable, spec.score.how, spec.score.deadline_s) == (("seed/solution.py",), "coral", 45)
    assert spec.score.command == (
        "python",
        "grader/src/step_grader/grader.py",
        "--entrypoint=step_grader.grader:Grader",
        "--codebase=seed",
        "--private=answers",
        '--evaluator-args={"program_file": "solution.py", "sizes": [1, 2], "deep": {"a": true}}',
    )
    assert spec.brief == "Find the best step.\n\nFour is near."


async def test_a_packaged_grader_scores_and_says_why_it_does_not(tmp_path: Path) -> None:
    folder = write(tmp_path / "step", PACKAGED)
    assert describe(folder, tmp_path / "home")
    done = await run(folder, tmp_path)
    assert isinstance(done.outcome, Scored), (done.outcome, done.log_tail)
    assert (done.outcome.value, done.outcome.metrics["raw"]) == (1.55, 7.75)
    failed = (await run(folder, tmp_path, proof=False, **{"seed/solution": "def run():\n    return -1\n"})).outcome
    assert isinstance(failed, Failed)
    assert "the grader says: the value is below zero" in failed.message


async def test_the_older_form_with_a_grader_in_eval_scores_a_whole_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "tsp", {**OLDER, "seed/part.py": "X = 1\n"})
    assert describe(folder, tmp_path / "home")
    spec = arena.load_arena(folder)
    assert (spec.objective.direction, spec.artifact.editable) == ("minimize", ("seed/part.py", "seed/solution.py"))
    done = await run(folder, tmp_path)
    assert isinstance(done.outcome, Scored), (done.outcome, done.log_tail)
    assert done.outcome.value == 15.0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"grader/src/step_grader/grader.py": None, "grader/pyproject.toml": ""},
            "its grader step_grader.grader:Grader is not below this folder",
        ),
        ({"seed/solution.py": None}, "seed/solution.py is no program to start from"),
        ({"task.yaml": "task: [\n"}, "is not valid YAML"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(changed: dict[str, str | None], words: str, tmp_path: Path) -> None:
    files = {name: text for name, text in {**PACKAGED, **changed}.items() if text is not None}
    with pytest.raises(BadArena, match=words.replace(".", r"\.")):
        describe(write(tmp_path / "step", files), tmp_path / "home")


@pytest.mark.parametrize("text", ["task: build\ngrader: none\n", "task: [\n", "\x00", "task: {}\ngrader: {a: b}\n"])
def test_another_task_yaml_is_no_task_of_coral(text: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "other", {"task.yaml": text, "main.py": "X = 1\n"})
    assert describe(folder, tmp_path / "home") == ""
