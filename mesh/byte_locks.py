"""Locks on single bytes of a file, which the kernel opens when the process that has them ends, however it ends.

A lock belongs to the open file, not to the process (`fcntl(2)`, "Open file description locks"): it also keeps tasks of
one process apart, and a child that inherits the descriptor keeps it. The bytes need not be in the file.
"""

import errno
import fcntl
import os
import struct

_FORM = "hhqqi"
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

HAS_BYTE_LOCKS = hasattr(fcntl, "F_OFD_SETLK")
"""Whether this system has such locks; only Linux does."""


def lock_byte(descriptor: int, byte: int, *, shared: bool = False) -> bool:
    """Lock one byte without waiting; tell whether we have it.

    Args:
        descriptor: the file, open for reading and writing.
        byte: its place.
        shared: whether others that share may have it too.

    Raises:
        OSError: such locks do not work on this file.
    """
    try:
        _ask(descriptor, "F_OFD_SETLK", fcntl.F_RDLCK if shared else fcntl.F_WRLCK, byte, 1)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def unlock_byte(descriptor: int, byte: int) -> None:
    """Give a byte back."""
    _ask(descriptor, "F_OFD_SETLK", fcntl.F_UNLCK, byte, 1)


def are_free(descriptor: int, first: int, end: int, *, shared: bool = False) -> bool:
    """Tell whether the bytes from `first` to before `end` could be locked now.

    Raises:
        OSError: such locks do not work on this file.
    """
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    return first >= end or _ask(descriptor, "F_OFD_GETLK", kind, first, end - first) == fcntl.F_UNLCK


def _ask(descriptor: int, command: str, kind: int, first: int, count: int) -> int:
    request = struct.pack(_FORM, kind, os.SEEK_SET, first, count, 0)
    answer = fcntl.fcntl(descriptor, getattr(fcntl, command), request)
    return int(struct.unpack(_FORM, answer)[0])
