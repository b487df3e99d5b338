"""A task runs in an environment of its own, by the real worker, and is refused in a sentence where that cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_worker.machine import survey
from gpu_worker.task_environment import TaskEnvironment, hidden_program
from mesh.arena import load_arena
from mesh.errors import BadArena, HostTrouble
from mesh.events import Failed, Scored
from mesh.foreign_folder import describe
from mesh.interpreter import find_interpreter
from mesh.readable import visible_path
from tests.test_foreign_tasks import run, run_all

PROGRAM = "# EVOLVE-BLOCK-START\nSLOPE = 1.5\n# EVOLVE-BLOCK-END\n"
EVALUATOR = """
import os, subprocess, sys
import onlyhere
from networkx import PID, weight

def evaluate(path):
    ours = [name for name in sys.modules if name.partition(".")[0] in ("mesh", "gpu_worker", "msgspec")]
    try:
        import msgspec
        ours.append("msgspec")
    except ImportError:
        pass
    assert not ours, ours
    child = subprocess.run(["python", "-c", "import onlyhere; print(onlyhere.VALUE)"], capture_output=True, text=True)
    warm = "colorsys" in sys.modules  # preloaded, and imported by nobody here
    warm += PID != os.getpid()  # imported by another process: that of which this one is a fork
    return {"combined_score": onlyhere.VALUE + float(child.stdout) + warm}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv with a module that is nowhere else."""
    folder = tmp_path_factory.mktemp("own") / "taskenv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=200)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "onlyhere.py").write_text("VALUE = 0.7\n")
    (packages / "networkx.py").write_text("import os\n\nPID, weight = os.getpid(), 1\n")
    return folder


def task(folder: Path, evaluator: str = EVALUATOR, environment: str = "", program: str = PROGRAM) -> Path:
    """A task of OpenEvolve with an `[environment]`."""
    folder.mkdir()
    (folder / "initial_program.py").write_text(program)
    (folder / "evaluator.py").write_text(evaluator)
    describe(folder)
    toml = folder / "arena.toml"
    toml.write_text(
        f"{toml.read_text()}\n[environment]\n{environment}\n".replace("preload = [", 'preload = ["colorsys", ')
    )
    return folder


async def test_evaluations_run_warm_in_the_interpreter_of_the_task(own: Path, tmp_path: Path) -> None:
    ended = await run_all(task(tmp_path / "task", environment=f'python = "{own}/bin/python"'), tmp_path, 2)
    for each in ended:
        assert isinstance(each.outcome, Scored), each
        assert each.outcome.metrics == {"combined_score": 3.4}, each.outcome
    assert ended[0].environment == ended[1].environment != survey("cpu", 1).environment
    assert not list(own.rglob("onlyhere*.pyc"))


async def test_trial_scorer_predictor_and_prepare_run_in_it_too(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    where = "import os, onlyhere, pathlib\nout = pathlib.Path(os.environ['MESH_OUT'])\n"
    files = {
        "prepare.py": f"{where}(out / 'public').mkdir()\n(out / 'public' / 'n').write_text(str(onlyhere.VALUE))\n",
        "train.py": f"{where}n = pathlib.Path(os.environ['MESH_DATA'], 'n').read_text()\n(out / 'n').write_text(n)\n",
        "predict.py": "import onlyhere\nprint(onlyhere.VALUE, flush=True)\n",
        "score.py": f"{where}\nn = float((out / 'n').read_text()) + float(os.fdopen(4).readline())\n"
        "print('{\"n\": %f}' % (n + onlyhere.VALUE))\n",
        "arena.toml": f"""
[arena]
name = "whole"
[objective]
metric = "n"
direction = "maximize"
[artifact]
editable = ["train.py"]
prepare = ["python", "prepare.py"]
[environment]
python = "{own}"
[trial]
command = ["python", "train.py"]
budget_s = 5.0
deadline_s = 20.0
[score]
how = "command"
command = ["python", "score.py"]
predict = ["python", "predict.py"]
""",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    ended = await run(folder, tmp_path)
    assert isinstance(ended.outcome, Scored), ended
    assert ended.outcome.value == pytest.approx(2.1)


def test_what_cannot_be_the_interpreter_is_refused_at_opening(own: Path, tmp_path: Path) -> None:
    empty, text, old = tmp_path / "empty", tmp_path / "text", tmp_path / "old"
    empty.mkdir()
    text.write_text("hello")
    old.write_text('#!/bin/sh\necho \'[[3, 6, 9], "/x", ["/x", "/x", "/x"], [], []]\'\n')
    dead = tmp_path / "dead"
    dead.symlink_to(tmp_path / "gone")
    deaf = tmp_path / "deaf"
    deaf.write_text("#!/bin/sh\nexit 3\n")
    for each in (old, deaf):
        each.chmod(0o755)
    for number, (python, words) in enumerate(
        {
            str(empty): "has no bin/python: give an environment or an interpreter",
            str(text): "cannot be executed: give an environment or an interpreter",
            str(tmp_path / "nothing"): "is not on this machine: make the environment, or change the path",
            str(dead): "leads to a file that is gone",
            str(deaf): "does not answer as a Python",
            str(old): "is Python 3.6.9: give one of version 3.10 or later",
            "no-such-python": "is not a program on PATH",
        }.items()
    ):
        folder = task(tmp_path / f"t{number}", environment=f'python = "{python}"')
        with pytest.raises(BadArena, match=r"environment\.python: ") as error:
            load_arena(folder)
        assert words in str(error.value)


def test_a_command_that_the_sandbox_hides_is_refused_with_its_cure(own: Path, tmp_path: Path) -> None:
    folder = task(tmp_path / "task")
    toml = folder / "arena.toml"
    plain = toml.read_text()
    toml.write_text(plain.replace('command = ["python"', f'command = ["{own}/bin/python"'))
    with pytest.raises(BadArena, match="the sandbox hides") as error:
        load_arena(folder)
    assert f'set python = "{own}" under [environment], and write "python" in the command' in str(error.value)
    toml.write_text(toml.read_text() + f'python = "{own}"\n')
    load_arena(folder)
    tool = tmp_path / "tools" / "bin" / "tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    toml.write_text(plain.replace('how = "openevolve"', 'how = "shinka"').replace('["python"', f'["{tool}"'))
    with pytest.raises(BadArena, match="the sandbox hides") as error:
        load_arena(folder)
    assert f'set readable = ["{tool.parent.parent}"] under [environment]' in str(error.value)


async def test_a_worker_without_the_interpreter_says_so_and_takes_no_runs(own: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.symlink_to(own)
    folder = task(tmp_path / "task", environment=f'python = "{gone}"')
    prepare = "[artifact]\nprepare = ['python', '-c', 'import os; os.unlink(\"GONE\")']\n".replace("GONE", str(gone))
    toml = folder / "arena.toml"
    toml.write_text(toml.read_text().replace("[artifact]\n", prepare) + '[data]\nleak_audit = "off"\n')
    with pytest.raises(BaseExceptionGroup) as error:
        await run(folder, tmp_path)
    trouble = error.value.exceptions[0]
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    assert isinstance(trouble, HostTrouble)
    assert f"cannot run here: environment.python: {gone} is not on this machine" in str(trouble)


TOOL = """
import subprocess

def evaluate(path):
    said = subprocess.run(["mytool"], capture_output=True, text=True, check=True).stdout
    return {"combined_score": float(said)}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a tool that needs a folder of the home, as rustup's do; its programs are on PATH."""
    home = tmp_path / "user"
    (home / ".tool" / "bin").mkdir(parents=True)
    (home / ".toolchain").mkdir()
    (home / ".toolchain" / "number").write_text("0.25")
    (home / ".tool" / "bin" / "mytool").write_text('#!/bin/sh\ncat "$HOME/.toolchain/number"\n')
    (home / ".tool" / "bin" / "mytool").chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{home}/.tool/bin:{os.environ['PATH']}")
    return home


async def test_a_tool_in_the_home_works_where_its_folders_are_readable(home: Path, tmp_path: Path) -> None:
    hidden = await run(task(tmp_path / "hidden", TOOL), tmp_path / "h")
    assert isinstance(hidden.outcome, Failed)
    assert "No such file or directory: 'mytool'" in hidden.outcome.message
    cure = f"{home}/.tool/bin/mytool is hidden by the sandbox: name {home}/.tool/bin in environment.readable"
    assert cure in hidden.outcome.message
    toolchain = 'readable = ["~/.tool", "~/.toolchain"]'
    ended = await run(task(tmp_path / "task", TOOL, toolchain), tmp_path)
    assert isinstance(ended.outcome, Scored), ended
    assert ended.outcome.value == 0.25


def test_the_cure_for_a_compiler_of_rustup_names_its_toolchains(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUSTUP_HOME", raising=False)
    tools = home / ".tool" / "bin"
    (tools / "rustup").write_text("#!/bin/sh\n")
    (tools / "rustup").chmod(0o755)
    (tools / "rustc").symlink_to("rustup")
    environment = TaskEnvironment(hidden=(str(tools),))
    cure = f"name {tools} and {home}/.rustup in environment.readable"
    assert hidden_program("[Errno 2] No such file or directory: 'rustc'", environment).endswith(cure)


@pytest.mark.parametrize("name", ["~", "/", "~/..", "relative", "~/nothing", "TASK", "PARENT"])
def test_what_trials_must_not_see_is_no_readable_folder(name: str, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "task"
    text = name.replace("TASK", str(folder)).replace("PARENT", str(tmp_path))
    task(folder, environment=f'readable = ["{text}"]')
    with pytest.raises(BadArena, match=r"environment\.readable: "):
        load_arena(folder)


def test_folders_of_programs_that_the_sandbox_hides_are_taken_out_of_path(home: Path) -> None:
    path = f"/usr/bin:{home}/.tool/bin::/usr/local/bin:/bin"
    assert visible_path(path) == "/usr/bin:/usr/local/bin:/bin"
    assert visible_path(path, [str(home / ".tool")]) == f"/usr/bin:{home}/.tool/bin:/usr/local/bin:/bin"


def test_a_relative_environment_is_the_one_in_the_folder(tmp_path: Path) -> None:
    folder = task(tmp_path / "task", environment='python = ".venv"')
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True, timeout=200)
    assert load_arena(folder).environment.python == str(folder / ".venv")
    assert find_interpreter(str(folder / ".venv")).prefix == str(folder / ".venv")
