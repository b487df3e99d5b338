"""Walks, measures and deletes folders that strangers filled: however deep, wide, long-named or unreadable.

It goes by descriptors: a path of any length is no trouble, no link is ever followed, and nothing recurses. A walk stops
at `MAX_DEPTH`; a deletion does not, because it moves what is deep to the top before it deletes it. The standard library
alone.
"""

import errno
import fcntl
import itertools
import os
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MAX_DEPTH = 128
"""How deep folders may be nested where they are walked; a walk has as many open descriptors."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_A_TIME = 1000
"""Folders that a deletion moves to the top before it deletes them."""
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE_OR_APPEND_ONLY = 0x80086601, 0x40086602, 0x30


class TooDeep(OSError):
    """Folders are nested deeper than `MAX_DEPTH`."""


def walk(top: int, *, live: bool = False, needs: int = 0o700) -> Iterator[tuple[str, int, list[os.DirEntry[str]]]]:
    """Yield every folder from `top` down: its path below `top` ("" or "a/b/"), its descriptor, its entries.

    The user's own folders that lack the modes in `needs` get them first. A folder may be made read-only, and its files
    may be removed, when it is yielded; a folder that is taken off its list of entries is not entered. Its descriptor is
    closed later by this walk.

    Args:
        top: descriptor of a folder; it stays open.
        live: others change the folders meanwhile: skip what has vanished.
        needs: modes that the owner of a folder gets; 0 changes none.

    Raises:
        TooDeep: folders are nested deeper than `MAX_DEPTH`.
        OSError: a folder cannot be read; nothing is skipped.
    """
    levels: list[tuple[str, int, list[str]]] = []
    here, path = os.dup(top), ""
    try:
        while True:
            levels.append((path, here, []))
            with os.scandir(here) as listing:
                entries = list(listing)
            yield path, here, entries
            levels[-1][2].extend(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            while (following := _next(levels, live=live, needs=needs)) is None:
                os.close(levels.pop()[1])
                if not levels:
                    return
            path, here = following
    finally:
        for _, opened, _ in levels:
            os.close(opened)


def _next(levels: list[tuple[str, int, list[str]]], *, live: bool, needs: int) -> tuple[str, int] | None:
    """Open the next folder in the deepest level that is open; None where it has no more."""
    path, within, names = levels[-1]
    while names:
        if len(levels) > MAX_DEPTH:
            raise TooDeep(f"folders are nested deeper than {MAX_DEPTH}")
        name = names.pop()
        try:
            return f"{path}{name}/", open_folder(name, within, needs=needs)
        except OSError as error:
            if not live or error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
    return None


def open_folder(name: str | os.PathLike[str], within: int | None = None, *, needs: int = 0o700) -> int:
    """Open a folder that is not a link; give its owner the missing modes first.

    Args:
        name: a path, or a name in the folder `within`.
        within: descriptor of a folder.
        needs: modes that its owner gets; 0 changes none.

    Raises:
        OSError: it is not a folder, or belongs to somebody else and cannot be read.
    """
    try:
        opened = os.open(name, _FOLDER, dir_fd=within)
    except PermissionError:
        if not needs:
            raise
        set_mode(name, 0o700, within)
        opened = os.open(name, _FOLDER, dir_fd=within)
    mode = stat.S_IMODE(os.fstat(opened).st_mode)
    if mode & needs != needs and os.geteuid() != 0:
        with suppress(PermissionError):
            os.fchmod(opened, mode | needs)
    return opened


def set_mode(name: str | os.PathLike[str], mode: int, within: int | None = None) -> None:
    """Set the mode of a file or folder, never that of what a link points to; arguments as in `open_folder`.

    Raises:
        OSError: it is a link, is not there, or belongs to somebody else.
    """
    if sys.platform != "linux":
        os.chmod(name, mode, dir_fd=within, follow_symlinks=False)
        return
    place = os.open(name, _PATH, dir_fd=within)
    try:
        if stat.S_ISLNK(os.fstat(place).st_mode):
            raise OSError(40, "is a link", os.fspath(name))
        os.chmod(f"/proc/self/fd/{place}", mode)
    finally:
        os.close(place)


def give(path: str | os.PathLike[str], uid: int) -> None:
    """Give a file, or a folder with all that is in it, to a user and the group of the same number.

    Raises:
        OSError: this process may not, or a folder is too deep.
    """
    os.chown(path, uid, uid, follow_symlinks=False)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return
    top = open_folder(path)
    try:
        for _, here, entries in walk(top):
            for entry in entries:
                os.chown(entry.name, uid, uid, dir_fd=here, follow_symlinks=False)
    finally:
        os.close(top)


def delete(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it, as far as this user can."""
    with suppress(OSError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            _unlink(str(path), None)
            return
        top = open_folder(path)
        try:
            _empty(top)
        finally:
            os.close(top)
        path.rmdir()


def _empty(top: int) -> None:
    """Delete all that is in a folder. What is nested is moved into it first, so that two levels are open at most."""
    mark, number = f".{uuid.uuid4().hex}-", itertools.count()
    waiting = _sweep(top)
    while waiting:
        name = waiting.pop()
        with suppress(OSError):
            folder = open_folder(name, top)
            try:
                inner = _sweep(folder)
                raised = [_raise(child, folder, f"{mark}{next(number)}", top) for child in inner[:_AT_A_TIME]]
            finally:
                os.close(folder)
            if len(inner) > _AT_A_TIME and any(raised):
                waiting.append(name)
            else:
                _remove_folder(name, top)
            waiting.extend(filter(None, raised))


def _sweep(folder: int) -> list[str]:
    """Delete what is not a full folder; return the names of the full ones."""
    full = []
    with os.scandir(folder) as listing:
        entries = list(listing)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            with suppress(OSError):
                _unlink(entry.name, folder)
        elif not _remove_folder(entry.name, folder):
            full.append(entry.name)
    return full


def _raise(name: str, folder: int, new: str, top: int) -> str:
    """Move a folder to the top and return its new name, "" where that fails."""
    try:
        os.close(open_folder(name, folder))  # it must be writable, because its parent changes
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=top)
    except OSError:
        return ""
    return new


def _remove_folder(name: str, within: int) -> bool:
    try:
        try:
            os.rmdir(name, dir_fd=within)
        except PermissionError:
            _unlock(name, within)
            os.rmdir(name, dir_fd=within)
    except OSError:
        return False
    return True


def _unlink(name: str, within: int | None) -> None:
    try:
        os.unlink(name, dir_fd=within)
    except PermissionError:
        _unlock(name, within)
        os.unlink(name, dir_fd=within)


def _unlock(name: str, within: int | None) -> None:
    """Clear the flags `immutable` and `append only` of a file or folder, and of the folder that it is in.

    Only root can set and clear them.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    kind = os.stat(name, dir_fd=within, follow_symlinks=False).st_mode
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
        try:
            _clear_flags(opened)
        finally:
            os.close(opened)
    if within is not None:
        _clear_flags(within)


def _clear_flags(opened: int) -> None:
    with suppress(OSError):  # this file system has none
        flags = int.from_bytes(fcntl.ioctl(opened, _GET_FLAGS, bytes(8))[:4], sys.byteorder)
        fcntl.ioctl(opened, _SET_FLAGS, (flags & ~_IMMUTABLE_OR_APPEND_ONLY).to_bytes(8, sys.byteorder))
