"""`mesh snapshot` and `mesh replay`: DuckDB files that the command itself makes from the log.

Only the projector could copy its file, and only to its own host. The log is everywhere, so a snapshot folds it: into a
private database in the home, which the next one continues, of which a copy then takes the place of the target at once.
So it works beside any projector and without one, on any host, and never makes the projector wait.
"""

import datetime as dt
import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.to_thread import run_sync

from analytics.parquet import write_views
from analytics.parquet_days import write_days
from analytics.projector import replay
from mesh import settings
from mesh.bus import ArenaBus, Hub
from mesh.errors import BadInput, UnknownName
from mesh_cli.render.output import atomically

_MAGIC = b"DUCK"


class Parquet(NamedTuple):
    """Where a snapshot also writes Parquet files; `by_day` in folders by arena and day."""

    folder: Path
    by_day: bool = False


async def publish(hub: Hub, target: Path, parquet: Parquet | None, pause_s: float | None) -> None:
    """Write all logs as of now to `target`; with `pause_s`, again after so many seconds until cancelled.

    Raises:
        BadInput: the target cannot be written or is not a database, or another snapshot is running in this home.
    """
    _check(target)
    folder = settings.home() / "snapshot"
    private = folder / "mesh.duckdb"
    while True:
        reached = {}
        with _alone(folder):
            for name in await hub.arenas():
                with suppress(UnknownName):  # it went away since
                    reached[name] = await _fold(await hub.arena(name), private)
            if not reached:
                raise BadInput("there is no arena yet, so there is nothing to write; mesh open FOLDER opens one")
            said = await run_sync(_copy, private, target, parquet)
        print(f"{target} as of {', '.join(f'{name} {seq}' for name, seq in reached.items())}{said}", file=sys.stderr)
        if pause_s is None:
            return
        await anyio.sleep(pause_s)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the private database against other snapshots until it is copied."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise BadInput(f"another mesh snapshot of {settings.home()} is running; wait for it or stop it") from None


async def _fold(bus: ArenaBus, private: Path) -> int:
    try:
        return await replay(bus, private)
    except BadInput as error:
        if "in use" in str(error):
            raise BadInput(f"another program has {private} open; close it and try again") from error
        raise


def _copy(private: Path, target: Path, parquet: Parquet | None) -> str:
    with atomically(target) as beside:
        shutil.copyfile(private, beside)
        return _write(beside, parquet) if parquet else ""


def _write(database: Path, parquet: Parquet) -> str:
    """Write the Parquet files, and return in words how many of those by day have changed."""
    if not parquet.by_day:
        write_views(database, parquet.folder)
        return ""
    found = write_days(database, parquet.folder)
    return f"; {found.written:,} of {found.files:,} Parquet files in {parquet.folder} have changed"


async def replay_to(
    bus: ArenaBus, target: Path, parquet: Parquet | None, *, seq: int | None, time: dt.datetime | None
) -> int:
    """Fold the log up to `seq`, `time` or its end into a new database at `target`; return the sequence reached.

    Raises:
        BadInput: the target cannot be written, or is not a database.
    """
    _check(target)
    until = await _last_before(bus, time) if time is not None else seq
    head = await bus.head()
    with atomically(target) as beside:
        beside.unlink()
        reached = await replay(bus, beside, head if until is None else min(until, head))
        if parquet is not None:
            await run_sync(_write, beside, parquet)
    return reached


async def _last_before(bus: ArenaBus, time: dt.datetime) -> int:
    last = 0
    async with aclosing(bus.read()) as batches:
        async for batch in batches:
            for entry in batch:
                if entry.time > time:
                    return last
                last = entry.seq
    return last


def _check(target: Path) -> None:
    """Refuse to overwrite a file that is not a database."""
    try:
        if target.is_file() and target.stat().st_size and not _is_database(target):
            raise BadInput(f"{target} exists and is not a DuckDB file; use another name or remove it")
    except OSError as error:
        raise BadInput(f"{target} cannot be read: {error.strerror}") from None


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[8:] == _MAGIC
