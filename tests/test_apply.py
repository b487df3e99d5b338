"""`mesh apply` writes a proposal into the folder of its arena, and never over a change of its owner."""

from pathlib import Path

import pytest

from mesh import settings
from mesh.errors import BadInput
from mesh.foreign_folder import remember
from mesh_cli.exit import ExitCode
from mesh_cli.proposals.apply_files import files_to_write, write_over
from tests.support.arenas import TRAIN, write_arena
from tests.test_cli import Lab, Mesh, lab, mesh

__all__ = ["lab", "mesh"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that the arena of the lab was opened from, or one like it; its program is executable."""
    folder = write_arena(tmp_path / "arena")
    (folder / "train.py").chmod(0o754)
    return folder


def test_check_shows_the_diff_and_writes_nothing(lab: Lab, mesh: Mesh, folder: Path) -> None:
    done = mesh("apply", "--folder", folder, "--check")
    assert done.code == 0
    assert [line[:10] for line in done.out.splitlines()[:2]] == ["--- a/trai", "+++ b/trai"]
    words = f"mesh: would write train.py of proposal {lab.better[:10]} into {folder}; nothing was written\n"
    assert done.err == words
    assert (folder / "train.py").read_text() == TRAIN


def test_the_champion_is_written_with_its_bytes_and_the_mode_that_was_there(lab: Lab, mesh: Mesh, folder: Path) -> None:
    done = mesh("apply", "--folder", folder)
    assert (done.code, done.err) == (0, f"mesh: wrote {folder}/train.py of proposal {lab.better[:10]}\n")
    path = folder / "train.py"
    assert path.stat().st_mode & 0o777 == 0o754
    assert path.read_text() != TRAIN
    assert sorted(each.name for each in folder.iterdir()) == ["arena.toml", "score.py", "train.py"]
    # a second time there is nothing to do, and the baseline may be put back
    again = mesh("apply", "--folder", folder)
    assert (again.code, again.out) == (0, "")
    assert again.err.endswith("already; nothing to write\n")
    assert mesh("apply", lab.worse, "--folder", folder).code == 0
    assert path.read_text() == TRAIN


def test_a_change_of_the_owner_is_kept_beside_the_champion(lab: Lab, mesh: Mesh, folder: Path) -> None:
    mine = TRAIN.replace("HEIGHT = 1.0  # mesh: 0.0..2.0", "HEIGHT = 1.0  # mesh: fixed") + "# my own line\n"
    (folder / "train.py").write_text(mine)
    done = mesh("apply", "--folder", folder)
    said = f"mesh: train.py in {folder} changed since proposal {lab.better[:10]} was made; your comments are kept, and"
    assert (done.code, done.err.partition(" the code")[0]) == (0, said)
    written = (folder / "train.py").read_text()
    assert written.endswith("# my own line\n")
    assert "  # mesh: fixed\n" in written
    marks = [line[0] for line in done.out.splitlines() if "fixed" in line]
    assert marks.count("-") == marks.count("+") == 1  # the number changes, and its comment stays
    # it is known again by what it has in common with the champion, and the way back keeps the changes too
    assert mesh("apply", lab.worse, "--folder", folder).code == 0
    assert (folder / "train.py").read_text() == mine


def test_where_the_owner_and_the_proposal_changed_the_same_place_nothing_is_written(
    lab: Lab, mesh: Mesh, folder: Path
) -> None:
    assert mesh("apply", "--folder", folder).code == 0
    theirs = (folder / "train.py").read_text()
    place, (old, new) = next(
        (at, pair)
        for at, pair in enumerate(zip(TRAIN.splitlines(), theirs.splitlines(), strict=True), start=1)
        if pair[0] != pair[1]
    )
    mine = TRAIN.replace(old, old.replace(" = ", " = 7 + "))
    (folder / "train.py").write_text(mine)
    done = mesh("apply", "--folder", folder)
    assert (done.code, done.out) == (ExitCode.BAD_INPUT, "")
    assert done.err.startswith(f"mesh: train.py (line {place}) in {folder} changed since the arena was opened, where")
    assert (folder / "train.py").read_text() == mine
    assert new in theirs


def test_one_changed_file_keeps_all_others_from_being_written(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"old\r\n")
    (tmp_path / "b.py").write_bytes(b"mine")
    known = {"a.py": b"old\r\n", "b.py": b"old"}
    with pytest.raises(BadInput, match=r"^b.py \(line 1\) in "):
        files_to_write(tmp_path, ["a.py", "b.py"], {"a.py": b"new\r\n", "b.py": b"new"}, [known])
    assert (tmp_path / "a.py").read_bytes() == b"old\r\n"


def test_a_file_that_is_missing_is_made_and_a_link_inside_of_the_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.py").write_bytes(b"old")
    (tmp_path / "link.py").symlink_to("real.py")
    names = ["link.py", "sub/new.py"]
    wanted = files_to_write(tmp_path, names, dict.fromkeys(names, b"\xff\r\n\x00"), [{"link.py": b"old"}])
    assert [path.name for path in write_over(wanted)] == ["real.py", "new.py"]
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "real.py").read_bytes() == (tmp_path / "sub/new.py").read_bytes() == b"\xff\r\n\x00"


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "arena"
    folder.mkdir()
    (tmp_path / "outside.py").write_bytes(b"old")
    (folder / "a.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(BadInput, match="is a link that leaves"):
        files_to_write(folder, ["a.py"], {"a.py": b"new"}, [{"a.py": b"old"}])


def test_without_a_folder_the_one_that_the_arena_was_opened_from_is_written(
    lab: Lab, mesh: Mesh, folder: Path, tmp_path: Path
) -> None:
    origin = settings.origin_file(lab.home, "tiny")
    before = origin.read_bytes()
    try:
        remember(lab.home, "tiny", folder)
        assert mesh("apply").err == f"mesh: wrote {folder}/train.py of proposal {lab.better[:10]}\n"
        done = mesh("apply", folder)
        assert (done.code, done.err) == (
            2,
            f"mesh: {folder} is a folder: use `mesh apply champion --folder {folder}`\n",
        )
        remember(lab.home, "tiny", tmp_path / "gone")
        done = mesh("apply", "champion")
        assert (done.code, done.err.partition(", from")[0]) == (2, f"mesh: {tmp_path}/gone")
        origin.unlink()
        assert mesh("apply").err.startswith("mesh: it is not known which folder arena tiny was opened from: name it")
    finally:
        origin.write_bytes(before)


def test_in_the_folder_of_an_arena_no_name_is_needed(
    lab: Lab, mesh: Mesh, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert mesh("config", "show").out.count("arena.toml") == 1
    assert mesh("apply", "--folder", "..", "--check").code == 0
    (folder / "arena.toml").write_text((folder / "arena.toml").read_text().replace("tiny", "other"))
    done = mesh("leaderboard")
    assert done.code == 2
    assert "other" in done.err
    assert mesh("leaderboard", "--arena", "tiny").code == 0
    (folder / "arena.toml").write_text("not = [toml")
    assert mesh("leaderboard").code == 0
