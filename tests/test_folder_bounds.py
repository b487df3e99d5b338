"""What is never taken from a folder, and how much may be: keys, odd names, and files that are too large together."""

import os
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh.arena_files import read_arena, read_files
from mesh.errors import BadArena
from mesh.folder_report import folder_lines
from mesh_cli.setup.first_look.folder_view import view_folder
from tests.support.arenas import write
from tests.test_folder import TASK, git, spec, taken
from tests.test_init import CLASSIFIER, folder_of, made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "task", TASK)


def test_keys_that_git_does_not_ignore_are_left_out_with_a_sentence_and_programs_are_not(folder: Path) -> None:
    keys = ("secrets.yaml", "prod.env", "config/credentials.json", "server.pem")
    programs = ("secrets.py", "credential_check.py", "api_key.c")
    write(folder, dict.fromkeys((*keys, *programs), "x"))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    assert taken(folder) == set(programs)
    assert taken(folder, "!secrets.yaml") == {"secrets.yaml", *programs}
    said = [line for line in folder_lines(read_arena(folder, spec())) if "because of keys" in line]
    assert [line.startswith("given to no worker and no model") for line in said] == [True]


def test_an_arena_has_a_bound_for_all_its_files_with_the_largest_and_the_cure(
    folder: Path,
) -> None:
    for number in range(17):
        (folder / f"{number:02}.bin").touch()
        os.truncate(folder / f"{number:02}.bin", 8_000_000 - number)
    with pytest.raises(BadArena, match=r"have 136 MB together, but an arena may have 134 MB: the largest are 00\.bin"):
        taken(folder)
    (folder / "16.bin").unlink()
    assert len(taken(folder)) == 16


def test_odd_names_and_files_of_keys_do_not_stop_it_and_a_bare_folder_is_told_of_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"train.py": CLASSIFIER, "secrets.yaml": "key: 1\n", "prod.env": "KEY=1\n"})
    for name in ("at\u202f10.txt", "two\nlines.txt"):
        (folder / name).write_text("x")
    view = view_folder(folder)
    assert view.names == ("train.py",)
    assert {"prod.env", "secrets.yaml"} <= set(view.apart)
    made(folder)
    assert set(read_files(folder)) == {"arena.toml", "train.py"}
    bare = tmp_path / "bare folder"
    bare.mkdir()
    with pytest.raises(BadArena, match=r"does not exist: .*`mesh init .*bare folder"):
        load_arena(bare)
