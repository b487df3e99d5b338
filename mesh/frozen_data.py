"""An arena's prepared data: frozen once at opening, content-addressed, the same on every worker.

`freeze` stores the files of a folder as objects and returns the hash of their manifest; `thaw` writes them, read-only,
from that hash. Trials may read the files under `public/`. Only the score program gets those under `private/`.
"""

import hashlib
import os
import shutil
import uuid
from pathlib import Path

import anyio.to_thread
import msgspec

from mesh.bus import Objects
from mesh.errors import BadArena, ObjectMissing

PARTS = ("public", "private")
MAX_DATA_BYTES = 2 * 1024**3


class _File(msgspec.Struct, frozen=True, array_like=True):
    path: str
    sha256: str
    size: int


async def freeze(folder: Path, objects: Objects) -> str:
    """Store every file under `folder`/public and `folder`/private; return the manifest's sha256, '' if there is none.

    Raises:
        BadArena: a file is elsewhere or is not a regular file, or all files together have more than 2 GiB.
    """
    files: list[_File] = []
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file() or name.split("/")[0] not in PARTS:
            raise BadArena(
                f"artifact.prepare wrote {name!r}: write only regular files, and only into public/ and private/"
            )
        total += path.stat().st_size
        if total > MAX_DATA_BYTES:
            raise BadArena(
                f"artifact.prepare wrote more than {MAX_DATA_BYTES:,} bytes, the largest size: make less data"
            )
        data = await anyio.to_thread.run_sync(path.read_bytes)
        digest = hashlib.sha256(data).hexdigest()
        await objects.put(digest, data)
        files.append(_File(name, digest, len(data)))
    if not files:
        return ""
    manifest = msgspec.json.encode(files)
    name = hashlib.sha256(manifest).hexdigest()
    await objects.put(name, manifest)
    return name


async def thaw(name: str, objects: Objects, cache: Path) -> Path:
    """Write frozen data under `cache` and return the folder with public/ and private/; later calls reuse it.

    Args:
        name: sha256 of the manifest; '' is an arena without data.
        objects: where the files are stored.
        cache: folder in which each manifest gets a folder.

    Raises:
        ObjectMissing: an object is missing, does not match its name, or is not a valid manifest.
    """
    target = cache / (name or "empty")
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    staging = cache / f"{target.name}.{uuid.uuid4().hex}"
    try:
        for part in PARTS:
            (staging / part).mkdir(parents=True)
        for file in _manifest(name, await _checked(name, objects)) if name else []:
            path = staging / file.path
            if not path.resolve().is_relative_to(staging.resolve()):
                raise ObjectMissing(f"data {name} contains the file {file.path!r}, whose path leaves the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(await _checked(file.sha256, objects))
            path.chmod(0o444)
        try:
            os.rename(staging, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _manifest(name: str, data: bytes) -> list[_File]:
    try:
        return msgspec.json.decode(data, type=list[_File])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ObjectMissing(f"object {name} is not a valid manifest of data: {error}") from None


async def _checked(name: str, objects: Objects) -> bytes:
    data = await objects.get(name)
    if hashlib.sha256(data).hexdigest() != name:
        raise ObjectMissing(f"object {name} is damaged: its contents do not match its name")
    return data
