"""An arena's prepared data: frozen once at opening, content-addressed, the same on every worker.

`freeze` keeps the files of a folder as objects and returns the hash of their manifest; `thaw` lays them out read-only
from that hash. What is under `public/` trials may read; what is under `private/` only the scorer gets.
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
    """Keep every file under `folder`/public and `folder`/private and return the manifest's sha256; '' if none.

    Raises:
        BadArena: a file lies elsewhere or is no regular file, or there is more than 2 GiB.
    """
    files: list[_File] = []
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file() or name.split("/")[0] not in PARTS:
            raise BadArena(
                f"artifact.prepare wrote {name!r}: it may only write regular files into public/ and private/"
            )
        total += path.stat().st_size
        if total > MAX_DATA_BYTES:
            raise BadArena(f"artifact.prepare wrote more than {MAX_DATA_BYTES:,} bytes, which is the most that is kept")
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
    """Lay out frozen data under `cache` (once; later calls reuse it) and return the folder with public/ and private/.

    Raises:
        ObjectMissing: an object is missing, does not have the contents of its name, or is no manifest.
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
                raise ObjectMissing(f"data {name} names the file {file.path!r}, which leaves its folder")
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
        raise ObjectMissing(f"object {name} is no manifest of data: {error}") from None


async def _checked(name: str, objects: Objects) -> bytes:
    data = await objects.get(name)
    if hashlib.sha256(data).hexdigest() != name:
        raise ObjectMissing(f"object {name} does not have the contents of its name")
    return data
