"""A cache of git's objects on disk, in the layout of a bare repository, so that git can look into it.

Every object is checked when it is read: its length, its compression and its name, which is the hash of its contents.
What is damaged, cut off, not a file or not readable counts as missing, and is replaced when it is written again. Files
are written by rename. If the disk cannot be written, the cache only keeps less.
"""

import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mesh.disk import read_regular
from mesh.git_objects import OBJECT_KINDS, Object, is_hash, object_name

MAX_OBJECT_BYTES = 256 * 1024 * 1024
"""Bytes of an object, at most."""

_HEAD = b"ref: refs/heads/master\n"
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
_NUMBERS = {word: number for number, word in OBJECT_KINDS.items()}


class ObjectCache:
    """The objects below one folder; several processes may use it at a time."""

    def __init__(self, path: Path, *, is_made: bool = False) -> None:
        """Take the folder, which is made when something is written, unless it `is_made` already."""
        self.path = path
        self._prepared = is_made

    def read(self, name: str) -> Object | None:
        """Return an object, None if it is missing or damaged."""
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
        return (kind, body) if kind is not None and object_name(kind, body) == name else None

    def write(self, kind: int, body: bytes) -> None:
        """Store an object; a disk that cannot be written is not an error."""
        with suppress(OSError):
            self.store(kind, body)

    def store(self, kind: int, body: bytes) -> None:
        """Store an object unless it is there and undamaged.

        Raises:
            OSError: the disk cannot be written.
        """
        name = object_name(kind, body)
        if self.read(name) is None:
            self._prepare()
            self._replace(self._file(name), zlib.compress(b"%s %d\x00" % (OBJECT_KINDS[kind], len(body)) + body, 1))

    def names(self) -> Iterator[str]:
        """Return the names of all files that look like objects; each may be damaged."""
        with suppress(OSError):
            for folder in sorted((self.path / "objects").iterdir()):
                with suppress(OSError):
                    for file in sorted(folder.iterdir()):
                        if is_hash(folder.name + file.name):
                            yield folder.name + file.name

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
                shutil.rmtree(path)
            os.replace(beside, path)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
