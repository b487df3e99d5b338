"""The lock on a store: two servers never open one store.

It locks the file `store.lock` and the folder of the store itself. So somebody who deletes or replaces the file does not
free the store. It also locks the path, in a file outside of the store: a server writes by path, so where its folder was
deleted and made again, it would write into the store of the next server. The server inherits these locks and keeps them
until it ends.
"""

import errno
import fcntl
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from mesh.byte_locks import HAS_BYTE_LOCKS, lock_byte


class Place(msgspec.Struct, frozen=True):
    """The folder of a store as the disk knows it: device and number, which a replaced folder does not share."""

    device: int
    number: int


def place_of(folder: Path) -> Place:
    """Return which folder stands at this path now.

    Raises:
        OSError: there is none.
    """
    found = os.stat(folder)
    return Place(found.st_dev, found.st_ino)


class StoreLock:
    """A lock that this process has; `descriptors` are inherited by the server."""

    def __init__(self, descriptors: tuple[int, ...]) -> None:
        self.descriptors = descriptors

    def close(self) -> None:
        """Close our descriptors; a server that inherited them keeps the lock."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def acquire(folder: Path) -> StoreLock | None:
    """Lock the store in `folder` without waiting; None if another process has it.

    Raises:
        OSError: the folder or the lock file cannot be opened.
    """
    found: list[int] = []
    try:
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        found.append(os.open(folder / "store.lock", os.O_RDWR | os.O_CREAT | flags, 0o600))
        found.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | flags))
        file, itself = found
        if _lock(file) and _lock(itself, optional=True) and _lock_path(folder, found):
            kept, found = tuple(found), []
            return StoreLock(kept)
        return None
    finally:
        for descriptor in found:
            with suppress(OSError):
                os.close(descriptor)


def _lock_path(folder: Path, found: list[int]) -> bool:
    """Lock the path of a store among those of this user; tell whether nobody else has it.

    A byte of one file stands for each path. Where this system has no such locks or no such file, nobody has any.
    """
    if not HAS_BYTE_LOCKS:
        return True
    byte = int.from_bytes(hashlib.sha256(os.fsencode(folder.resolve())).digest()[:7]) >> 2
    path = os.path.join(tempfile.gettempdir(), f"mesh-stores-{os.geteuid()}")
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        found.append(descriptor)
        if os.fstat(descriptor).st_uid == os.geteuid():
            return lock_byte(descriptor, byte)
    return True


def _lock(descriptor: int, *, optional: bool = False) -> bool:
    """Lock one descriptor; tell whether we have it. Some network disks cannot lock folders: that is `optional`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return optional and error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True
