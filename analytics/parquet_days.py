"""Write the views of a database as Parquet files by arena and day, for engines that read folders of them.

`VIEW/arena=NAME/day=YYYY-MM-DD/data.parquet` has the rows of a day (UTC); views whose rows have no time have one file
per arena. A file carries a mark of its rows, so that the next call writes only those that changed. Every file is
replaced in one step and no reader sees a part of one; files of arenas and days that are gone are removed.
"""

import datetime as dt
import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb

from analytics.parquet import CONFIG, copy_rows, first_line, quoted_name
from analytics.projection import promised_views
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput
from mesh.sql_protocol import quoted

FILE = "data.parquet"
NULL = "__HIVE_DEFAULT_PARTITION__"
"""Stands in a folder's name for no value, as other engines write it."""
_MARK = "mesh"
_FORM = 1
"""Version of these files; one of another version is written anew."""
_TIMES = ("time", "requested_at", "finished_at", "since")
"""Columns that say of what day a row is; where a view has none of them, the time of the entry `seq` does."""
_PARTS = f"""
SELECT arena, day, '{_FORM} ' || count(*) || ' ' || sum(hash(parts)::HUGEINT)
FROM parts
GROUP BY arena, day
ORDER BY arena, day"""  # noqa: S608 a number of our own
_LOG = "events"
"""The view that is too long to be copied aside, and whose rows of a day are found without it."""


class Written(NamedTuple):
    """How many files there are, and how many of them were written."""

    files: int
    written: int


def write_days(database: Path, folder: Path) -> Written:
    """Write the promised views of a database to files by arena and day; only what changed.

    No process may have the database open for writing.

    Raises:
        BadInput: The folder cannot be written, or another process writes it.
    """
    found = Written(0, 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            _alone(folder),
            TemporaryDirectory(prefix="mesh-parquet-") as spilled,
            duckdb.connect(str(database), read_only=True, config=CONFIG | {"temp_directory": spilled}) as db,
        ):
            for view in promised_views():
                files, written = _write_view(db, view, folder / view)
                found = Written(found.files + files, found.written + written)
    except (OSError, duckdb.IOException) as error:
        raise BadInput(f"{folder} cannot be written: {first_line(error)}") from error
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"another mesh snapshot writes {folder}; wait for it or stop it") from None
        yield


def _write_view(db: duckdb.DuckDBPyConnection, view: str, folder: Path) -> Written:
    described: list[tuple[Any, ...]] = db.execute(f"DESCRIBE {quoted_name(view)}").fetchall()
    columns = {str(name): str(kind) for name, kind, *_ in described}
    kind = "VIEW" if view == _LOG else "TABLE"
    db.execute(f"CREATE OR REPLACE TEMP {kind} parts AS {_with_days(view, columns)}")
    own = {name: kind for name, kind in columns.items() if name != "arena"}
    wanted: set[Path] = set()
    written = 0
    for arena, day, mark in db.execute(_PARTS).fetchall():
        place = folder / f"arena={_escaped(arena)}"
        if has_day(columns):
            place /= f"day={NULL if day is None else day}"
        wanted.add(path := place / FILE)
        if _mark_of(db, path) != mark:
            place.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, durable=True) as beside:
                copy_rows(db, _rows_of(view, columns, arena, day), own, beside, {_MARK: mark})
            written += 1
    db.execute(f"DROP {kind} parts")
    _remove_others(db, folder, wanted)
    return Written(len(wanted), written)


def has_day(columns: Collection[str]) -> bool:
    """Tell whether the rows of a view with these columns have a day."""
    return any(name in columns for name in (*_TIMES, "seq"))


def _with_days(view: str, columns: Collection[str]) -> str:
    if time := next((name for name in _TIMES if name in columns), ""):
        return f"SELECT v.*, v.{time}::DATE AS day FROM {view} v"  # noqa: S608 names of our own
    if "seq" not in columns:
        return f"SELECT v.*, NULL::DATE AS day FROM {view} v"  # noqa: S608
    return f"SELECT v.*, p.time::DATE AS day FROM {view} v JOIN internal.posts p USING (arena, seq)"  # noqa: S608


def _rows_of(view: str, columns: Collection[str], arena: str, day: dt.date | None) -> str:
    """Return the query for the rows of an arena and a day; the day of the log is a range, by which rows are found."""
    of_day = "day IS NULL" if day is None else f"day = DATE '{day}'"
    if view == _LOG and day is not None:
        of_day = f"time >= DATE '{day}' AND time < DATE '{day}' + 1"
    order = " ORDER BY seq" if "seq" in columns else ""
    return f"(FROM parts WHERE arena = {quoted(arena)} AND {of_day}{order})"


def _mark_of(db: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Return the mark in a file; "" where there is no such file, or another one."""
    if not path.exists():
        return ""
    query = "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = ?"
    try:
        found = db.execute(query, [str(path), _MARK]).fetchone()
    except duckdb.Error:
        return ""
    return str(found[0]) if found else ""


def _remove_others(db: duckdb.DuckDBPyConnection, folder: Path, wanted: set[Path]) -> None:
    """Remove the files of what is gone, and what a process left that was killed while it wrote."""
    for path in [*folder.rglob(FILE), *folder.rglob(f".{FILE}.*.part")]:
        if path not in wanted and (path.name != FILE or _mark_of(db, path)):
            path.unlink(missing_ok=True)
            for above in path.parents:
                if above == folder or any(above.iterdir()):
                    break
                above.rmdir()


def _escaped(arena: str) -> str:
    """Return the name of an arena as other engines read it: letters, digits, `_` and `-` stand for themselves."""
    return arena.replace("_", "%5F") if arena == NULL else arena
