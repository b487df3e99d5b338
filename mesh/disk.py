"""What a disk can do: whether it is full, and in which words; and files that may be damaged."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import anyio

FULL_BELOW_BYTES = 1024 * 1024
"""A disk with less free space than this counts as full."""

SCARCE_BELOW_BYTES = 8 * 1024 * 1024
"""With less free space than this, a program may have failed because of the disk."""

_LOOK_EVERY_S = 0.2
_PIECE = bytes(65536)


def free_bytes(folder: Path) -> int | None:
    """Return how many bytes a user without privileges can still write to the disk of `folder`, None if unknown.

    Args:
        folder: a folder; if it does not exist, its nearest parent that does.
    """
    for place in chain((folder,), folder.parents):
        with suppress(OSError):
            found = os.statvfs(place)
            return found.f_bavail * found.f_frsize
    return None


def full_disk(folder: Path, below_bytes: int = FULL_BELOW_BYTES) -> str:
    """Return the sentence that the disk of `folder` is full, "" if it has room.

    Args:
        folder: a folder on the disk.
        below_bytes: the disk counts as full if less is free.
    """
    free = free_bytes(folder)
    if free is None or free >= below_bytes:
        return ""
    return f"the disk of {folder} is full: {free:,} bytes free; free some space"


class DiskWatch:
    """Notes whether the disk of a folder was full at any time since the watch began."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._full = folder, ""

    def full(self) -> str:
        """Return the sentence that the disk was or is full, "" if it had room all the time."""
        self._full = self._full or full_disk(self._folder, SCARCE_BELOW_BYTES)
        return self._full

    async def follow(self) -> None:
        """Look after the disk until cancelled."""
        while True:
            self.full()
            await anyio.sleep(_LOOK_EVERY_S)


def is_out_of_space(error: OSError) -> bool:
    """Tell whether an error means a full disk or a used-up quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def read_regular(path: Path, most_bytes: int) -> bytes | None:
    """Return the contents of a file; None if it is missing, not readable, too large, or not a regular file.

    It never waits, as opening a pipe would.

    Args:
        path: the file.
        most_bytes: the largest size to read.
    """
    try:
        with open_regular(path, most_bytes) as file:
            return file.read(most_bytes)
    except OSError:
        return None


@contextmanager
def open_regular(path: Path, most_bytes: int) -> Iterator[BinaryIO]:
    """Open a file for reading; it never waits, as opening a pipe would.

    Raises:
        OSError: it is missing, not readable, too large, or not a regular file.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
            raise OSError(f"{path} is not a regular file of at most {most_bytes:,} bytes")
        yield file


def can_write(folder: Path) -> bool:
    """Write a small file into `folder`, flush it to the disk, and delete it; tell whether that worked. It blocks."""
    path = folder / f".try-{secrets.token_hex(4)}"
    try:
        with path.open("xb") as file:
            file.write(_PIECE)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return True
