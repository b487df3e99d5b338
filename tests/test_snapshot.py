"""`mesh snapshot` and `mesh replay`: databases that any program opens, whole at every moment."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import duckdb
import pytest

from analytics.projection import promised_views
from mesh_cli.exit import ExitCode
from tests.support.arenas import write_arena
from tests.test_cli import Done, Lab, Mesh, fill, mesh, refused, serving

__all__ = ["mesh"]

ROOT = Path(__file__).parents[1]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    home = tmp_path / "home"
    with serving(home) as url:
        yield Lab(home, url, *anyio.run(fill, home, url, write_arena(tmp_path / "arena")))


def values(path: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as db:
        return db.execute(query).fetchall()


def test_a_snapshot_is_one_file_that_others_open_beside_the_projector(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    target = tmp_path / "published" / "mesh.duckdb"
    refused(mesh("snapshot", target), ExitCode.BAD_INPUT, "cannot be written: No such file")
    target.parent.mkdir()
    command = [sys.executable, "-m", "analytics", "--home", str(lab.home)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as projector:
        assert projector.stderr is not None
        assert "is up to date" in projector.stderr.readline()
        assert mesh("snapshot", target) == Done(0, "", f"{target} as of tiny 16\n")
        projector.terminate()
    assert [path.name for path in target.parent.iterdir()] == ["mesh.duckdb"]
    assert values(target, "SELECT proposal, mean FROM leaderboard ORDER BY rank") == [
        (lab.better, 0.25),
        (lab.worse, 0.75),
    ]
    # A process of its own, which knows nothing of the mesh: what DuckDB's shell, a notebook or harlequin does.
    probe = (
        f"import duckdb; db = duckdb.connect({str(target)!r}, read_only=True); "
        "print(db.sql('FROM runs ORDER BY run').df()['run'].tolist())"
    )
    done = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.stderr) == ("['r1', 'r2', 'r3']\n", "")


def test_a_snapshot_is_published_again_and_again_while_others_read_it(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    target = tmp_path / "mesh.duckdb"
    command = [sys.executable, "-m", "mesh_cli", "snapshot", str(target), "--every", "100ms"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as publishing:
        assert publishing.stderr is not None
        assert publishing.stderr.readline() == f"{target} as of tiny 16\n"
        with duckdb.connect(str(target), read_only=True) as reader:
            assert mesh("post", "general", "more").out == "17\n"
            while "tiny 17" not in publishing.stderr.readline():
                pass
            assert reader.execute("SELECT max(seq) FROM events").fetchone() == (16,)  # the file that it opened
        assert values(target, "SELECT max(seq) FROM events") == [(17,)]
        publishing.send_signal(signal.SIGINT)
        publishing.communicate(timeout=100)
        assert publishing.returncode == ExitCode.OK
    assert [path.name for path in tmp_path.glob(".mesh.duckdb*")] == []


def test_a_replay_ends_where_it_is_told_and_ranks_as_of_then(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    target = tmp_path / "then.duckdb"
    assert mesh("replay", target, "--to-seq", 11) == Done(0, "11\n", "")
    assert values(target, "SELECT proposal, mean FROM leaderboard") == [(lab.worse, 0.75)]
    assert mesh("replay", target) == Done(0, "16\n", "")
    [(time,)] = values(target, "SELECT time FROM events WHERE seq = 11")
    assert mesh("replay", target, "--to-time", f"{time}+00:00") == Done(0, "11\n", "")
    assert mesh("replay", target, "--to-time", str(time)) == Done(0, "11\n", "")
    assert mesh("replay", target, "--to-time", "2020-01-01") == Done(0, "0\n", "")
    assert values(target, "SELECT count(*) FROM events") == [(0,)]
    assert mesh("replay", target, "--to-seq", 99).out == "16\n"
    assert not target.with_name("then.duckdb.wal").exists()


def test_every_promised_view_is_also_a_parquet_file(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    folder = tmp_path / "parquet"
    for words in (["snapshot", tmp_path / "a.duckdb"], ["replay", tmp_path / "b.duckdb", "--to-seq", 16]):
        assert mesh(*words, "--parquet", folder).code == 0
        assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.parquet" for name in promised_views())
        with duckdb.connect() as db:
            assert db.execute(f"SELECT proposal, mean FROM '{folder}/leaderboard.parquet'").fetchall() == [
                (lab.better, 0.25),
                (lab.worse, 0.75),
            ]
            assert db.execute(f"SELECT typeof(seed), seed FROM '{folder}/runs.parquet' LIMIT 1").fetchall() == [
                ("BIGINT", 1)
            ]


def test_parquet_files_by_day_are_written_once_and_read_as_the_manual_says(
    lab: Lab, mesh: Mesh, tmp_path: Path
) -> None:
    folder = tmp_path / "days"
    refused(mesh("snapshot", tmp_path / "a.duckdb", "--by-day"), ExitCode.BAD_INPUT, "name their folder with --parquet")
    said = mesh("snapshot", tmp_path / "a.duckdb", "--parquet", folder, "--by-day").err
    count = len([*folder.rglob("data.parquet")])
    assert said == f"{tmp_path}/a.duckdb as of tiny 16; {count} of {count} Parquet files in {folder} have changed\n"
    again = mesh("snapshot", tmp_path / "a.duckdb", "--parquet", folder, "--by-day").err
    assert f"; 0 of {count} Parquet files" in again
    assert mesh("replay", tmp_path / "b.duckdb", "--parquet", folder, "--by-day").code == 0
    page = (ROOT / "docs/howto/import-export.md").read_text()
    question, lake = (text.replace("DIR", str(folder)) for text in re.findall(r"```sql\n(.*?)```", page, re.DOTALL))
    with duckdb.connect() as db:
        assert [row[:1] + row[2:3] for row in db.execute(question).fetchall()] == [("tiny", 3)]
        lake = lake.replace("lake.duckdb", str(tmp_path / "lake.duckdb")).replace("current_date", "DATE '2999-01-01'")
        for _ in range(2):
            db.execute(lake.replace("ATTACH", "ATTACH IF NOT EXISTS"))
            assert db.execute("SELECT count(*) FROM lake.events").fetchone() == (16,)


def test_what_is_no_database_is_never_replaced(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"not a database at all")
    for command in ("snapshot", "replay"):
        refused(mesh(command, photo), ExitCode.BAD_INPUT, "photo.jpg exists and is not a DuckDB file")
        refused(mesh(command, tmp_path), ExitCode.BAD_INPUT, "is a folder; name a file")
    refused(mesh("replay", tmp_path / "a", "--to-seq", 1, "--to-time", "2026-01-01"), ExitCode.BAD_INPUT, "exclude")
    refused(mesh("replay", tmp_path / "a", "--to-time", "noon"), ExitCode.BAD_INPUT, "'noon' is not a time; write")
    refused(mesh("snapshot", tmp_path / "a", "--every", "often"), ExitCode.BAD_INPUT, "'often' is not a duration")
    refused(
        mesh("snapshot", tmp_path / "a", "--every", "0s"), ExitCode.BAD_INPUT, "--every 0s is too often for the disk"
    )
    refused(mesh("snapshot", tmp_path / "a", "--parquet", photo), ExitCode.BAD_INPUT, "photo.jpg cannot be written")
    assert photo.read_bytes() == b"not a database at all"
    assert not (tmp_path / "a").exists()


def test_a_link_stays_and_devices_and_pipes_are_never_replaced(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    pipe, link, file = tmp_path / "pipe.html", tmp_path / "link.html", tmp_path / "file.html"
    os.mkfifo(pipe)
    link.symlink_to(file)
    writers = (["snapshot"], ["replay"], ["export"], ["report", "-o"], ["sql", "SELECT 1", "-o"])
    for words in writers:
        refused(mesh(*words, pipe), ExitCode.BAD_INPUT, "pipe.html is a device or a pipe; name a file")
        assert pipe.is_fifo()
        assert mesh(*words, link).code == 0
        assert link.is_symlink()
        assert file.stat().st_size
        file.unlink()
    for words in writers[:3] + writers[4:]:
        refused(mesh(*words, ""), ExitCode.BAD_INPUT, "is a folder; name a file")


def test_two_snapshots_of_one_home_at_once_are_told_of_each_other(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    assert mesh("snapshot", tmp_path / "a.duckdb").code == 0
    with (lab.home / "snapshot" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(mesh("snapshot", tmp_path / "a.duckdb"), ExitCode.BAD_INPUT, "another mesh snapshot of .* is running")
    private = lab.home / "snapshot" / "mesh.duckdb"
    hold = f"import duckdb, sys; db = duckdb.connect({str(private)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "held\n"
        refused(mesh("snapshot", tmp_path / "a.duckdb"), ExitCode.BAD_INPUT, "another program has .* open")
        holding.communicate()
