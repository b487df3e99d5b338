"""What an arena's judge has spent on this machine, in a file: written before a call is made, corrected after it.

A worker that is killed in the middle of a call leaves it set aside in full: what it may have cost counts as spent. All
workers of this machine share the file, and so its limit.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gpu_worker.judge.usage import Usage
from mesh.errors import HostTrouble

_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, run TEXT, session TEXT, pid INTEGER, at REAL, is_open INTEGER, usd REAL, tokens_in INTEGER,
    tokens_out INTEGER);
CREATE INDEX IF NOT EXISTS calls_of_run ON calls (run);
CREATE INDEX IF NOT EXISTS calls_of_session ON calls (session);
CREATE INDEX IF NOT EXISTS open_calls ON calls (pid) WHERE is_open;
CREATE TABLE IF NOT EXISTS total (usd REAL);
CREATE TRIGGER IF NOT EXISTS made AFTER INSERT ON calls BEGIN UPDATE total SET usd = usd + new.usd; END;
CREATE TRIGGER IF NOT EXISTS priced AFTER UPDATE ON calls BEGIN UPDATE total SET usd = usd + new.usd - old.usd; END;
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON calls BEGIN UPDATE total SET usd = usd - old.usd; END;
INSERT INTO total SELECT 0.0 WHERE NOT EXISTS (SELECT 1 FROM total);
"""
_BUSY_S = 30.0
_WAIT_S = 60.0
"""Longest wait until calls that are under way have ended, where it depends on their price whether another may begin."""
_LOOK_EVERY_S = 0.05


class Spent(msgspec.Struct, frozen=True):
    """Calls, tokens and dollars; `open_usd` is the part of calls that have not ended."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    open_usd: float = 0.0


class Exhausted(Exception):
    """A limit does not allow the call; the message is one sentence."""


class Ledger:
    """The calls of an arena on this machine.

    Args:
        file: the database, which is made if it is not there.

    Raises:
        HostTrouble: it cannot be made.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        except (OSError, sqlite3.Error) as error:
            raise HostTrouble(f"the ledger of the judge, {file}, cannot be opened: {error}") from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def spent(self, run: str) -> Spent:
        """Return what the calls of a run have cost, in all its sessions."""
        with self._lock:
            return self._spent("run", run)

    def total_usd(self) -> float:
        """Return what all calls have cost."""
        with self._lock:
            return self._total_usd()

    def set_aside(
        self,
        run: str,
        session: str,
        most: Usage,
        usd: float,
        *,
        usd_per_run: float,
        usd_in_all: float,
        calls_per_run: int,
        gone: Callable[[], bool],
    ) -> int:
        """Write down a call that is about to be made, with the most that it may cost; return its number.

        Args:
            run: the run that it is for.
            session: this attempt at the run.
            most: its tokens at most.
            usd: its price at most, in dollars.
            usd_per_run: limit of a session in dollars, 0 for none.
            usd_in_all: limit of all calls in dollars, 0 for none.
            calls_per_run: limit of the calls of a session, 0 for none.
            gone: whether nobody waits for the call any more.

        Raises:
            Exhausted: a limit does not allow it.
        """
        until = time.monotonic() + _WAIT_S
        while True:
            with self._lock, self._transaction():
                here = self._spent("session", session)
                whole = Spent(usd=self._total_usd(), open_usd=self._open_usd(""))
                if calls_per_run and here.calls >= calls_per_run:
                    raise Exhausted(f"this run has made the {calls_per_run:,} calls that judge.calls_per_run allows")
                over = [
                    (found, limit, name)
                    for found, limit, name in (
                        (here, usd_per_run, "judge.usd_per_run"),
                        (whole, usd_in_all, "judge.usd"),
                    )
                    if limit and found.usd + usd > limit
                ]
                if not over:
                    values = (run, session, os.getpid(), time.time(), 1, usd, most.tokens_in, most.tokens_out)
                    made = self._db.execute(
                        "INSERT INTO calls (run, session, pid, at, is_open, usd, tokens_in, tokens_out) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        values,
                    )
                    return int(made.lastrowid or 0)
                found, limit, name = over[0]
                may_fit = all(f.usd - f.open_usd + usd <= most_usd for f, most_usd, _ in over)
            if not may_fit or gone() or time.monotonic() > until:
                raise Exhausted(
                    f"{name} is ${limit:g}, ${found.usd:.4f} of it are spent, and the next call may cost ${usd:.4f}: "
                    "raise the limit, or set max_tokens in the request"
                )
            time.sleep(_LOOK_EVERY_S)

    def settle(self, number: int, usage: Usage, usd: float) -> None:
        """Write down what a call has cost."""
        with self._lock, contextlib.suppress(sqlite3.Error):  # else it stays set aside in full
            self._db.execute(
                "UPDATE calls SET is_open = 0, usd = ?, tokens_in = ?, tokens_out = ? WHERE id = ?",
                (usd, usage.tokens_in, usage.tokens_out, number),
            )

    def drop(self, number: int) -> None:
        """Forget a call that was not made."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._db.execute("DELETE FROM calls WHERE id = ?", (number,))

    def _spent(self, column: str, value: str) -> Spent:
        calls, read, written, usd = self._db.execute(
            f"SELECT count(*), sum(tokens_in), sum(tokens_out), sum(usd) FROM calls WHERE {column} = ?",  # noqa: S608
            (value,),
        ).fetchone()
        return Spent(calls, read or 0, written or 0, usd or 0.0, self._open_usd(value) if column == "session" else 0.0)

    def _total_usd(self) -> float:
        return float(self._db.execute("SELECT usd FROM total").fetchone()[0])

    def _open_usd(self, session: str) -> float:
        """Return what is set aside for calls that may still end: not for those of workers that are dead."""
        rows = self._db.execute(
            "SELECT pid, sum(usd) FROM calls WHERE is_open AND (? = '' OR session = ?) GROUP BY pid", (session, session)
        ).fetchall()
        return float(sum(usd for pid, usd in rows if _lives(pid)))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
