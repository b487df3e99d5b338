"""A base on disk: what the build of the accepted artifact left, written once and checked whenever it is used.

manifest.json   hash of the rest of the file, then every folder, file and link, in the order in which they are made
0, 1, 2, …      contents of the files, by their place in the manifest

A process hashes the files once, and later compares their inode, size and times with those at that hashing. Only the
worker reads and writes a base: trials get copies, which share blocks with it where the file system can.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from gpu_worker.limits import MAX_FILES
from mesh.file_trees import open_folder, walk

MANIFEST = "manifest.json"
_PIECE_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 256 * 1024 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_Stamp = tuple[int, int, int, int]


class DamagedBase(Exception):
    """A base is not what was written; the message is a sentence."""


class TooMuch(Exception):
    """What a build left is more than may be kept; the message is a sentence."""


class KeptEntry(msgspec.Struct, frozen=True, array_like=True):
    """A folder, file or link of a base: its path in the artifact, and the hash of its contents or where it leads."""

    kind: Literal["folder", "file", "link"]
    name: str
    mode: int = 0
    mtime_ns: int = 0
    size: int = 0
    content: str = ""


class Base(msgspec.Struct, frozen=True):
    """A base whose contents this process has found right; `stamps` are of its files, as they were then."""

    folder: Path
    entries: tuple[KeptEntry, ...]
    stamps: tuple[_Stamp | None, ...]

    @property
    def newest_ns(self) -> int:
        """When the newest of its files was changed."""
        return max((entry.mtime_ns for entry in self.entries), default=0)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.size for entry in self.entries)


def write_base(folder: Path, trial: Path, is_kept: Callable[[str], bool], most_bytes: int) -> None:
    """Copy what a build left to a new folder, when no process of the trial lives.

    Pipes, sockets and devices are left out; links stay links.

    Args:
        folder: the new folder.
        trial: where the artifact was built.
        is_kept: asked with each path in `trial`.
        most_bytes: most bytes of all files together.

    Raises:
        TooMuch: there are more bytes or files.
        OSError: this machine cannot, or a folder is too deep.
    """
    folder.mkdir(mode=0o700)
    entries: list[KeptEntry] = []
    left = most_bytes
    top = open_folder(trial)
    try:
        for path, here, listed in walk(top):
            for entry in sorted(listed, key=lambda each: each.name):
                if not is_kept(name := path + entry.name):
                    continue
                if len(entries) >= MAX_FILES:
                    raise TooMuch(f"the build leaves more than {MAX_FILES:,} files")
                found = entry.stat(follow_symlinks=False)
                mode = stat.S_IMODE(found.st_mode) & 0o755 | 0o600
                if entry.is_dir(follow_symlinks=False):
                    entries.append(KeptEntry("folder", name, mode | 0o700, found.st_mtime_ns))
                elif entry.is_symlink():
                    target = os.readlink(entry.name, dir_fd=here)
                    entries.append(KeptEntry("link", name, 0, found.st_mtime_ns, 0, target))
                elif entry.is_file(follow_symlinks=False):
                    digest, size = _copy_hashed(entry.name, here, folder / str(len(entries)), left)
                    left -= size
                    entries.append(KeptEntry("file", name, mode, found.st_mtime_ns, size, digest))
    finally:
        os.close(top)
    listing = msgspec.json.encode(entries)
    with open(folder / MANIFEST, "xb") as file:
        file.write(hashlib.sha256(listing).hexdigest().encode() + b"\n" + listing)


def read_base(folder: Path) -> Base:
    """Read a base and hash all its files.

    Raises:
        DamagedBase: it is not what was written.
        OSError: it is not there, or cannot be read.
    """
    with open(folder / MANIFEST, "rb") as file:
        digest, _, listing = file.read(_MAX_MANIFEST_BYTES).partition(b"\n")
    if hashlib.sha256(listing).hexdigest().encode() != digest:
        raise DamagedBase(f"{folder / MANIFEST} is damaged")
    entries = msgspec.json.decode(listing, type=tuple[KeptEntry, ...])
    stamps = tuple(_checked(folder / str(n), each) for n, each in enumerate(entries))
    return Base(folder, entries, stamps)


def copy_base(base: Base, trial: Path) -> None:
    """Copy a base into the new folder of a trial, with all times; files that are there already stay.

    Raises:
        DamagedBase: it has changed since it was read. What was copied is deleted again.
        OSError: this machine cannot, or the base was deleted. What was copied is deleted again.
    """
    made: list[Path] = []
    try:
        for place, (entry, stamp) in enumerate(zip(base.entries, base.stamps, strict=True)):
            path = trial / entry.name
            for above in reversed(path.relative_to(trial).parents[:-1]):
                if not os.path.lexists(folder := trial / above):
                    folder.mkdir()
                    made.append(folder)
            if os.path.lexists(path):
                continue
            made.append(path)
            if entry.kind == "folder":
                path.mkdir()
            elif entry.kind == "link":
                path.symlink_to(entry.content)
                os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
            else:
                _copy_checked(base.folder / str(place), stamp, path, entry)
        for path, entry in ((trial / each.name, each) for each in reversed(base.entries) if each.kind == "folder"):
            path.chmod(entry.mode)
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        raise


def _copy_hashed(name: str, within: int, target: Path, most_bytes: int) -> tuple[str, int]:
    source = os.open(name, _READ, dir_fd=within)
    digest, size = hashlib.sha256(), 0
    try:
        with open(target, "xb") as file:
            while piece := os.read(source, _PIECE_BYTES):
                if (size := size + len(piece)) > most_bytes:
                    raise TooMuch("the build leaves more bytes than may be kept")
                digest.update(piece)
                file.write(piece)
    finally:
        os.close(source)
    return digest.hexdigest(), size


def _checked(path: Path, entry: KeptEntry) -> _Stamp | None:
    """Return the stamp of a file that has the right contents; None for what has no file."""
    if entry.kind != "file":
        return None
    opened = os.open(path, _READ)
    try:
        stamp, digest = _stamp(opened), hashlib.sha256()
        while piece := os.read(opened, _PIECE_BYTES):
            digest.update(piece)
        if digest.hexdigest() != entry.content or _stamp(opened) != stamp:
            raise DamagedBase(f"{path} is damaged")
    finally:
        os.close(opened)
    return stamp


def _copy_checked(source: Path, stamp: _Stamp | None, target: Path, entry: KeptEntry) -> None:
    opened, new = os.open(source, _READ), -1
    try:
        if _stamp(opened) != stamp:
            raise DamagedBase(f"{source} has changed")
        new = os.open(target, _NEW, 0o600)
        _copy_bytes(opened, new, entry.size)
        os.fchmod(new, entry.mode)
        os.utime(new, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(opened)
        if new >= 0:
            os.close(new)


def _copy_bytes(source: int, target: int, size: int) -> None:
    """Copy a file of a known size; the kernel shares its blocks where the file system can."""
    copied = 0
    with suppress(OSError, AttributeError):  # two file systems, an old kernel, or another system
        while copied < size and (more := os.copy_file_range(source, target, size - copied)):
            copied += more
    while copied < size and (piece := os.pread(source, min(_PIECE_BYTES, size - copied), copied)):
        copied += os.pwrite(target, piece, copied)
    if copied != size:
        raise DamagedBase("a file of the base is too short")


def _stamp(opened: int) -> _Stamp:
    found = os.fstat(opened)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
