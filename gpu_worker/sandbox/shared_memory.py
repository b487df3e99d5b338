"""What trials leave in `/dev/shm`, where no mount namespace gives each its own: it goes before anybody else runs.

A user id of a trial marks its files. Where trials run as the worker's user, all files are taken to be a trial's that
came up since it began and that no process has open: other programs of that user should not keep closed files there.
"""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from mesh.file_trees import delete

FOLDER = Path("/dev/shm")


def owners() -> set[int]:
    """Return the user ids that have something there."""
    return {found.st_uid for _, found in _entries()}


def sweep_users(uids: Collection[int]) -> None:
    """Delete all that the users have there."""
    for name, found in _entries():
        if found.st_uid in uids:
            delete(FOLDER / name)


def listing() -> list[str]:
    """Return what this user has there, each as `inode/name`."""
    return [f"{found.st_ino}/{name}" for name, found in _entries() if found.st_uid == os.geteuid()]


def sweep_since(before: Iterable[str]) -> None:
    """Delete what this user has there and had not in an earlier `listing`, except what a process has open."""
    if came := {entry.partition("/")[2] for entry in set(listing()).difference(before)}:
        for name in came - _used():
            delete(FOLDER / name)


def _entries() -> list[tuple[str, os.stat_result]]:
    found = []
    with suppress(OSError), os.scandir(FOLDER) as listed:
        for entry in listed:
            with suppress(OSError):
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def _used() -> set[str]:
    """Return the names there that a process of this user has open or mapped."""
    paths = set[str]()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    paths.add(os.readlink(f"/proc/{pid}/fd/{number}"))
        with suppress(OSError), open(f"/proc/{pid}/maps", errors="surrogateescape") as maps:
            paths.update(line.split(maxsplit=5)[-1].rstrip("\n") for line in maps if f"{FOLDER}/" in line)
    prefix = f"{FOLDER}/"
    return {path.removeprefix(prefix).partition("/")[0] for path in paths if path.startswith(prefix)}
