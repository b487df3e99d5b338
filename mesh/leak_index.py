"""Fingerprints of all that trials can read on this machine, kept by size, time and inode of the files.

Files are fingerprinted in groups, since one by one is slow. Where a group ends depends on the names of its files, so
that a new file changes one group alone.
"""

import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mesh.atomic_write import atomic_write
from mesh.shingles import bytes_prints, canonical, is_text, number_prints, sorted_once, streams

if TYPE_CHECKING:
    from mesh.shingles import Prints

SLICED_BYTES = 512 * 1024
"""Of a larger file the index has slices of so many bytes together; a file that shares a slice is read as a whole."""
MAX_INDEX_BYTES = 96 * 1024 * 1024

_MAGIC = b"mesh leak index 1\n"
_LEAST_BYTES = 256
_GROUP_BYTES, _GROUP_FILES = 1_000_000, 400
_LAST = 2
_SKIPPED = ("/proc", "/sys", "/dev")
_DATA = (
    ".arff .bz2 .csv .dat .data .db .feather .gz .h5 .htm .html .json .jsonl .libsvm .md .npy .npz .parquet .pickle "
    ".pkl .rda .rds .rst .sqlite .svm .tab .tar .tgz .tsv .txt .whl .xlsx .xml .xz .zip "
)
_BINARY = (
    ".a .bc .bin .bmp .class .cmake .cuh .debug .dll .eot .exe .gif .gmo .h .hpp .icc .ico .jar .jpeg .jpg .ko .lib "
    ".map .mo .mod .o .obj .ogg .otf .pcf .pfb .png .pyc .pyd .pyo .qm .so .svg .ttc .ttf .wasm .webp .woff .woff2 "
)
"""Endings of files, each with a space behind it, that are looked at first and last."""


class File(msgspec.Struct, frozen=True, array_like=True):
    """A file that trials can read, and its state."""

    path: str
    size: int
    mtime_ns: int
    inode: int


class FileGroup(msgspec.Struct, frozen=True):
    """Files that are fingerprinted together."""

    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all of its files."""
        return sum(file.size for file in self.files)

    def key(self) -> bytes:
        """Return what a change of a file changes."""
        return hashlib.sha256(msgspec.msgpack.encode(self.files)).digest()[:16]


class Walk:
    """Finds the files below one root after the other, each file once."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._done: set[str] = set()

    def files(self, root: str) -> tuple[list[File], list[File]]:
        """Return the regular files at or below a path that are not known yet: data and then text, and binaries."""
        found: tuple[list[File], list[File], list[File]] = ([], [], [])
        for path, state in self._files(os.path.realpath(root)):
            if state.st_size >= _LEAST_BYTES and (state.st_dev, state.st_ino) not in self._seen:
                self._seen.add((state.st_dev, state.st_ino))
                found[_kind(path)].append(File(path, state.st_size, state.st_mtime_ns, state.st_ino))
        data, text, binaries = (sorted(files, key=lambda file: file.path) for files in found)
        return data + text, binaries

    def _files(self, root: str) -> Iterator[tuple[str, os.stat_result]]:
        waiting = [root]
        while waiting:
            here = waiting.pop()
            if here in self._done or here.startswith(_SKIPPED):
                continue
            self._done.add(here)
            with suppress(OSError):  # what cannot be listed here is left out
                if here is root and not stat.S_ISDIR((state := os.stat(here)).st_mode):
                    if stat.S_ISREG(state.st_mode):
                        yield here, state
                    continue
                with os.scandir(here) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif entry.is_file(follow_symlinks=False):
                            yield entry.path, entry.stat(follow_symlinks=False)


def _kind(path: str) -> int:
    ending = os.path.splitext(path)[1].lower()
    if (ending and f"{ending} " in _BINARY) or ".so." in path:
        return _LAST
    return 0 if ending and f"{ending} " in _DATA else 1


def groups_of(files: Iterable[File]) -> list[FileGroup]:
    """Return the files in groups."""
    groups: list[FileGroup] = []
    group: list[File] = []
    size = 0
    for file in files:
        group.append(file)
        size += file.size
        if (
            size >= _GROUP_BYTES
            or len(group) >= _GROUP_FILES
            or zlib.crc32(file.path.encode(errors="replace")) % 64 == 0
        ):
            groups.append(FileGroup(tuple(group)))
            group, size = [], 0
    return [*groups, FileGroup(tuple(group))] if group else groups


def prints_of_group(group: FileGroup, limit: int = SLICED_BYTES) -> "Prints":
    """Return the fingerprints of a group's files, of each as far as `limit` (`streams`); unreadable ones have none."""
    texts: list[bytes] = []
    found: list[Prints] = []
    for file in group.files:
        with suppress(OSError), open(file.path, "rb") as opened:
            for stream in streams(opened, limit):
                found.append(number_prints(stream))
                if is_text(stream):
                    texts.append(canonical(stream))
                else:
                    found.append(bytes_prints(stream))
    found.append(bytes_prints(b"".join(texts)))
    return sorted_once(found)


class Index:
    """The fingerprints of groups that an earlier audit kept; a damaged file counts as none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[bytes, Prints] = {}
        self._changed = False
        with suppress(OSError, ValueError, msgspec.MsgspecError):
            self._read(path.read_bytes())

    def _read(self, data: bytes) -> None:
        import numpy as np

        head = len(_MAGIC) + 32
        if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(data[head:]).digest() != data[len(_MAGIC) : head]:
            return
        start = head + 8 + int.from_bytes(data[head : head + 8], "big")
        listing = msgspec.msgpack.decode(data[head + 8 : start], type=list[tuple[bytes, int]])
        prints = np.frombuffer(data[start:], np.uint64)
        at = 0
        for key, count in listing:
            self._kept[key] = prints[at : at + count]
            at += count

    def get(self, group: FileGroup) -> "Prints | None":
        """Return the fingerprints of a group as it is now, None if they are not known."""
        return self._kept.get(group.key())

    def put(self, group: FileGroup, prints: "Prints") -> None:
        """Keep the fingerprints of a group."""
        self._kept[group.key()] = prints
        self._changed = True

    def save(self, groups: Iterable[FileGroup]) -> None:
        """Write what is known of these groups, as far as the index may grow; an error is no trouble."""
        if not self._changed:
            return
        listing, bodies, size = [], [], 0
        for group in groups:
            key = group.key()
            prints = self._kept.get(key)
            if prints is not None and (size := size + prints.nbytes) <= MAX_INDEX_BYTES:
                listing.append((key, len(prints)))
                bodies.append(prints.tobytes())
        names = msgspec.msgpack.encode(listing)
        body = len(names).to_bytes(8, "big") + names + b"".join(bodies)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path, durable=False) as part:
                part.write_bytes(_MAGIC + hashlib.sha256(body).digest() + body)
