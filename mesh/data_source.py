"""The source of an arena's data: a file or folder of the owner's, of any size, that only `artifact.prepare` reads.

It is read where it lies and never copied. The hash of its contents decides whether the data is prepared again. A hash
is computed once, and again when the size, a time, the inode or the device of a file changes.
"""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from mesh.atomic_write import atomic_write
from mesh.errors import BadArena
from mesh.file_trees import open_folder, walk
from mesh.readable import is_system_path

MARK = ".mesh/source"
"""The hidden file by which the hash of the source is part of the evaluator's hash."""

_PIECE = 4 * 1024 * 1024
_SETTLED_NS = 3 * 10**9
"""A file that changed later than this before it was hashed may change again without another time."""
_TELL_EVERY_S = 5.0
_KEPT = 64


class DataSource(msgspec.Struct, frozen=True):
    """A source: its path, its files with their state, and the bytes of all of them together."""

    path: Path
    files: tuple[tuple[str, tuple[int, ...]], ...]
    size: int


def find_source(folder: Path, written: str, given: Path | None, shown: Mapping[str, bytes]) -> DataSource | None:
    """Return the source of an arena's data, None if it has none.

    Args:
        folder: the arena.
        written: `data.source`; a relative path starts at the arena.
        given: the path of `--data`, which wins; a relative one starts at the current folder.
        shown: files of the arena that trials may read, by path.

    Raises:
        BadArena: it does not exist, cannot be read, is not made of files and folders, or trials can read it.
    """
    if given is None and not written:
        return None
    what = f"--data {given}" if given is not None else f"{folder / 'arena.toml'}: data.source {written!r}"
    named = given if given is not None else folder / Path(written).expanduser()
    if not named.exists():
        raise BadArena(f"{what} does not exist: name a file or folder, relative to {_start(given)}, or absolute")
    path = named.resolve()
    if top := is_system_path(path):
        raise BadArena(f"{what} is in {top}, which every trial can read: move it elsewhere")
    for name in shown:
        laid_out = (folder / name).resolve()
        if laid_out == path or laid_out.is_relative_to(path):
            raise BadArena(
                f"{what} has {name!r}, which is laid out for trials: move the source into data/ of the arena or "
                "out of it, or list the file in artifact.hidden"
            )
    try:
        files = tuple(_files(path))
    except OSError as error:
        raise BadArena(f"{what} cannot be read: {error.filename or path}: {error.strerror}") from None
    if not files:
        raise BadArena(f"{what} has no files: name a file, or a folder with files")
    return DataSource(path, files, sum(state[0] for _, state in files))


def _start(given: Path | None) -> str:
    return "the arena" if given is None else "the current folder"


def _files(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and state of every file, in order.

    Raises:
        BadArena: something is neither a file nor a folder, or a link to a folder.
        OSError: a folder cannot be read.
    """
    if not path.is_dir():
        yield "", _state(path)
        return

    found: list[str] = []
    top = open_folder(path, needs=0)
    try:
        for below, _, entries in walk(top, needs=0):
            for entry in entries:
                if entry.is_symlink() and entry.is_dir():
                    raise BadArena(f"{path / below / entry.name} is a link to a folder: copy the folder instead")
                found += [] if entry.is_dir() else [below + entry.name]
    finally:
        os.close(top)
    for name in sorted(found):
        yield name, _state(path / name)


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BadArena(f"{path} is neither a file nor a folder: a source is made of these")
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


def digest_of(source: DataSource, cache: Path) -> str:
    """Return the sha256 of a source's names and contents; it says on stderr how far it is when that takes long.

    Args:
        source: what `find_source` returned.
        cache: folder that keeps the hashes of sources; a damaged entry is not believed.

    Raises:
        BadArena: a file cannot be read, or changes meanwhile.
    """
    kept = cache / hashlib.sha256(msgspec.json.encode((str(source.path), source.files))).hexdigest()
    with suppress(OSError, UnicodeDecodeError):
        digest, _, check = kept.read_text("ascii").partition(" ")
        if check == hashlib.sha256(f"{kept.name}{digest}".encode()).hexdigest():
            return digest
    settled = time.time_ns() - _SETTLED_NS
    digest = _hash(source)
    if max(max(state[1:3]) for _, state in source.files) < settled:
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            for old in sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
                old.unlink()
            check = hashlib.sha256(f"{kept.name}{digest}".encode()).hexdigest()
            with atomic_write(kept, durable=False) as part:
                part.write_text(f"{digest} {check}", encoding="ascii")
    return digest


def _hash(source: DataSource) -> str:
    total, done, said = hashlib.sha256(), 0, time.monotonic()
    piece = bytearray(_PIECE)
    for name, state in source.files:
        path = source.path / name if name else source.path
        total.update(f"{len(name.encode(errors='surrogateescape'))} ".encode())
        total.update(name.encode(errors="surrogateescape") + f" {state[0]} ".encode())
        try:
            with path.open("rb", buffering=0) as file:
                while size := file.readinto(piece):
                    total.update(memoryview(piece)[:size])
                    done += size
                    if time.monotonic() - said > _TELL_EVERY_S:
                        said = time.monotonic()
                        share = f"{done / source.size:.0%} of {source.size / 1e9:,.1f} GB"
                        sys.stderr.write(f"mesh: reading {source.path}: {share}\n")
        except OSError as error:
            raise BadArena(f"{path} cannot be read: {error.strerror}") from None
    check_unchanged(source)
    return total.hexdigest()


def check_unchanged(source: DataSource) -> None:
    """Refuse a source that changed since it was found.

    Raises:
        BadArena: it did.
    """
    try:
        same = tuple(_files(source.path)) == source.files
    except OSError:
        same = False
    if not same:
        raise BadArena(f"{source.path} changed while it was read: open the arena again when nobody writes there")
