"""A cache of git's objects on disk, in the layout of a bare repository, so that git can look into it.

Every object is checked when it is read: its length, its compression and its name, which is the hash of its contents.
What is damaged, cut off, not a file or not readable counts as missing, and is replaced when it is written again. Files
are written by rename. If the disk cannot be written, the cache only keeps less.
"""

import os
import secrets
import zlib
from contextlib import suppress
from pathlib import Path

from mesh.disk import read_regular
from mesh.file_trees import delete
from mesh.git_objects import OBJECT_KINDS, Object, is_hash, object_name

MAX_OBJECT_BYTES = 256 * 1024 * 1024
"""Bytes of an object, at most."""

_KEPT_BYTES = 64 * 1024 * 1024
"""Bytes of objects that are kept in memory, at most; they were checked, and their names are their contents."""

_HEAD = b"ref: refs/heads/master\n"
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
_NUMBERS = {word: number for number, word in OBJECT_KINDS.items()}


class ObjectCache:
    """The objects below one folder; several processes may use it at a time."""

    def __init__(self, path: Path, *, is_made: bool = False) -> None:
        """Take the folder, which is made when something is written, unless it `is_made` already."""
        self.path = path
        self._prepared = is_made
        self._kept: dict[str, Object] = {}
        self._kept_bytes = 0

    def read(self, name: str) -> Object | None:
        """Return an object, None if it is missing or damaged."""
        if (known := self._kept.get(name)) is not None:
            return known
        if not is_hash(name):
            return None
        data = read_regular(self._file(name), MAX_OBJECT_BYTES)
        if data is None:
            return None
        try:
            unpacker = zlib.decompressobj()
            plain = unpacker.decompress(data, MAX_OBJECT_BYTES)
        except zlib.error:
            return None
        if not unpacker.eof:
            return None
        header, _, body = plain.partition(b"\x00")
        kind = _NUMBERS.get(header.partition(b" ")[0])
        if kind is None or object_name(kind, body) != name:
            return None
        self._keep(name, (kind, body))
        return kind, body

    def _keep(self, name: str, found: Object) -> None:
        self._kept_bytes += len(found[1])
        if self._kept_bytes > _KEPT_BYTES:
            self._kept, self._kept_bytes = {}, len(found[1])
        if len(found[1]) <= _KEPT_BYTES:
            self._kept[name] = found

    def write(self, kind: int, body: bytes) -> None:
        """Store an object; a disk that cannot be written is not an error."""
        try:
            self.store(kind, body)
        except OSError:
            self._keep(object_name(kind, body), (kind, body))

    def store(self, kind: int, body: bytes) -> None:
        """Store an object unless it is there and undamaged.

        Raises:
            OSError: the disk cannot be written.
        """
        name = object_name(kind, body)
        is_there = self._file(name).is_file() if name in self._kept else self.read(name) is not None
        if not is_there:
            self._prepare()
            self._replace(self._file(name), zlib.compress(b"%s %d\x00" % (OBJECT_KINDS[kind], len(body)) + body, 1))
            self._keep(name, (kind, body))

    def names(self) -> list[str]:
        """Return the names of the objects in memory, and of all files that look like objects; each may be damaged."""
        found = dict.fromkeys(self._kept)
        with suppress(OSError):
            for folder in sorted((self.path / "objects").iterdir()):
                with suppress(OSError):
                    names = [folder.name + file.name for file in sorted(folder.iterdir())]
                    found |= dict.fromkeys(filter(is_hash, names))
        return list(found)

    def _file(self, name: str) -> Path:
        return self.path / "objects" / name[:2] / name[2:]

    def _prepare(self) -> None:
        """Make the folder of a bare repository; what stands in its way is deleted."""
        if self._prepared and (self.path / "objects").is_dir():
            return
        for folder in (self.path, self.path / "objects", self.path / "refs"):
            if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
                folder.unlink()
            folder.mkdir(parents=True, exist_ok=True)
        for file, text in (("HEAD", _HEAD), ("config", _CONFIG)):
            if read_regular(self.path / file, MAX_OBJECT_BYTES) != text:
                self._replace(self.path / file, text)
        self._prepared = True

    def _replace(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        beside = path.with_name(f"tmp_obj_{secrets.token_hex(8)}")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            with open(descriptor, "wb") as file:
                file.write(data)
            if path.is_dir() and not path.is_symlink():
                delete(path)
            os.replace(beside, path)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
