"""A backup of a hub: its streams as the server copies them, its keys, and a list of all of it with hashes.

The folder is written beside its place and renamed when it is whole and on disk, so a backup that was interrupted is not
a backup. The log of an arena is copied before its objects: a fact never names an object that the copy lacks.
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

import mesh
from mesh.errors import BadInput, BusRefused
from mesh.jetstream import JetStreamHub
from mesh.jetstream.stream_copy import (
    CHUNK_BYTES,
    StreamState,
    copied_stream,
    delete_empty_stream,
    stream_names,
    stream_state,
    write_stream_copy,
)

BACKUP_FORMAT = 1
BACKUP_LIST = "backup.json"
_OWN = ("MESH_", "MESHOBJ_", "MESHGRP_", "MESHCALL_")
"""Beginnings of the names of our streams, in the order in which they are copied."""
_KEYS = ("hub.json", "keys", "claims", "creds", "tls")
"""What belongs to a hub beside its streams; the rest of its folder is made again when it starts.

Of each node of a cluster, the folder `tls` belongs to it too.
"""
_OF_NODE = re.compile(r"node-[0-9]{1,4}/tls")
_HUB = "hub"
"""The folder of a backup with these."""
_STREAM_NAME = re.compile(rf"(?:{'|'.join(_OWN)})[A-Za-z0-9_-]{{1,200}}")
_FILE_NAME = re.compile(r"(?!\.\.?\Z)[^/\0]{1,255}")
_PART = 1 << 20

_Say = Callable[[str], None]


class CopiedFile(msgspec.Struct, frozen=True):
    """A file of a backup, by its path in it."""

    path: str
    bytes: int
    sha256: str

    @property
    def in_hub(self) -> Path:
        """Where a file with keys lies in the folder of its hub."""
        return Path(self.path).relative_to(_HUB)


class CopiedStream(msgspec.Struct, frozen=True):
    """A stream of a backup."""

    file: CopiedFile
    about: StreamState

    @property
    def name(self) -> str:
        """The name of the stream, as the server has it."""
        return str(self.about.config.get("name", ""))


class BackupList(msgspec.Struct, frozen=True):
    """What a backup has; `keys` are files of the hub's folder, with their modes.

    `sha256` is the hash of the list itself, "" in a list of an earlier version.
    """

    format: int
    version: str
    streams: list[CopiedStream]
    keys: list[tuple[CopiedFile, int]]
    sha256: str = ""

    @property
    def messages(self) -> int:
        """Messages of all streams."""
        return sum(stream.about.extent[2] for stream in self.streams)

    @property
    def digest(self) -> str:
        """The hash that the list should have."""
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, sha256=""), order="sorted")).hexdigest()


async def back_up(hub: JetStreamHub, target: Path, folder: Path | None, say: _Say = lambda _: None) -> BackupList:
    """Copy all streams of the mesh, and the keys of a hub, into a new folder.

    Args:
        hub: the server.
        target: the folder to make.
        folder: the folder of the hub; None copies no keys.
        say: is told what is being done.

    Raises:
        BadInput: the folder exists or cannot be written.
        BusRefused: the server does not copy a stream.
        BusUnavailable: the server has stopped.
    """
    if target.exists() or target.is_symlink():
        raise BadInput(f"{target} exists; name a new folder, such as one with the date")
    names = [name for name in await stream_names(hub.link) if name.startswith(_OWN)]
    names.sort(key=lambda name: next(i for i, mark in enumerate(_OWN) if name.startswith(mark)))
    if not names:
        raise BadInput("the server has no arena: there is nothing to back up")
    with _beside(target) as part:
        (part / "streams").mkdir(mode=0o700)
        streams = []
        for name in names:
            say(f"stream {name}")
            streams.append(await _copy(hub, name, part))
        keys = [] if folder is None else [_copied_key(folder, path, part) for path in _key_files(folder)]
        listed = BackupList(BACKUP_FORMAT, mesh.__version__, streams, keys)
        listed = msgspec.structs.replace(listed, sha256=listed.digest)
        _write(part / BACKUP_LIST, msgspec.json.format(msgspec.json.encode(listed)))
    return listed


async def restore_streams(hub: JetStreamHub, listed: BackupList, source: Path, say: _Say = lambda _: None) -> list[str]:
    """Make the streams of a backup again on a server; return the names of those that were not there.

    A stream that is there as it is in the backup was restored before and is passed over. One that a server has made at
    its start, and in which nothing was ever stored, gives way. Where one is another, none is made.

    Raises:
        BusRefused: the server has another stream of such a name, or does not restore one.
        BusUnavailable: the server has stopped.
    """
    wanted = []
    for stream in listed.streams:
        there = await stream_state(hub.link, stream.name)
        if there and stream.about.is_same_as(there):
            continue
        if there and there.extent[1:] != (0, 0):
            raise BusRefused(
                f"the server has another stream {stream.name} already: restore into a server without arenas"
            )
        wanted.append((stream, there is not None))
    for stream, is_there in wanted:
        if is_there:
            await delete_empty_stream(hub.link, stream.name)
        say(f"stream {stream.name}")
        await write_stream_copy(hub.link, stream.about, _parts(source / stream.file.path))
    return [stream.name for stream, _ in wanted]


def restore_keys(listed: BackupList, source: Path, folder: Path) -> bool:
    """Put the keys of a backup into the folder of a hub that does not exist yet; tell whether it did.

    Raises:
        BadInput: the folder is of another hub, or cannot be written.
    """
    if not listed.keys:
        return False
    if folder.exists() and any(folder.iterdir()):
        for file, _ in listed.keys:
            path = folder / file.in_hub
            if file.path == "hub/hub.json" and (not path.is_file() or _sha256(path) != file.sha256):
                raise BadInput(f"{folder} is not the hub of this backup; name a new folder by --dir")
        return False
    with _beside(folder) as part:
        for file, mode in listed.keys:
            path = part / file.in_hub
            for made in reversed([path.parent, *path.parent.parents]):  # `parents=True` would ignore the mode
                if made.is_relative_to(part):
                    made.mkdir(mode=0o700, exist_ok=True)
            _write(path, (source / file.path).read_bytes(), mode)
        if folder.exists():
            folder.rmdir()
    return True


def checked_backup(source: Path) -> BackupList:
    """Return the list of a backup whose files are all as they were written.

    Raises:
        BadInput: it is not a whole backup, or a file of it has changed.
    """
    try:
        listed = msgspec.json.decode((source / BACKUP_LIST).read_bytes(), type=BackupList)
    except OSError:
        raise BadInput(f"{source} is not a whole backup: it has no {BACKUP_LIST}") from None
    except msgspec.MsgspecError:
        raise BadInput(f"{source / BACKUP_LIST} is not the list of a backup, or of a later version") from None
    if listed.format != BACKUP_FORMAT:
        raise BadInput(f"{source} is a backup of format {listed.format}; this version reads {BACKUP_FORMAT}")
    if strange := _strange(listed):
        raise BadInput(f"{source / BACKUP_LIST} {strange}: the backup is damaged, or not one of the mesh")
    for file in [*(stream.file for stream in listed.streams), *(file for file, _ in listed.keys)]:
        path = source / file.path
        if not path.resolve().is_relative_to(source.resolve()):
            raise BadInput(f"{source / BACKUP_LIST} names {file.path[:100]!r}, which is not in the backup")
        try:
            found = path.stat()
            is_same = stat.S_ISREG(found.st_mode) and found.st_size == file.bytes and _sha256(path) == file.sha256
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}): the backup is not whole") from None
        if not is_same:
            raise BadInput(f"{path} is not as it was written: the backup is damaged")
    return listed


def _strange(listed: BackupList) -> str:
    """Return what of a list no backup of ours says, "" for nothing; files are written where it says."""
    names = [*(stream.name for stream in listed.streams), *(file.path for file, _ in listed.keys)]
    for stream in listed.streams:
        if not _STREAM_NAME.fullmatch(stream.name):
            return f"names the stream {stream.name[:100]!r}"
        if stream.file.path != _file_of(stream.name):
            return f"has stream {stream.name} in {stream.file.path[:100]!r}"
    for file, mode in listed.keys:
        first, *inside = file.path.split("/")
        if first != _HUB or not _is_of_hub(inside):
            return f"names the file {file.path[:100]!r}, which is no part of a hub"
        if not 0 <= mode <= 0o777:
            return f"gives {file.path[:100]} the mode {mode}"
    if twice := [name for name in names if names.count(name) > 1]:
        return f"names {twice[0][:100]} twice"
    return "" if listed.sha256 in ("", listed.digest) else "is not as it was written"


def _is_of_hub(path: Sequence[str]) -> bool:
    """Tell whether a file, by its path in the folder of a hub, is one that a backup has."""
    is_known = path[0] in _KEYS if path else False
    return (is_known or bool(_OF_NODE.fullmatch("/".join(path[:2])))) and all(map(_FILE_NAME.fullmatch, path))


async def _copy(hub: JetStreamHub, name: str, part: Path) -> CopiedStream:
    path, about, digest, size = part / _file_of(name), None, hashlib.sha256(), 0
    async with await anyio.open_file(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        async for piece in copied_stream(hub.link, name):
            if isinstance(piece, StreamState):
                about = piece
                continue
            await out.write(piece)
            digest.update(piece)
            size += len(piece)
        await out.flush()
        await anyio.to_thread.run_sync(os.fsync, out.wrapped.fileno())
    assert about is not None
    return CopiedStream(CopiedFile(_file_of(name), size, digest.hexdigest()), about)


def _file_of(stream: str) -> str:
    return f"streams/{stream}.tar.s2"


async def _parts(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while part := await file.read(CHUNK_BYTES):
            yield part


def _key_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    nodes = sorted(path.relative_to(folder) for path in folder.glob("node-*/tls"))
    names: list[Path] = [*map(Path, _KEYS), *(each for each in nodes if _OF_NODE.fullmatch(str(each)))]
    for name in names:
        path = folder / name
        found += sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _copied_key(folder: Path, path: Path, part: Path) -> tuple[CopiedFile, int]:
    inside = Path(_HUB) / path.relative_to(folder)
    data, mode = path.read_bytes(), path.stat().st_mode & 0o777
    (part / inside).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(part / inside, data)
    return CopiedFile(str(inside), len(data), hashlib.sha256(data).hexdigest()), mode


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, which takes its place if the block ends without an error."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(mode=0o700)
        yield part
        for each in (*(path for path in part.rglob("*") if path.is_dir()), part):
            _sync(each)
        part.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        os.fchmod(out.fileno(), mode)
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART):
            digest.update(part)
    return digest.hexdigest()


def totals(listed: BackupList) -> dict[str, Any]:
    """Return what a backup has, for people and as JSON."""
    size = sum(stream.file.bytes for stream in listed.streams)
    return {
        "streams": len(listed.streams),
        "messages": listed.messages,
        "bytes": size,
        "keys": len(listed.keys),
        "version": listed.version,
    }
