"""Folders that programs write to are there in a trial, empty; git passes over the home of the mesh."""

from pathlib import Path

import pytest

from mesh import settings
from mesh.arena_files import read_arena
from mesh.folder_report import folder_lines
from mesh.named_files import score_inputs
from tests.support.arenas import write
from tests.test_folder import TASK, git, spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "task", TASK)


def test_a_folder_that_a_program_writes_to_is_there_empty_although_what_is_in_it_is_left_out(folder: Path) -> None:
    write(
        folder,
        {
            "score.py": "import logging\nlogging.basicConfig(filename='logs/score.log')\nopen('plots/a.png', 'wb')\n",
            "logs/score.log": "old\n",
            "notes/old.log": "old\n",
            ".gitignore": "logs/\n",
        },
    )
    (folder / "plots").mkdir()
    (folder / "empty").mkdir()
    read = read_arena(folder, spec())
    assert {name for name in read.files if "/" in name} == {"logs/.gitkeep", "plots/.gitkeep"}
    assert "the arena has 4 files" in folder_lines(read)[0]
    inputs = score_inputs(read.files, ["train.py"], ())
    assert not any(name.endswith(".gitkeep") for name in inputs), "a folder makes no score stale"


def test_the_home_of_the_mesh_is_no_news_to_git(folder: Path) -> None:
    git(folder, "init", "-q")
    settings.make_home(folder / ".mesh")
    (folder / ".mesh" / "mesh.duckdb").write_text("x")
    assert ".mesh" not in git(folder, "status", "--short")
