"""A runner that the supervisor has compiled ahead does what its file does, and a warm script writes no byte code."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.environment import inherited
from gpu_worker.launch import supervisor_options
from gpu_worker.sandbox import mounts
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.supervisor.client import Supervisor, start_supervisor
from gpu_worker.supervisor.fork import RUNNERS
from gpu_worker.supervisor.protocol import SCRIPT_AHEAD, Ending, Launch, Limits, Request
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec

NAME = ".mesh/openevolve.py"
GOOD = "import helper\ndef evaluate(path):\n    return {'combined_score': helper.TWO, 'path': path.count('/')}\n"
BAD = "def evaluate(path):\n    raise ValueError('no good')\n"
TRACED = (
    "import traceback\ndef evaluate(path):\n    return {'combined_score': 1, 'artifacts': traceback.print_stack()}\n"
)


async def run_script(supervisor: Supervisor, folder: Path, script: str, *words: str, warm: bool = True) -> Ending:
    env = inherited() | {"PYTHONDONTWRITEBYTECODE": "1"}
    launch = Launch((sys.executable, script, *words), env, str(folder), warm=warm)
    return await supervisor.run(Request(launch, Limits(30)))


def laid_out(folder: Path, evaluator: str, runner: bytes | None = None) -> Path:
    (folder / ".mesh").mkdir(parents=True)
    (folder / NAME).write_bytes(runner or Path(RUNNERS, "openevolve.py").read_bytes())
    for name, text in {"evaluator.py": evaluator, "helper.py": "TWO = 2\n", "program.py": "X = 1\n"}.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("evaluator", [GOOD, BAD, TRACED])
async def test_an_evaluation_is_the_same_whether_its_runner_is_compiled_ahead_or_not(
    evaluator: str, tmp_path: Path
) -> None:
    found: list[tuple[Any, str]] = []
    for place, options in enumerate([(f"{SCRIPT_AHEAD}{NAME}",), ()]):
        async with start_supervisor(options=options) as supervisor:
            folder = laid_out(tmp_path / str(place), evaluator)
            ended = await run_script(supervisor, folder, NAME, "evaluator.py", "program.py")
            assert ended.rc == 0, ended.err
            found.append((json.loads(ended.out), ended.err.replace(str(folder), "FOLDER")))
            assert not list(folder.rglob("__pycache__"))
    assert found[0][0] == found[1][0]
    inside = [[line for line in err.splitlines() if NAME in line] for _, err in found]
    assert inside[0] == inside[1]
    assert bool(inside[0]) == (evaluator == TRACED)


async def test_a_script_with_the_name_of_a_runner_and_other_contents_runs_as_it_is(tmp_path: Path) -> None:
    async with start_supervisor(options=(f"{SCRIPT_AHEAD}{NAME}",)) as supervisor:
        folder = laid_out(tmp_path / "own", GOOD, b"print('mine')\n")
        assert (await run_script(supervisor, folder, NAME)).out == "mine\n"


@pytest.mark.parametrize(
    ("how", "trial", "names"),
    [
        ("openevolve", (), [NAME]),
        ("shinka", (), [".mesh/shinka.py"]),
        ("command", ("python", "train.py"), []),
    ],
)
def test_only_slots_of_other_systems_evaluators_compile_a_runner_ahead(
    how: str, trial: tuple[str, ...], names: list[str]
) -> None:
    score = ScoreSpec(how=how, command=("python", "evaluator.py"))  # type: ignore[arg-type]
    spec = ArenaSpec(
        name="a",
        objective=ObjectiveSpec(metric="combined_score", direction="maximize"),
        artifact=ArtifactSpec(editable=("program.py",)),
        trial=TrialSpec(command=trial, budget_s=1, deadline_s=2),
        score=score,
    )
    assert list(supervisor_options(Sandbox("B"), spec)) == [f"{SCRIPT_AHEAD}{name}" for name in names]
    assert supervisor_options(Sandbox("B")) == ()


def test_what_is_known_of_the_way_to_a_path_of_the_system_counts_for_that_path_alone(tmp_path: Path) -> None:
    for name in ("known", "other"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name).chmod(0o755)
    above = mounts.obstacles([str(tmp_path / "known" / "inner")])
    mounts.find_obstacles([str(tmp_path / "known" / "inner"), str(tmp_path / "missing")])
    for name in ("known", "other"):
        (tmp_path / name).chmod(0o700)
    assert mounts.obstacles([str(tmp_path / "known" / "inner")]) == above
    assert mounts.obstacles([str(tmp_path / "other" / "inner")]) == (above or [str(tmp_path / "other")])
