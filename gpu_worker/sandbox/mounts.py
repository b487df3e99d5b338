"""The file system that one trial sees: everything read-only except its own folders, and its own /tmp and /dev/shm.

Needs a mount namespace. Folders with other people's files, and folders that the trial's user id cannot enter (a home
folder of root with the interpreter in it), are covered by empty ones in which only the needed paths appear.
"""

import ctypes
import os
import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate

from gpu_worker.sandbox import kernel

_RDONLY = 1
_KEPT = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "sbin", "sys", "usr"}
"""Folders of `/` that every program needs; all others are covered, with the sockets in them."""

SHM_MB = 1024
COVER = "mode=755,size=1m"
TEMPORARY = ("/tmp", "/var/tmp")
"""Where programs write without asking for `TMPDIR`."""

_remembered: dict[str, str] = {}
"""The obstacle on the way to each path of the system, "" for none."""


def arrange(
    read: Iterable[str],
    write: Iterable[str],
    *,
    uid: int | None,
    tmp: str = "",
    twins: Sequence[Sequence[str]] = (),
) -> None:
    """Rearrange the mounts of this process's own namespace.

    Args:
        read: paths that stay visible.
        write: paths that stay visible and writable.
        uid: the user that the process will be; None for who it is.
        tmp: an empty folder that appears as `/tmp` and `/var/tmp`; without one these are empty and read-only.
        twins: folders of `write`, each with the path of an empty folder at which it appears too.

    Raises:
        OSError: the kernel does not allow it (`mount_setattr` is there since Linux 5.12).
    """
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    write = [path for path in write if os.path.exists(path)]
    read = [path for path in read if os.path.exists(path)]
    tops = [entry.path for entry in os.scandir("/") if entry.name not in _KEPT and entry.is_dir(follow_symlinks=False)]
    covers: dict[str, list[tuple[str, int]]] = {folder: [] for folder in tops}
    uncovered: list[tuple[str, int]] = []
    for source, path in [*((path, path) for path in (*read, *write)), *twins]:
        top = f"/{path.split('/')[1]}"
        cover = top if top in covers else _obstacle(path) if uid is not None else ""
        if cover:
            covers.setdefault(cover, []).append((path, os.open(source, os.O_PATH | os.O_CLOEXEC)))
        elif source != path:
            uncovered.append((path, os.open(source, os.O_PATH | os.O_CLOEXEC)))
    own_tmp = os.open(tmp, os.O_PATH | os.O_CLOEXEC) if tmp else None
    for cover in covers:
        kernel.mount("tmpfs", cover, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, COVER)
    temporary = [path for path in TEMPORARY if own_tmp is not None and _is_below(path, covers)]
    for path in temporary:
        _bind(own_tmp, path)  # type: ignore[arg-type]
    for needed in covers.values():
        for path, place in needed:
            _cover_stub(path, temporary)
            _bind(place, path)
            os.close(place)
    for path in write:
        if not any(path == inner for needed in covers.values() for inner, _ in needed):
            kernel.mount(path, path, flags=kernel.MS_BIND)
    for path, place in uncovered:
        _bind(place, path)
        os.close(place)
    _set("/", _RDONLY, 0, recursive=True)
    for path in [*write, *(path for _, path in twins)]:
        _set(path, 0, _RDONLY, recursive=False)
    for path in temporary:
        _set(path, kernel.MS_NOSUID | kernel.MS_NODEV, _RDONLY, recursive=False)
    if os.path.isdir("/dev/shm"):
        options = f"mode=1777,size={SHM_MB}m"
        kernel.mount("tmpfs", "/dev/shm", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)


def _cover_stub(path: str, temporary: Sequence[str]) -> None:
    """Have a path below a temporary folder lead through a mount: only its first folder is then made on the disk."""
    for folder in temporary:
        first = os.path.join(folder, path.removeprefix(f"{folder}/").partition("/")[0])
        if path.startswith(f"{first}/") and not os.path.ismount(first):
            os.makedirs(first, exist_ok=True)
            kernel.mount("tmpfs", first, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, COVER)


def _is_below(path: str, covers: Iterable[str]) -> bool:
    """Tell whether a path lies in a cover and does not lead elsewhere by a link."""
    return any(path == cover or path.startswith(f"{cover}/") for cover in covers) and not os.path.islink(path)


def obstacles(paths: Iterable[str]) -> list[str]:
    """Return the folders above the paths that another user cannot enter."""
    return sorted({cover for path in paths if os.path.exists(path) and (cover := _obstacle(path))})


def find_obstacles(paths: Iterable[str]) -> None:
    """Find the obstacles on the way to paths of the system once, for this process and its forks.

    A folder that others can no longer enter later is then not covered: what lies below it cannot be read.
    """
    _remembered.update({path: _obstacle(path) for path in paths if os.path.exists(path)})


def _obstacle(path: str) -> str:
    """Return the topmost folder above `path` that others cannot enter."""
    if path in _remembered:
        return _remembered[path]
    parts = os.path.realpath(path).split("/")[1:-1]
    return next((folder for folder in accumulate(parts, "{}/{}".format, initial="") if _is_closed(folder or "/")), "")


def _is_closed(folder: str) -> bool:
    return not os.stat(folder).st_mode & 0o001


def _bind(place: int, path: str) -> None:
    """Make the file or folder of an open descriptor appear at `path` again."""
    if os.path.isdir(f"/proc/self/fd/{place}"):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a"):
            pass
    kernel.mount(f"/proc/self/fd/{place}", path, flags=kernel.MS_BIND)


def _set(path: str, add: int, clear: int, *, recursive: bool) -> None:
    attributes = ctypes.create_string_buffer(struct.pack("=QQQQ", add, clear, 0, 0), 32)
    flags = kernel.AT_RECURSIVE if recursive else 0
    kernel.call(kernel.MOUNT_SETATTR, kernel.AT_FDCWD, os.fsencode(path), flags, attributes, 32)
