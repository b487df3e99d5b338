"""The name of agents to which nobody gave one: a new one, or that of such agents that were killed on this machine.

A budget keeps what the last calls of a killed agent may have cost until its name joins and leaves again, because only
an agent of that name knows what they did cost (`mesh.worker_costs`). Under a new name each time, none would ever
return, and the budget would keep a little more with each kill. So a name lies in a file, which its process locks while
it lives. Who starts without a name takes one that nobody lives under; a file is deleted once its agents have left and
owe nothing.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILE = re.compile(r"[0-9a-f]{4}")


class OwnName:
    """A name; `is_settled` tells whether no budget keeps anything for it, so that nobody need return under it."""

    def __init__(self, name: str, *, is_settled: bool = True) -> None:
        self.name, self.is_settled = name, is_settled


@contextmanager
def own_name(folder: Path, shown: str, agents: str) -> Iterator[OwnName]:
    """Give agents a name that no other process has while the block runs.

    Args:
        folder: where the names of an arena lie; where it cannot be written, the name is a new one.
        shown: what it begins with.
        agents: which agents have it, as numbers behind the name; others do not return as these.
    """
    taken, is_new = _take(folder, shown, agents)
    if taken is None:
        yield OwnName(_new(shown))
        return
    path, lock = taken
    own = OwnName(path.name.partition(".")[0], is_settled=is_new)
    try:
        yield own
    finally:
        if own.is_settled:
            path.unlink(missing_ok=True)
        os.close(lock)


def _take(folder: Path, shown: str, agents: str) -> tuple[tuple[Path, int] | None, bool]:
    """Return a file that is locked, with its descriptor, and whether it is new; None where there can be none."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        left = [path for path in sorted(folder.glob(f"*.{agents}")) if _is_of(path, shown)]
        for path in left:
            if (lock := _lock(path)) is not None:
                return (path, lock), False
        while True:
            path = folder / f"{_new(shown)}.{agents}"
            if not path.exists() and (lock := _lock(path, make=True)) is not None:
                return (path, lock), True
    return None, True


def _is_of(path: Path, shown: str) -> bool:
    stem, _, digits = path.name.partition(".")[0].rpartition("-")
    return stem == shown and _FILE.fullmatch(digits) is not None


def _lock(path: Path, *, make: bool = False) -> int | None:
    """Lock a file without waiting and return its descriptor; None if another process has it, or has deleted it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if make else 0), 0o600)
    except (FileNotFoundError, FileExistsError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _new(shown: str) -> str:
    return f"{shown}-{secrets.token_hex(2)}"
