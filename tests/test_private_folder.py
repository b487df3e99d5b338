"""What an arena prepares in private is deleted, however the command that prepares it ends."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from mesh import settings
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.private_folder import private_folder, sweep_private

ARENA = """
[arena]
name = "tiny"
summary = "s"
[objective]
metric = "loss"
direction = "minimize"
[artifact]
editable = ["train.py"]
prepare = ["python", "prepare.py"]
[trial]
command = ["python", "train.py"]
budget_s = 1
deadline_s = 1
[score]
how = "command"
command = ["python", "score.py"]
"""
PREPARE = """
import os, pathlib, subprocess, sys, time
private = pathlib.Path(os.environ["MESH_OUT"]) / "private"
private.mkdir()
(private / "answers").write_text("42")
if pathlib.Path(sys.argv[0]).with_name("slow").exists():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    time.sleep(300)
"""
OPEN = """
import sys
from pathlib import Path
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh_cli.exit import run

async def work() -> None:
    await open_arena(MemoryHub(), Path(sys.argv[1]), home=Path(sys.argv[2]))

sys.exit(run(work))
"""


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    folder = tmp_path / "arena"
    folder.mkdir()
    for name, text in (("arena.toml", ARENA), ("prepare.py", PREPARE), ("train.py", ""), ("score.py", "")):
        (folder / name).write_text(text)
    return folder


def until(done: Callable[[], object]) -> None:
    give_up = time.monotonic() + 100
    while not done():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def at_work(home: Path) -> list[int]:
    """Return the processes that prepare something below a home."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if os.fsencode(settings.private_dir(home)) in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_private_data_is_deleted_however_its_command_ends(arena: Path, tmp_path: Path, number: int) -> None:
    home = tmp_path / "home"
    private = settings.private_dir(home)
    (arena / "slow").touch()
    command = [sys.executable, "-P", "-c", OPEN, str(arena), str(home)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, env=env) as opening:
        until(lambda: list(private.glob("*/out/private/answers")) and len(at_work(home)) == 2)
        [folder] = (path for path in private.iterdir() if path.is_dir())
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(private.stat().st_mode) == 0o700
        sweep_private(private)
        assert (folder / "out" / "private" / "answers").exists(), "its owner lives"
        opening.send_signal(number)
    if number == signal.SIGKILL:
        assert folder.exists()
        (arena / "slow").unlink()
        anyio.run(partial(open_arena, MemoryHub(), arena, home=home))
    assert list(private.iterdir()) == []
    until(lambda: at_work(home) == [])


def test_folders_without_an_owner_are_swept_whatever_is_in_them(tmp_path: Path) -> None:
    with private_folder(tmp_path / "preparing") as kept:
        for name in ("no-lock", "with-lock"):
            (tmp_path / "preparing" / name / "inner").mkdir(parents=True)
            (tmp_path / "preparing" / name / "inner").chmod(0)
        (tmp_path / "preparing" / "with-lock.lock").touch()
        (tmp_path / "preparing" / "alone.lock").touch()
        sweep_private(tmp_path / "preparing")
        assert {path.name for path in (tmp_path / "preparing").iterdir()} == {kept.name, f"{kept.name}.lock"}
    assert list((tmp_path / "preparing").iterdir()) == []
    sweep_private(tmp_path / "never-there")
