"""A task's folder may hold any file by any name: nothing of it is imported by us, in place of a package."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mesh import safe_path
from tests.support.arenas import write_arena

TRAPS = ("nats", "duckdb", "msgspec", "anyio", "psutil", "scipy", "sitecustomize", "usercustomize", "json")
PACKAGES = ("mesh", "agents", "gpu_worker", "analytics", "gateway", "mesh_client", "mesh_cli")
SPRUNG = (
    "import os\nopen(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'SPRUNG'), 'a').write(__file__ + '\\n')\n"
)
TRAINED = "import os, pathlib\nHEIGHT = 1.0  # mesh: 0.0..2.0\n"
TRAINED += "(pathlib.Path(os.environ['MESH_OUT']) / 'loss.json').write_text('{\"loss\": %r}' % HEIGHT)\n"


def a_folder_of_traps(folder: Path) -> Path:
    """Write modules and packages that note when they are imported and then fail."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TRAPS:
        (folder / f"{name}.py").write_text(SPRUNG + f"raise ImportError('{name} of the task was imported')\n")
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(SPRUNG.replace("'SPRUNG'", "'..', 'SPRUNG'"))
    return folder


def a_while(*words: str, cwd: Path, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `mesh up` until it has a champion and 25 runs, so that all parts have worked; or for some minutes."""
    options = ["--minutes", "8", "--slots", "1", "--device", "cpu"]
    command = [str(Path(sys.executable).parent / "mesh"), "up", *words, *options]
    environ, said, is_enough = {**os.environ, "MESH_HOME": str(home), **env}, "", False
    with subprocess.Popen(
        command, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as up:
        assert up.stdout is not None
        for line in up.stdout:
            said += line
            if not is_enough and "promotes" in said and said.count("finished") >= 25:
                is_enough = True
                up.send_signal(signal.SIGINT)
    return subprocess.CompletedProcess(command, up.returncode, said)


def logs(home: Path) -> str:
    return "\n".join(f"{log.name}: {log.read_text()}" for log in sorted((home / "logs").glob("*.log")))


def test_a_swarm_runs_inside_of_a_folder_full_of_traps(tmp_path: Path, home: Path) -> None:
    task = write_arena(a_folder_of_traps(tmp_path / "task"), train=TRAINED)
    ended = a_while(".", cwd=task, home=home)
    assert not (task / "SPRUNG").exists(), (task / "SPRUNG").read_text()
    assert ended.returncode == 0, ended.stdout + logs(home)
    assert "champion loss" in ended.stdout, ended.stdout + logs(home)


def test_a_swarm_runs_from_the_parent_of_a_checkout_with_a_search_path_into_the_task(
    tmp_path: Path, home: Path
) -> None:
    parent = a_folder_of_traps(tmp_path / "parent")
    task = write_arena(parent / "task", train=TRAINED)
    (task / "lib").mkdir()
    for name in ("cmaes", "duckdb", "optuna", "torch"):  # what children import and the command itself does not
        (task / "lib" / f"{name}.py").write_text(SPRUNG + "raise ImportError('of the task')\n")
    ended = a_while("task", cwd=parent, home=home, PYTHONPATH=str(task / "lib"))
    sprung = [path.read_text() for path in (parent / "SPRUNG", task / "lib" / "SPRUNG") if path.exists()]
    assert not sprung
    assert ended.returncode == 0, ended.stdout + logs(home)
    assert "champion loss" in ended.stdout, ended.stdout + logs(home)


@pytest.mark.parametrize(
    "command",
    [
        ("mesh_cli", "doctor"),
        ("mesh.agent", "curator", "--arena", "a"),
        ("gpu_worker", "--arena", "a"),
        ("gpu_worker", "doctor"),
        ("analytics",),
    ],
)
def test_what_is_started_by_hand_in_a_folder_of_traps_imports_none_of_them(
    tmp_path: Path, home: Path, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(SPRUNG + f"raise ImportError('{name} of the task was imported')\n")
    environ = {**os.environ, "MESH_HOME": str(home)}
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not (folder / "SPRUNG").exists(), (folder / "SPRUNG").read_text()
    assert "Traceback" not in ended.stderr, ended.stderr


def test_a_search_path_keeps_what_lies_outside_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, other = tmp_path / "task", tmp_path / "other"
    (task / "lib").mkdir(parents=True)
    (tmp_path / "link").symlink_to(task)
    monkeypatch.chdir(task)
    inside = ("", ".", "lib", str(task), f"{other}/../task/lib", str(tmp_path / "link"))
    assert [safe_path.outside(task, os.pathsep.join(("/x", path))) for path in inside] == ["/x"] * len(inside)
    assert safe_path.outside(task, os.pathsep.join((str(other), "../other"))) == f"{other}{os.pathsep}{other}"
    assert safe_path.outside(task, "") == ""
    root = Path(safe_path.__file__).parents[1]
    assert safe_path.outside(root, f"{root}{os.pathsep}{root}/arenas") == str(root)
