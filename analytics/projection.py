"""The DuckDB file: every entry of every arena as a row of `posts`, how far each log is folded, and the views over them.

The file is a cache that derives from the log alone. If it is damaged or has another layout, the log is folded again:
every block is read when the file is opened, and damage that is found later ends this use of the file with `Damaged`.
Methods block; call them in a thread. Nothing here reads a clock.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import anyio
import duckdb

from analytics import tables
from analytics.bloom_filter import BloomFilter
from analytics.open_runs import OpenRuns
from analytics.reigns import keep_reigns
from analytics.scores import SCORED, Standings, keep_scores, rule_of
from mesh.disk import full_disk
from mesh.errors import BadInput, HostTrouble
from mesh.events import CritiquePosted, ProposalPromoted, ProposalRetired, RunRequested
from mesh.evidence import student_t
from mesh.standing import Rule
from mesh.wire import Entry, Post

LAYOUT = 18
"""Version of the tables; a file of another version is rebuilt."""

TABLED = 1000
"""Degrees of freedom up to which the quantile of Student's t stands in a table; beyond, an expansion is as exact."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "320MB",  # the process stays below 500 MB (`python -m benchmarks replay`)
    "max_vacuum_tasks": "0",  # merging earlier checkpoints slows folding down as the log grows
    "threads": "2",
    "max_temp_directory_size": "2GB",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}

_TABLES = (Path(__file__).parent / "tables.sql").read_text(encoding="utf-8")
_KEYS = """
SELECT arena, kind, key, CASE WHEN kind = 'critique.posted' THEN author ELSE '' END AS author
FROM internal.posts
WHERE counts
UNION ALL
SELECT arena, 'run', run, '' FROM internal.requested"""
_KNOWN = f"""
SELECT kind, key, author
FROM ({_KEYS})
JOIN (SELECT unnest(?::VARCHAR[]) AS kind, unnest(?::VARCHAR[]) AS key, unnest(?::VARCHAR[]) AS author)
    USING (kind, key, author)
WHERE arena = ?"""  # noqa: S608 SQL of our own
_ALL = """
SELECT table_schema, table_name, CASE table_type WHEN 'VIEW' THEN 'VIEW' ELSE 'TABLE' END
FROM information_schema.tables
WHERE table_schema IN ('main', 'internal')"""
_FACTS = (
    "opened",
    "proposed",
    "criticised",
    "requested",
    "started",
    "finished",
    "judged",
    "uncounted",
    "scored",
    "ruled",
    "reigned",
)
"""The tables beside `posts` that derive from it."""

_Name = tuple[str, str, str]
"""Kind, key and author of a fact: its identity. The author is "" if the fact counts once for all authors."""

_DAMAGE = ("Corrupt database", "checksum", "Could not read enough bytes", "not a valid DuckDB", "deserialize")
_DAMAGE_KINDS = (duckdb.Error, duckdb.IOException, duckdb.SerializationException, duckdb.InternalException)
"""Kinds of errors that a statement cannot raise by itself, as it can with `error('...')`."""


class Damaged(HostTrouble):
    """The file is damaged: discard it and fold the log again."""


class Busy(HostTrouble):
    """DuckDB has no memory left for a write, because of a query; try the write again."""


class InUse(BadInput):
    """Another process has the file open."""


class Projection:
    """One DuckDB file, open for writing; no other process can open it meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            BadInput: another process has it, or it cannot be opened.
            duckdb.Error: it is damaged.
        """
        self.path = path
        self._lock = threading.Lock()
        self._seen = BloomFilter()
        self._open: dict[str, OpenRuns] = {}
        self._rules: dict[str, Rule | None] = {}
        self._standings: dict[str, Standings] = {}
        self.damage = ""  # why the file cannot be used any more
        self.asked = anyio.Event()  # is set, and replaced, when somebody asks
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = duckdb.connect(str(path), config=_CONFIG)
        except OSError as error:
            raise BadInput(f"{path} cannot be a database: {error.strerror}") from error
        except duckdb.Error as error:
            if "lock on file" in str(error):
                raise InUse(f"{path} is in use by another projector: stop that one, or name another --db") from error
            raise
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file; a damaged one is moved aside, with a sentence on standard error.

        Raises:
            BadInput: another process has it, or it cannot be opened.
            HostTrouble: the disk is full.
        """
        try:
            return cls(path)
        except (duckdb.Error, RuntimeError, UnicodeDecodeError) as error:
            cls.discard(path, error)
        try:
            return cls(path)
        except duckdb.Error as error:
            raise BadInput(f"{path} cannot be a database: {_first_line(error)}") from error

    @staticmethod
    def discard(path: Path, error: BaseException) -> None:
        """Move a damaged file aside, with a sentence on standard error.

        Raises:
            BadInput: it cannot be moved, or is not damaged but belongs to somebody else.
            HostTrouble: it is not damaged, but the disk is full.
        """
        if full := full_disk(path.parent):
            raise HostTrouble(full) from error
        if not path.is_file() or "Permission denied" in str(error):
            raise BadInput(f"{path} cannot be a database: {_first_line(error)}") from error
        aside = next(p for n in range(1, 10_000) if not (p := path.with_name(f"{path.name}.damaged-{n}")).exists())
        try:
            path.rename(aside)
            wal = path.with_name(path.name + ".wal")
            if wal.exists():
                wal.rename(aside.with_name(aside.name + ".wal"))
        except OSError as failed:
            raise BadInput(f"{path} is damaged and cannot be moved aside: {failed.strerror}") from error
        sys.stderr.write(f"{path} is damaged ({_first_line(error)}): moved to {aside.name}, folding again\n")

    def suspect(self, error: duckdb.Error) -> None:
        """Note in `damage` that the file is damaged, if that is what an error of a query says."""
        if type(error) in _DAMAGE_KINDS and any(words in str(error) for words in _DAMAGE):
            self.damage = _first_line(error)

    def _prepare(self) -> None:
        with self._db.cursor() as db:
            db.execute("SET enable_external_access = false")
            db.execute("SET lock_configuration = true")
            db.begin()
            db.execute(_TABLES)
            if db.execute("SELECT version FROM internal.layout").fetchall() != [(LAYOUT,)]:
                for schema, name, kind in db.execute(_ALL).fetchall():
                    db.execute(f'DROP {kind} IF EXISTS {schema}."{name}" CASCADE')
                db.execute(_TABLES)
                db.execute("INSERT INTO internal.layout VALUES (?)", [LAYOUT])
                with db.appender("internal.student_t") as appender:
                    appender.append_rows([(dof, student_t(dof)) for dof in range(1, TABLED + 1)])
            for _, sql in view_sources():
                db.execute(sql)
            db.commit()
            for table in ("posts", *_FACTS, "checkpoints", "student_t"):
                db.execute(f"SELECT bit_xor(hash({table})) FROM internal.{table}").fetchall()  # noqa: S608 reads every block
            db.execute(f"{_KEYS} UNION ALL {SCORED}")
            while keys := db.fetchmany(10_000):
                self._seen.add(keys)

    def close(self) -> None:
        """Close the file."""
        with self._lock, suppress(duckdb.Error):  # it writes its log into the file, which may be damaged
            self._db.close()

    def note_question(self) -> None:
        """Tell who rests between two writes that somebody asks."""
        self.asked.set()
        self.asked = anyio.Event()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own to the file."""
        return self._db.cursor()

    def checkpoint(self, arena: str, identity: str, head: int) -> int:
        """Return how far `arena` is folded; first drop its rows if they are of another log or beyond `head`.

        Raises:
            Busy: there is no memory for it at the moment.
            HostTrouble: the file cannot be written.
        """
        with self._transaction() as db:
            found = db.execute("SELECT identity, seq FROM internal.checkpoints WHERE arena = ?", [arena]).fetchone()
            if found and found[0] == identity and found[1] <= head:
                return int(found[1])
            self._forget(arena)
            for table in ("posts", *_FACTS):
                db.execute(f"DELETE FROM internal.{table} WHERE arena = ?", [arena])  # noqa: S608 names of our own
            db.execute("INSERT OR REPLACE INTO internal.checkpoints VALUES (?, ?, 0, NULL)", [arena, identity])
            return 0

    def append(self, arena: str, identity: str, entries: Sequence[Entry]) -> None:
        """Add a batch of entries and move the checkpoint of `checkpoint`, both or neither.

        Raises:
            Busy: there is no memory for it at the moment.
            HostTrouble: the file cannot be written.
        """
        with self._transaction() as db:
            rows, asked_since = self._rows(db, arena, entries)
            rules_out = any(row[-1] is not None for row in rows["criticised"])
            ranks = bool(rows["opened"] or rows["finished"] or rules_out)
            if ranks and arena not in self._rules:
                self._rules[arena] = rule_of(db, arena)
            rule = before = self._rules.get(arena)
            for table, of_table in rows.items():
                if of_table:
                    with db.appender(f"internal.{table}") as appender:
                        appender.append_rows(of_table)
            if rows["opened"] or rules_out:
                rule = self._rules[arena] = rule_of(db, arena)
            kept = self._standings.setdefault(arena, Standings(arena, self._seen))
            kept.note_posted({row[4]: row[1] for row in rows["proposed"]})
            first, last = entries[0].seq, entries[-1].seq
            if ranks:
                keep_scores(db, kept, first, last, asked_since=asked_since, before=before, rule=rule)
            checkpoint = [identity, last, self._open_runs(db, arena).books.encoded(), arena]
            db.execute("UPDATE internal.checkpoints SET identity = ?, seq = ?, books = ? WHERE arena = ?", checkpoint)
            promoted = any(row[4] == "promoted" for row in rows["judged"])
            keep_reigns(db, arena, first, ruled_out=bool(rows["opened"]) or rules_out, promoted=promoted)

    def _rows(
        self, db: duckdb.DuckDBPyConnection, arena: str, entries: Sequence[Entry]
    ) -> tuple[dict[str, list[Any]], int]:
        """Return the rows of a batch by their table, and the first sequence at which a run that ends was requested."""
        rows: dict[str, list[Any]] = {table: [] for table in ("posts", *_FACTS)}
        names = [_name(entry, entry.post) if entry.post else None for entry in entries]
        known, runs = self._known(db, arena, entries, names), self._open_runs(db, arena)
        runs.books.look_up(db, arena, entries)
        asked_since = entries[-1].seq

        def is_first(name: _Name) -> bool:
            first = name not in known
            known.add(name)
            return first

        for entry, name in zip(entries, names, strict=True):
            row = tables.row_of(arena, entry)
            post = entry.post if row[-1] else None
            match post.event if post else None:
                case ProposalPromoted() | ProposalRetired():
                    counts = True  # the views say which of them do
                case event:  # nobody has requested the run, it has finished, or somebody else began it
                    may = post is not None and event is not None and runs.counts(event, post.author)
                    counts = may and name is not None and is_first(name)
            rows["posts"].append((*row, counts))
            if post is None or not counts:
                continue
            if isinstance(post.event, RunRequested) and not is_first(("run", post.event.run, "")):
                continue
            if part := runs.books.take(entry, post.event, post.author, runs.attempts_of(post.event)):
                rows["uncounted"].append((arena, entry.seq, post.author, *part))
            asked_since = min(asked_since, runs.take(entry.seq, post.event, post.author))
            rules_out = isinstance(post.event, CritiquePosted) and runs.rules_out(post.event, post.author)
            if found := tables.table_row(arena, entry.seq, row[2], post.author, post.event, rules_out=rules_out):
                rows[found[0]].append(found[1])
        return rows, asked_since

    def _known(
        self, db: duckdb.DuckDBPyConnection, arena: str, entries: Sequence[Entry], own: Sequence[_Name | None]
    ) -> set[_Name]:
        """Return the names of these entries, and of the runs that they request, that are in the file, with one query.

        After a failed write, and for a log that replaced another, the filter knows every name already.
        """
        names = {(arena, *name) for name in own if name}
        runs = (e.post.event.run for e in entries if e.post and isinstance(e.post.event, RunRequested))
        names.update((arena, "run", run, "") for run in runs)
        perhaps = self._seen.add(names)
        if not perhaps:
            return set()
        _, kinds, keys, authors = map(list, zip(*perhaps, strict=True))
        return set(db.execute(_KNOWN, [kinds, keys, authors, arena]).fetchall())

    def _open_runs(self, db: duckdb.DuckDBPyConnection, arena: str) -> OpenRuns:
        """Return the unfinished runs of an arena; kept between batches."""
        if arena not in self._open:
            self._open[arena] = OpenRuns.read(db, arena)
        return self._open[arena]

    def _forget(self, arena: str) -> None:
        """Forget what is kept of an arena between batches: its file says it."""
        self._open.pop(arena, None)
        self._rules.pop(arena, None)
        self._standings.pop(arena, None)

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._lock, self._db.cursor() as db:
            is_done = False
            try:
                db.begin()
                yield db
                db.commit()
                is_done = True
            except duckdb.OutOfMemoryException as error:
                raise Busy(f"{self.path} cannot be written: {_first_line(error)}") from error
            except duckdb.Error as error:
                self.suspect(error)
                if self.damage:
                    raise Damaged(self.damage) from error
                raise HostTrouble(
                    full_disk(self.path.parent) or f"{self.path} cannot be written: {_first_line(error)}"
                ) from error
            finally:
                if not is_done:
                    self._open.clear()
                    self._rules.clear()
                    self._standings.clear()


def _name(entry: Entry, post: Post) -> _Name:
    where = entry.subject  # agrees with the post, or the entry would have no post
    return where.kind, where.key, where.author if post.event.one_per_author else ""


def view_sources() -> list[tuple[str, str]]:
    """Return name and SQL of every view; a view comes after those that it reads.

    The name of a view that nobody is promised begins with `internal.`.
    """
    found = []
    for file in sorted((Path(__file__).parent / "sql").glob("*.sql")):
        text, name = file.read_text(encoding="utf-8"), file.name.removesuffix(".sql").partition("_")[2]
        found.append((f"internal.{name}" if f"VIEW internal.{name} AS" in text else name, text))
    return found


def promised_views() -> list[str]:
    """Return the names of the views whose columns stay: those that SHOW TABLES lists."""
    return [name for name, _ in view_sources() if "." not in name]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
