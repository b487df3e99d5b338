"""Write Parquet files with DuckDB: one from the pages of an answer, or one for every view of a database."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from analytics.projection import promised_views
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput, QueryError
from mesh.sql_protocol import Answer, quoted

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": "2",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_ENCODE = msgspec.json.Encoder()
_ROW_GROUP = 50_000
_AS_SENT = {"INTERVAL": "DOUBLE", "BLOB": "VARCHAR", "HUGEINT": "DECIMAL(38, 0)", "UHUGEINT": "DECIMAL(38, 0)"}
"""Types that `analytics.json_values.plain` changes, or that Parquet lacks."""


class ParquetFile:
    """Writes one answer to `path`; pages are kept on disk until the last one arrives."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path, self._names = path, names
        self._types: list[str] = []
        self._longest = 1 << 20
        self._lines = tempfile.NamedTemporaryFile("wb", prefix="mesh-parquet-", suffix=".json")  # noqa: SIM115  # see `end`

    def page(self, answer: Answer) -> None:
        """Take the rows of a page."""
        self._types = answer.types
        for row in answer.rows:
            line = _ENCODE.encode({f"c{n}": value for n, value in enumerate(row)}) + b"\n"
            self._lines.write(line)
            self._longest = max(self._longest, len(line))

    def end(self, last: Answer) -> None:
        """Write the file.

        Raises:
            QueryError: a column's type cannot be written.
        """
        with self._lines:
            self._lines.flush()
            columns = {f"c{n}": _AS_SENT.get(name, name) for n, name in enumerate(self._types)}
            chosen = ", ".join(f"c{n} AS {quoted_name(name)}" for n, name in enumerate(self._names))
            source = f"read_json(?, format = 'newline_delimited', maximum_object_size = {self._longest}, columns = ?)"
            with duckdb.connect(config=CONFIG) as db:
                try:
                    db.execute(
                        f"COPY (SELECT {chosen} FROM {source}) TO {quoted(str(self._path))} "  # noqa: S608  # quoted
                        f"(FORMAT parquet, ROW_GROUP_SIZE {_ROW_GROUP})",
                        [self._lines.name, columns],
                    )
                except duckdb.Error as error:
                    raise QueryError(f"the answer cannot be written as parquet: {first_line(error)}") from error


def write_views(database: Path, folder: Path) -> list[Path]:
    """Write the promised views of a database to `<view>.parquet` in `folder`, and return the files.

    No process may have the database open.

    Raises:
        BadInput: the folder cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(database), read_only=True, config=CONFIG) as db:
            for name in promised_views():
                path = folder / f"{name}.parquet"
                with atomic_write(path) as beside:
                    described: list[tuple[Any, ...]] = db.execute(f"DESCRIBE {quoted_name(name)}").fetchall()
                    columns = {str(column): str(kind) for column, kind, *_ in described}
                    copy_rows(db, quoted_name(name), columns, beside, {})
                written.append(path)
    except (OSError, duckdb.IOException) as error:
        raise BadInput(f"{folder} cannot be written: {first_line(error)}") from error
    return written


def copy_rows(
    db: duckdb.DuckDBPyConnection, rows: str, columns: Mapping[str, str], path: Path, marks: Mapping[str, str]
) -> None:
    """Write rows to a file.

    Args:
        db: The database.
        rows: A table, a view, or a query in brackets.
        columns: The types of the columns to write, by name.
        path: The file.
        marks: What the file says of itself beside its rows.
    """
    chosen = ", ".join(
        f"try_cast({quoted_name(name)} AS BIGINT) AS {quoted_name(name)}" if kind == "HUGEINT" else quoted_name(name)
        for name, kind in columns.items()
    )
    said = ", ".join(f"{name}: {quoted(text)}" for name, text in marks.items())
    how = f"FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {_ROW_GROUP}"
    how += f", KV_METADATA {{{said}}}" if said else ""
    db.execute(f"COPY (SELECT {chosen} FROM {rows}) TO {quoted(str(path))} ({how})")  # noqa: S608  # quoted


def quoted_name(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def first_line(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0]
