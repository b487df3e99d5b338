"""An arena's prepared data: frozen once at opening, content-addressed, the same on every worker.

`freeze` stores the files of a folder as objects and returns the hash of their manifest; `thaw` writes them, read-only,
from that hash. A file of any size is read and written in pieces of `PIECE_BYTES`, each of them an object. Trials may
read the files under `public/`. Only the score program gets those under `private/`, and the arena's hidden files
(`artifact.hidden`), which are stored under `hidden/`.

A file that was thawed is checked before every use: a process hashes it once, and again if its size, time or mode
changes. What is damaged or missing is fetched again, and what does not belong there is deleted.
"""

import hashlib
import io
import os
import stat
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import anyio.to_thread
import msgspec

from mesh import file_trees
from mesh.bus import Objects
from mesh.decoding import decode_json
from mesh.errors import BadArena, ObjectMissing

PARTS = ("public", "private", "hidden")
PREPARED = ".prepared"
"""Folder in `public` with what `prepare` wrote beside itself (`artifact.prepared`); trials find it at its place."""
PIECE_BYTES = 32 * 1024**2
"""Bytes of a file that are in memory at a time; a larger file is stored as several objects."""

_FILE_MODE, _FOLDER_MODE = 0o444, 0o755
_Stamp = tuple[int, int, int, int]
"""Inode, size, and times of the last changes of a file's contents and of the file, in nanoseconds."""
_checked_files: dict[Path, _Stamp] = {}
"""Every file whose hash this process found right, as it was then."""


class _File(msgspec.Struct, frozen=True, array_like=True):
    """A file; `pieces` are the objects of its contents, in order, where it is not one object named `sha256`."""

    path: str
    sha256: str
    size: int
    pieces: tuple[str, ...] = ()


_manifests: dict[Path, list[_File]] = {}
"""The manifests that this process has read, by the folders of their data."""


async def freeze(folder: Path, objects: Objects, hidden: Mapping[str, bytes] | None = None) -> str:
    """Store every file under `folder`/public and `folder`/private; return the manifest's sha256, '' if there is none.

    Args:
        folder: what `artifact.prepare` wrote.
        objects: where the files are stored.
        hidden: contents of the arena's hidden files by path, to be stored with them.

    Raises:
        BadArena: a file is elsewhere or is not a regular file.
    """
    files: list[_File] = []
    for name, path in await anyio.to_thread.run_sync(_regular_files, folder):
        files.append(await _stored(name, path, objects))
    for name, data in sorted((hidden or {}).items()):
        digest = hashlib.sha256(data).hexdigest()
        await objects.put(digest, data)
        files.append(_File(f"hidden/{name}", digest, len(data)))
    if not files:
        return ""
    listed = [(file.path, file.sha256, file.size, *([file.pieces] if file.pieces else [])) for file in files]
    manifest = msgspec.json.encode(listed)  # without the last field where it is empty, as before there was one
    name = hashlib.sha256(manifest).hexdigest()
    await objects.put(name, manifest)
    return name


async def _stored(name: str, path: Path, objects: Objects) -> _File:
    """Store a file piece by piece."""
    total, size, pieces = hashlib.sha256(), 0, list[str]()
    with path.open("rb", buffering=0) as file:
        while True:
            piece = await anyio.to_thread.run_sync(_read_piece, file)
            if not piece and pieces:
                break
            digest = await anyio.to_thread.run_sync(_digest, piece, total)
            size += len(piece)
            await objects.put(digest, piece)
            pieces.append(digest)
            if len(piece) < PIECE_BYTES:
                break
    return _File(name, total.hexdigest(), size, tuple(pieces) if len(pieces) > 1 else ())


def _read_piece(file: io.FileIO) -> bytes:
    """Return the next `PIECE_BYTES` of a file, less at its end."""
    found = bytearray()
    while len(found) < PIECE_BYTES and (more := file.read(PIECE_BYTES - len(found))):
        found += more
    return bytes(found)


def _digest(piece: bytes, total: "hashlib._Hash") -> str:
    total.update(piece)
    return hashlib.sha256(piece).hexdigest()


def _regular_files(folder: Path) -> list[tuple[str, Path]]:
    found: list[str] = []
    top = file_trees.open_folder(folder)
    try:
        for path, _, entries in file_trees.walk(top):
            for entry in entries:
                name = path + entry.name
                if entry.is_dir(follow_symlinks=False):
                    continue
                if not entry.is_file(follow_symlinks=False) or not name.startswith(("public/", "private/")):
                    raise BadArena(
                        f"artifact.prepare wrote {name!r}: write only regular files, and only into public/ and private/"
                    )
                found.append(name)
    except OSError as error:
        raise BadArena(f"what artifact.prepare wrote cannot be read: {error.strerror or error}") from None
    finally:
        os.close(top)
    return [(name, folder / name) for name in sorted(found)]


async def thaw(name: str, objects: Objects, cache: Path) -> Path:
    """Write frozen data under `cache` and return the folder with the parts in `PARTS`; later calls reuse it.

    Args:
        name: sha256 of the manifest; '' is an arena without data.
        objects: where the files are stored.
        cache: folder in which each manifest gets a folder.

    Raises:
        ObjectMissing: an object is missing, does not match its name, or is not a valid manifest.
        OSError: the folder cannot be written.
    """
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / (name or "empty")
    if target not in _manifests:
        _manifests[target] = _manifest(name, await _checked(name, objects)) if name else []
    files = _manifests[target]
    if not target.is_dir() or target.is_symlink():
        await _lay_out(files, objects, target)
    damaged = await anyio.to_thread.run_sync(_repair_folders, target, files)
    if damaged:
        sys.stderr.write(f"the prepared data in {target} is damaged: {', '.join(damaged[:3])} is fetched again\n")
    for file in files:
        if file.path in damaged:
            await anyio.to_thread.run_sync(_clear, target / file.path)
            await _write(target / file.path, file, objects, beside=cache)
    return target


def hidden_in(target: Path) -> dict[str, bytes]:
    """Return the contents of an arena's hidden files by their paths in the arena.

    Args:
        target: the folder that `thaw` returned in this process.

    Raises:
        OSError: a file cannot be read.
    """
    names = [file.path for file in _manifests.get(target, []) if file.path.startswith("hidden/")]
    return {name.removeprefix("hidden/"): (target / name).read_bytes() for name in names}


async def is_intact(target: Path) -> bool:
    """Tell whether data that `thaw` wrote in this process is as it was; nothing is repaired.

    Args:
        target: the folder that `thaw` returned.
    """

    def look() -> bool:
        files = _manifests.get(target, [])
        folders = [target / name for name in _folders(files)]
        return all(map(Path.is_dir, folders)) and all(_is_whole(target / file.path, file) for file in files)

    return await anyio.to_thread.run_sync(look)


async def _lay_out(files: list[_File], objects: Objects, target: Path) -> None:
    """Write the folder for the first time, all at once."""
    staging = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
    try:
        for folder in _folders(files):
            (staging / folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            await _write(staging / file.path, file, objects, beside=target.parent)
        if not target.is_dir() or target.is_symlink():
            file_trees.delete(target)
        try:
            os.rename(staging, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        await anyio.to_thread.run_sync(file_trees.delete, staging)


async def _write(path: Path, file: _File, objects: Objects, *, beside: Path) -> None:
    """Write a read-only file by rename, piece by piece; `beside` is a folder on the same disk."""
    part = beside / f".{uuid.uuid4().hex}.part"
    total = hashlib.sha256()
    try:
        with part.open("xb", buffering=0) as opened:
            for name in file.pieces or (file.sha256,):
                piece = await _checked(name, objects)
                await anyio.to_thread.run_sync(_append, opened, piece)
                if file.pieces:
                    await anyio.to_thread.run_sync(total.update, piece)
        if file.pieces and total.hexdigest() != file.sha256:
            raise ObjectMissing(f"the pieces of {file.path!r} do not match its hash {file.sha256}: the data is damaged")
        part.chmod(_FILE_MODE)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _append(file: io.FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _clear(path: Path) -> None:
    """Delete a folder that stands in the place of a file."""
    if path.is_dir() and not path.is_symlink():
        file_trees.delete(path)


def _folders(files: list[_File]) -> list[str]:
    """Return the folders that the data has, the outer ones first."""
    found = dict.fromkeys(PARTS)
    for file in files:
        found |= dict.fromkeys(str(folder) for folder in reversed(PurePosixPath(file.path).parents) if folder.name)
    return list(found)


def _repair_folders(target: Path, files: list[_File]) -> list[str]:
    """Make every folder what it should be, and delete what does not belong there; return the files to fetch."""
    folders, wanted = _folders(files), {file.path: file for file in files}
    for name in ["", *folders]:
        folder = target / name
        if folder.is_symlink() or not folder.is_dir():
            file_trees.delete(folder)
            folder.mkdir()
        if stat.S_IMODE(folder.stat().st_mode) != _FOLDER_MODE:
            folder.chmod(_FOLDER_MODE)
        for entry in os.listdir(folder):
            path = f"{name}/{entry}" if name else entry
            if path not in wanted and path not in folders:
                file_trees.delete(target / path)
    return [file.path for file in files if not _is_whole(target / file.path, file)]


def _is_whole(path: Path, file: _File) -> bool:
    try:
        found = path.lstat()
        stamp = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.size or stat.S_IMODE(found.st_mode) != _FILE_MODE:
            return False
        if _checked_files.get(path) != stamp:
            with path.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                    return False
            _checked_files[path] = stamp
    except OSError:
        return False
    return True


def _manifest(name: str, data: bytes) -> list[_File]:
    try:
        files = decode_json(data, list[_File])
    except msgspec.MsgspecError as error:
        raise ObjectMissing(f"object {name} is not a valid manifest of data: {error}") from None
    for file in files:
        parts = file.path.split("/")
        if parts[0] not in PARTS or len(parts) < 2 or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise ObjectMissing(f"data {name} contains the file {file.path!r}, whose path leaves the folder")
    return files


async def _checked(name: str, objects: Objects) -> bytes:
    data = await objects.get(name)
    if (await anyio.to_thread.run_sync(hashlib.sha256, data)).hexdigest() != name:
        raise ObjectMissing(f"object {name} is damaged: its contents do not match its name")
    return data
