"""A user who is not root finds files that he may not read: a sentence names them, and what needs them is refused.

Root reads everything. Where the tests run as root, the commands run as nobody, by a Python that nobody may start.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

import mesh
from tests.support.arenas import SCORE, TRAIN, write_arena

NOBODY = 65534
ROOT = Path(mesh.__file__).parents[1]


@lru_cache
def start_of_command() -> tuple[str, ...]:
    """The words before `-m mesh_cli` that run it without the rights of root; none if nothing here can."""
    if os.geteuid() != 0:
        return (sys.executable,)
    modules = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("-packages"))])
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", f"PYTHONPATH={modules}"]
    found = shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/bin:/usr/local/bin")
    for python in filter(None, (sys.executable, found)):
        start = [*drop, python]
        asked = [*start, "-c", "import mesh_cli.__main__, msgspec, anyio, pygit2"]
        if shutil.which(drop[0]) and not subprocess.run(asked, cwd="/", capture_output=True, check=False).returncode:
            return tuple(start)
    return ()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An arena of somebody who is not root, in a home of his own."""
    if not start_of_command():
        pytest.skip("these tests run as root, and nobody else may start a Python that has our packages")
    with tempfile.TemporaryDirectory(prefix="mesh-nobody-") as name:
        home = Path(name)
        monkeypatch.setenv("HOME", name)
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.setenv("MESH_HOME", str(home / "mesh"))
        reads = 'import pathlib\npathlib.Path("table.csv").exists()\n'
        made = write_arena(home / "tiny", train=f"import helper\n{TRAIN}", score=f"{reads}{SCORE}")
        for file, text in (
            ("helper.py", "A = 1\n"),
            ("table.csv", "1\n"),
            ("notes.md", "hi\n"),
            (".meshignore", "x\n"),
        ):
            (made / file).write_text(text)
        (made / "sub").mkdir()
        (made / "sub" / "more.txt").write_text("hello\n")
        yield made
        for each in (made, *made.iterdir()):
            each.chmod(0o755)


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command as the owner of the folder."""
    if os.geteuid() == 0:
        for each in (folder.parent, *folder.parent.rglob("*")):
            os.chown(each, NOBODY, NOBODY)
    command = [*start_of_command(), "-m", "mesh_cli", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("train.py", "the arena needs it: change its rights (`chmod u+rX train.py`)\n"),
        ("score.py", "the arena needs it: change its rights (`chmod u+rX score.py`), or name it in artifact.ignore if"),
        ("helper.py", "the arena needs it: change its rights (`chmod u+rX helper.py`), or name it in"),
        ("table.csv", "the arena needs it: change its rights"),
        (".meshignore", "it says what the arena is made of: change its rights (`chmod u+rX .meshignore`)\n"),
    ],
)
def test_a_file_that_the_arena_needs_and_nobody_may_read_is_named(name: str, why: str, folder: Path) -> None:
    (folder / name).chmod(0)
    done = run(folder, "check", "--seeds", 1, "--slots", 1)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"mesh: {name} cannot be read by you, and {why}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("up", ".", "--minutes", 1), ("check",), ("init", ".", "--yes", "--force")])
@pytest.mark.parametrize("name", ["train.py", "arena.toml"])
def test_no_command_ends_in_a_traceback_where_the_program_cannot_be_read(
    name: str, words: tuple[object, ...], folder: Path
) -> None:
    (folder / name).chmod(0)
    done = run(folder, *words)
    assert done.returncode not in (0, 1), done.stderr
    assert f"{name} cannot be read" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["notes.md", "sub", ".gitignore", ".git"])
def test_what_no_run_needs_is_left_out_and_named(name: str, folder: Path) -> None:
    if name == ".git":
        subprocess.run(["git", "init", "-q", folder], check=True)
    elif name == ".gitignore":
        (folder / name).write_text("*.log\n")
    (folder / name).chmod(0)
    try:
        done = run(folder, "check", "--seeds", 1, "--slots", 1)
    finally:
        (folder / name).chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert f"{name} cannot be read by you" in done.stderr
    assert done.stdout.rstrip().splitlines()[-1].startswith("ready")


@pytest.mark.parametrize("closed", [".config", ".config/mesh/contexts.toml", ".config/mesh/config.toml"])
def test_settings_that_cannot_be_read_are_named(closed: str, folder: Path) -> None:
    place = folder.parent / ".config" / "mesh"
    place.mkdir(parents=True)
    for name in ("contexts.toml", "config.toml"):
        (place / name).write_text("")
    (folder.parent / closed).chmod(0)
    try:
        done = run(folder, "status")
    finally:
        (folder.parent / closed).chmod(0o755)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"mesh: {re.escape(str(folder.parent / closed))}\S* cannot be read: Permission denied\n", done.stderr
    )
