"""Folders that strangers filled are walked, measured and deleted whatever is in them, by root and by ordinary users.

They are in memory where that is possible: some disks take milliseconds to make or delete a folder.
"""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpu_worker.folders import BadOutput, lay_out_score
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.supervisor.meter import folder_mb
from mesh.file_trees import MAX_DEPTH, TooDeep, delete, give, open_folder, walk

NOBODY = 65534
SANDBOX = Sandbox("E")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield Path(name)
        delete(Path(name))
        Path(name).mkdir()


def nest(folder: Path, depth: int, name: str = "d", mode: int = 0o700) -> None:
    """Make folders in folders, without a path that has a length limit."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.fchmod(here, mode)
        os.close(here)
        here = inner
    os.fchmod(here, mode)
    os.close(here)


def in_a_child(uid: int, deed: Callable[[], None]) -> None:
    """Run the deed as a user, in a fork."""
    if (pid := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            deed()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def as_each_user(tmp_path: Path) -> list[tuple[int, Path]]:
    """A folder of this user, and one of an ordinary user that it can reach."""
    places = []
    for uid in {os.geteuid(), NOBODY if os.geteuid() == 0 else os.geteuid()}:
        folder = tmp_path / str(uid)
        folder.mkdir(parents=True)
        os.chown(folder, uid, uid)
        places.append((uid, folder))
    for above in (tmp_path, *tmp_path.parents):
        if above != Path("/") and above.stat().st_uid == os.geteuid():
            above.chmod(above.stat().st_mode | 0o711)
    return places


def wild(folder: Path) -> None:
    """All that a trial may leave."""
    nest(folder, 1_500)
    nest(folder, 300, "n" * 255)
    for mode in (0o000, 0o111, 0o222, 0o333, 0o444, 0o555):
        inner = folder / f"mode-{mode:o}"
        inner.mkdir()
        (inner / "link").symlink_to("/etc/passwd")
        (inner / "file").write_text("x")
        nest(inner, 20, mode=mode)
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to(folder)
    (folder / b"\xff\n".decode(errors="surrogateescape")).touch()
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(folder)
        made.bind("socket")
        os.chdir(here)
    os.link(folder / "fifo", folder / "fifo-2")
    for number in range(1_100):  # more than are moved at a time
        (folder / "wide" / str(number) / "inner").mkdir(parents=True)


def test_whatever_a_trial_left_is_deleted_and_nothing_else_is_touched(tmp_path: Path) -> None:
    for uid, folder in as_each_user(tmp_path):
        kept = folder / "kept"

        def deed(folder: Path = folder, kept: Path = kept) -> None:
            kept.mkdir()
            (kept / "file").write_text("x")
            kept.chmod(0o500)
            run = folder / "run"
            run.mkdir()
            wild(run)
            (run / "mode-0" / "to-kept").symlink_to(kept) if os.geteuid() == 0 else None
            (run / "to-kept").symlink_to(kept)
            open_before = len(os.listdir("/proc/self/fd"))
            delete(run)
            assert not run.exists()
            assert len(os.listdir("/proc/self/fd")) == open_before
            (folder / "alone").symlink_to(kept)
            delete(folder / "alone")
            assert not (folder / "alone").is_symlink()
            delete(folder / "never-there")

        in_a_child(uid, deed)
        assert (kept / "file").read_text() == "x"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o500


def test_folders_are_deleted_however_deep_they_are(tmp_path: Path) -> None:
    nest(tmp_path, 10_000, mode=0)
    delete(tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="REPORTED: only root can make a file immutable")
def test_what_is_immutable_is_deleted_too(tmp_path: Path) -> None:
    (tmp_path / "run" / "inner").mkdir(parents=True)
    (tmp_path / "run" / "inner" / "file").touch()
    made = subprocess.run(
        ["chattr", "+i", tmp_path / "run" / "inner" / "file", tmp_path / "run" / "inner"],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"REPORTED: this file system has no immutable files: {made.stderr.strip()}")
    delete(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_walk_sees_every_file_and_ends_at_its_depth(tmp_path: Path) -> None:
    for uid, folder in as_each_user(tmp_path):

        def deed(folder: Path = folder) -> None:
            (folder / "a" / "b").mkdir(parents=True)
            (folder / "a" / "b" / "file").touch()
            (folder / "a" / "link").symlink_to("/")
            (folder / "a" / "b").chmod(0)
            (folder / "a").chmod(0o111)
            top = open_folder(folder)
            found = {f"{path}{entry.name}" for path, _, entries in walk(top) for entry in entries}
            assert found == {"a", "a/b", "a/link", "a/b/file"}
            nest(folder, MAX_DEPTH)
            assert len(list(walk(top))) == 3 + MAX_DEPTH
            (folder / "one").mkdir()
            nest(folder / "one", MAX_DEPTH)
            with pytest.raises(TooDeep, match="deeper than 128"):
                list(walk(top))

        in_a_child(uid, deed)


def test_the_size_of_what_is_hidden_or_deep_is_seen(tmp_path: Path) -> None:
    for uid, folder in as_each_user(tmp_path):

        def deed(folder: Path = folder) -> None:
            hidden = folder / "a" / "b"
            hidden.mkdir(parents=True)
            (hidden / "file").write_bytes(b"x" * (3 << 20))
            hidden.chmod(0o333)
            (folder / "a").chmod(0o111)
            assert 3 <= folder_mb(str(folder)) < 3.2
            (folder / "long").mkdir()
            nest(folder / "long", 60, "n" * 255)
            assert 3 <= folder_mb(str(folder)) < 4
            (folder / "deep").mkdir()
            nest(folder / "deep", 3_000)
            assert folder_mb(str(folder)) == float("inf")
            assert folder_mb(str(folder / "never-there")) == 0

        in_a_child(uid, deed)


@pytest.mark.skipif(os.geteuid() != 0, reason="REPORTED: only root gives files to other users")
def test_all_of_a_folder_is_given_to_a_user_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "kept").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "kept")
    give(tmp_path / "a", NOBODY)
    assert {p.lstat().st_uid for p in (tmp_path / "a", *(tmp_path / "a").rglob("*"))} == {NOBODY}
    assert (tmp_path / "kept").stat().st_uid == 0


def freeze(run: Path) -> None:
    lay_out_score(run, {"score.py": b""}, [], SANDBOX)


def test_only_readable_files_and_folders_are_left_to_a_scorer(tmp_path: Path) -> None:
    for uid, folder in as_each_user(tmp_path):
        secret = folder / "secret"

        def deed(folder: Path = folder, secret: Path = secret) -> None:
            secret.mkdir()
            (secret / "answers").write_text("42")
            out = folder / "run" / "out"
            out.mkdir(parents=True)
            for mode in (0o000, 0o111, 0o333, 0o444, 0o500, 0o777):
                inner = out / f"{mode:o}" / "inner"
                inner.mkdir(parents=True)
                (inner / "answers").symlink_to(secret / "answers")
                (inner / "folder").symlink_to(secret)
                (inner / "file").write_text("x")
                (inner / "file").chmod(0o6000)
                os.mkfifo(inner / "fifo")
                inner.chmod(mode)
                inner.parent.chmod(mode)
            freeze(folder / "run")
            found = [path for path in out.rglob("*") if path.is_symlink() or not path.is_dir()]
            assert len(found) == 6
            assert {(path.name, stat.S_IMODE(path.lstat().st_mode), path.read_text()) for path in found} == {
                ("file", 0o444, "x")
            }
            assert {stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*")) if path.is_dir()} == {0o555}

        in_a_child(uid, deed)
        assert stat.S_IMODE((secret / "answers").stat().st_mode) & 0o600 == 0o600


def test_an_output_that_is_a_link_or_a_file_is_an_empty_folder_to_the_scorer(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "answers").touch()
    secret = tmp_path / "secret" / "answers"
    for kind in ("link", "file", "pipe"):
        out = tmp_path / kind / "out"
        out.parent.mkdir()
        if kind == "link":
            out.symlink_to(secret.parent)
        elif kind == "file":
            out.touch()
        else:
            os.mkfifo(out)
        freeze(tmp_path / kind)
        assert list(out.iterdir()) == []
        assert not out.is_symlink()
    assert secret.exists()


def test_a_run_whose_own_folder_was_closed_is_scored(tmp_path: Path) -> None:
    """Where trials have the worker's user id, they can change the mode of any folder of it."""
    for uid, folder in as_each_user(tmp_path):

        def deed(folder: Path = folder) -> None:
            run = folder / "runs" / "boot" / "run"
            (run / "out").mkdir(parents=True)
            for closed in (run / "out", run, run.parent, run.parent.parent):
                closed.chmod(0)
            lay_out_score(run, {"score.py": b""}, [], SANDBOX)
            assert (run / "score" / "score.py").exists()

        in_a_child(uid, deed)


def test_an_output_that_no_scorer_could_read_is_the_trials_failure(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    nest(out, 3_000)
    with pytest.raises(BadOutput, match="folders in MESH_OUT nested deeper than 128: nest them less"):
        freeze(tmp_path / "deep")
    out = tmp_path / "linked" / "out"
    out.mkdir(parents=True)
    (tmp_path / "secret").touch()
    os.link(tmp_path / "secret", out / "twin")
    with pytest.raises(BadOutput, match="hard link in MESH_OUT to a file elsewhere"):
        freeze(tmp_path / "linked")
    out = tmp_path / "twins" / "out"
    out.mkdir(parents=True)
    (out / "one").touch()
    os.link(out / "one", out / "two")
    freeze(tmp_path / "twins")
    assert sorted(os.listdir(out)) == ["one", "two"]


def test_a_walk_uses_few_descriptors(tmp_path: Path) -> None:
    nest(tmp_path, 2_000)
    code = (
        "import resource, sys; from pathlib import Path; from mesh.file_trees import delete\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)); delete(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "d")], check=True)
    assert not (tmp_path / "d").exists()
