"""An environment in the folder of a task is used where the user agrees, and named where it is not."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh.arena_commands import import_cure
from mesh.arena_files import read_arena
from mesh.errors import BadInput
from mesh.events import Failed, RunFinished
from mesh.loop_reading import LoopWish
from mesh.testing import Log, git_hash
from mesh_cli.arenas import told_folder
from mesh_cli.live.broken_baseline import reason
from mesh_cli.setup.check_result import BaselineRun, Checked
from mesh_cli.setup.check_view import check_problems
from mesh_cli.setup.init_arena import init_arena
from mesh_cli.setup.init_plan import InitWish
from mesh_cli.setup.own_environment import agree_on_environment
from tests.support.terminal import Terminal
from tests.test_environment import task
from tests.test_init import PROGRAM, folder_of

EVALUATOR = "def evaluate(path):\n    return {'combined_score': 1.0}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task with an environment in its folder."""
    made = task(tmp_path / "task", EVALUATOR)
    (made / "arena.toml").write_text((made / "arena.toml").read_text().replace("\n[environment]\n\n", ""))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made / ".venv")], check=True, timeout=300)
    return made


def test_an_environment_is_not_used_without_a_yes_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "arena.toml").read_text()
    agree_on_environment(folder, None)
    assert "mesh: .venv (Python 3." in (said := capsys.readouterr().err)
    assert "is not used: give --environment .venv to use it, or --environment none" in said
    agree_on_environment(folder, "none")
    assert capsys.readouterr().err == ""
    assert (folder / "arena.toml").read_text() == before


@pytest.mark.parametrize(("wish", "where"), [(".venv", "end"), (".venv/bin/python", "end"), (".venv", "table")])
def test_what_the_user_wants_is_written_down_and_used(
    wish: str, where: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = folder / "arena.toml"
    if where == "table":
        toml.write_text(toml.read_text() + '\n[environment]  # mine\nvariables = ["HF_HOME"]\n')
    agree_on_environment(folder, wish)
    assert f'wrote python = "{wish}" under [environment] in {toml}' in capsys.readouterr().err
    spec = load_arena(folder).environment
    assert spec.python == str(folder / wish)
    assert spec.variables == (("HF_HOME",) if where == "table" else ())
    for again in (None, wish):
        agree_on_environment(folder, again)
        assert capsys.readouterr().err == ""
    (folder / "venv").symlink_to(".venv")
    with pytest.raises(BadInput, match=r"names environment\.python: change it there"):
        agree_on_environment(folder, "venv")


@pytest.mark.parametrize("command", ["up", "open"])
def test_a_task_that_has_no_arena_toml_yet_gets_the_environment_too(command: str, folder: Path, tmp_path: Path) -> None:
    (folder / "arena.toml").unlink()
    words = [sys.executable, "-m", "mesh_cli", command, str(folder), "--environment", str(tmp_path / "gone")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "is a task of OpenEvolve: wrote " in done.stderr
    assert f"{tmp_path / 'gone'} is not on this machine" in done.stderr.splitlines()[-1]
    told_folder(folder, wish=LoopWish())
    agree_on_environment(folder, ".venv")
    assert load_arena(folder).environment.python == str(folder / ".venv")


def test_a_list_of_packages_is_a_hint_and_becomes_the_environment(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".venv").rename(tmp_path / "elsewhere")
    (folder / "requirements.txt").write_text("numpy\n")
    agree_on_environment(folder, None)
    assert "requirements.txt is not used: give --environment requirements.txt" in capsys.readouterr().err
    for wish, words in (("gone.txt", "is not a file in"), (str(tmp_path / "no"), "is not on this machine")):
        with pytest.raises(BadInput, match=words):
            agree_on_environment(folder, wish)
    agree_on_environment(folder, "requirements.txt")
    assert load_arena(folder).environment.requirements == "requirements.txt"


def test_a_terminal_asks(folder: Path, tmp_path: Path) -> None:
    refused = ("--explorers", "0", "--option", "sampler=random")  # so that nothing is started afterwards
    with Terminal("up", str(folder), *refused, MESH_HOME=str(tmp_path / "home")) as terminal:
        terminal.until(r"Run this task in its \.venv \(Python 3")
        terminal.press("y\r")
        terminal.until("wrote python")
        terminal.until("--option sets options of explorers")
    assert load_arena(folder).environment.python == str(folder / ".venv")


def test_a_task_of_another_system_gets_the_environment_that_was_named_and_no_other_is_taken_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"program.md": PROGRAM, "train.py": 'LR = 0.1\nprint(f"val_loss: {LR}")\n'}
    folder = folder_of(tmp_path, files | {"prepare.py": "TIME_BUDGET = 3\n", "results.tsv": "commit\tval_loss\n"})
    venv.create(folder / ".venv", with_pip=False)
    init_arena(folder, InitWish(), None, lambda line: None)
    assert load_arena(folder).environment.python == ""
    assert "is not used: give --environment .venv to use it" in capsys.readouterr().err
    for wish in (InitWish(environment=".venv", force=True), InitWish(yes=True, force=True)):
        init_arena(folder, wish, None, lambda line: None)
        assert load_arena(folder).environment.python == str(folder / ".venv")
    assert [path.name for path in folder.glob("*.bak*")] == ["arena.toml.bak", "arena.toml.bak2"]
    assert not [name for name in read_arena(folder, load_arena(folder)).files if "bak" in name]


def test_a_module_that_the_sandbox_hides_is_named_with_its_cure_where_the_baseline_fails(
    folder: Path, tmp_path: Path
) -> None:
    (hidden := tmp_path / "hidden").mkdir()
    [packages] = (folder / ".venv" / "lib").glob("python3*/site-packages")
    (packages / "mine.pth").write_text(f"{hidden}\n")
    agree_on_environment(folder, ".venv")
    spec = load_arena(folder)
    log = Log(spec)
    log.open()
    log.propose("base", how="baseline")
    message = "the trial ended with exit code 1: ModuleNotFoundError: No module named 'torch'"
    outcome = Failed(reason="crash", message=message)
    run = log.request("base")
    log.add("w", RunFinished(run=run, proposal=git_hash("base"), outcome=outcome, worker="w", worker_class="cpu"))
    cure = f"imports from {hidden} too, which the sandbox hides: name it in environment.readable"
    assert cure in reason(log.board, log.board.runs[run])
    failed = (BaselineRun(1, outcome, 0.1, 0.0),)
    assert import_cure(spec.environment, message).endswith(cure)
    assert cure in check_problems(Checked("a", "loss", failed, (), cure=import_cure(spec.environment, message)))[-1]
    assert import_cure(spec.environment, "exit code 1: ValueError") == ""
