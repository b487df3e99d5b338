"""`mesh snapshot --parquet DIR --by-day`: folders that any engine reads, whole at every moment, and written once."""

import datetime as dt
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import msgspec
import pytest

from analytics.parquet_days import FILE, has_day, write_days
from analytics.projection import Projection, promised_views
from mesh.wire import Entry
from tests.test_leaderboard_contract import History, logged

STARTS = dt.datetime(2026, 1, 30, 12, tzinfo=dt.UTC)
ARENAS = {"a": 3, "2026": 7, "__HIVE_DEFAULT_PARTITION__": 8, "true-no_1": 11}
"""Arenas, with the seeds of their histories; some are named as engines name other things."""
READ = "read_parquet('{}', hive_partitioning = true, hive_types = {{arena: VARCHAR, day: DATE}})"
READ_NO_DAY = "read_parquet('{}', hive_partitioning = true, hive_types = {{arena: VARCHAR}})"


def over_days(arena: str, seed: int, hours: float = 1.0) -> list[Entry]:
    """Return a random history, so many hours from one entry to the next."""
    entries = logged(arena, History(seed).told)
    return [msgspec.structs.replace(each, time=STARTS + dt.timedelta(hours=hours * each.seq)) for each in entries]


def append(path: Path, logs: Mapping[str, Sequence[Entry]]) -> None:
    projection = Projection.open(path)
    try:
        for arena, entries in logs.items():
            projection.checkpoint(arena, "log", entries[-1].seq)
            projection.append(arena, "log", entries)
    finally:
        projection.close()


def state_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return inode and time of every file."""
    found = {path: path.stat() for path in folder.rglob(FILE)}
    return {path.relative_to(folder): (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def test_the_files_by_arena_and_day_have_what_the_views_have(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.duckdb", tmp_path / "days"
    append(file, {arena: over_days(arena, seed) for arena, seed in ARENAS.items()})
    written = write_days(file, folder)
    assert written.files == written.written == len(state_of(folder)) > 100
    with duckdb.connect(str(file), read_only=True) as db:
        for view in promised_views():
            columns = [str(row[0]) for row in db.execute(f"DESCRIBE {view}").fetchall()]
            if not db.execute(f"SELECT count(*) FROM {view}").fetchone()[0]:  # type: ignore[index]
                assert not (folder / view).exists()
                continue
            read = (READ if has_day(columns) else READ_NO_DAY).format(folder / view / "**" / FILE)
            rows = f"SELECT {', '.join(columns)} FROM"
            for one, other in ((f"{rows} {view}", f"{rows} {read}"), (f"{rows} {read}", f"{rows} {view}")):
                assert db.execute(f"({one}) EXCEPT ALL ({other})").fetchall() == [], view
        days = db.execute(
            f"SELECT DISTINCT arena, day FROM {READ.format(folder / 'events' / '**' / FILE)} ORDER BY ALL"
        ).fetchall()
        assert days == db.execute("SELECT DISTINCT arena, time::DATE FROM events ORDER BY ALL").fetchall()
        assert len(days) > len(ARENAS)


def test_a_second_call_writes_only_the_days_that_changed(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.duckdb", tmp_path / "days"
    logs: dict[str, Sequence[Entry]] = {arena: over_days(arena, seed) for arena, seed in ARENAS.items()}
    append(file, logs | {"a": logs["a"][:-1]})
    write_days(file, folder)
    before = state_of(folder)
    assert write_days(file, folder) == (len(before), 0)
    assert state_of(folder) == before
    append(file, {"a": logs["a"][-1:]})
    found, after = write_days(file, folder), state_of(folder)
    changed = {path for path in after if before.get(path) != after[path]}
    last = f"day={logs['a'][-1].time:%Y-%m-%d}"
    assert Path("events", "arena=a", last, FILE) in changed
    assert {path.parts[1] for path in changed} == {"arena=a"}
    assert [path for path in changed if path.parts[0] == "events" and path.parts[2] != last] == []
    assert found.written == len(changed) < len(after) / 2


def test_files_of_an_arena_that_is_gone_are_removed(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.duckdb", tmp_path / "days"
    append(file, {arena: over_days(arena, seed) for arena, seed in ARENAS.items()})
    write_days(file, folder)
    projection = Projection.open(file)
    projection.checkpoint("a", "another log", 0)
    projection.close()
    foreign = folder / "events" / FILE
    foreign.write_text("not one of ours")
    write_days(file, folder)
    assert foreign.read_text() == "not one of ours"
    foreign.unlink()
    assert {path.parts[1] for path in state_of(folder)} == {
        *("arena=2026", "arena=true-no_1", "arena=%5F%5FHIVE%5FDEFAULT%5FPARTITION%5F%5F")
    }
    assert list(folder.rglob("arena=a*")) == []


@pytest.mark.timeout(600)
def test_a_writer_that_is_killed_leaves_no_half_file_and_the_next_one_ends_its_work(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.duckdb", tmp_path / "days"
    append(file, {arena: over_days(arena, seed) for arena, seed in ARENAS.items()})
    begin = "import sys; from pathlib import Path; from analytics.parquet_days import write_days"
    program = f"{begin}; write_days(*map(Path, sys.argv[1:]))"
    seen = 0
    for files in (1, 20, 60):
        with subprocess.Popen([sys.executable, "-c", program, file, folder], stderr=subprocess.PIPE) as writer:
            while writer.poll() is None and len([*folder.rglob(FILE)]) < files:
                time.sleep(0.001)
            writer.send_signal(signal.SIGKILL)
        seen += writer.returncode == -signal.SIGKILL
        with duckdb.connect() as db:
            for path in folder.rglob(FILE):
                db.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()
    assert seen
    assert write_days(file, folder).files == len(state_of(folder))
    assert [*folder.rglob("*.part")] == []
    assert write_days(file, folder).written == 0


@pytest.mark.timeout(600)
def test_days_are_read_while_they_are_written(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.duckdb", tmp_path / "days"
    entries = over_days("a", 3)
    append(file, {"a": entries[:2]})
    write_days(file, folder)
    program = (
        f"import duckdb, sys\nprint('reads', flush=True)\nwhile True:\n"
        f"    print(duckdb.sql(\"SELECT count(*) FROM '{folder}/events/**/{FILE}'\").fetchone()[0], flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout
        assert reader.stdout.readline() == "reads\n"
        for last in range(2, len(entries)):
            append(file, {"a": entries[last : last + 1]})
            write_days(file, folder)
        for line in reader.stdout:
            assert 2 <= int(line) <= len(entries)
            if int(line) == len(entries):
                break
        reader.kill()
