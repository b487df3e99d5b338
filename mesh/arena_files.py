"""The files of an arena's folder that are the artifact: what is read at opening, and what is left out."""

import os
from collections.abc import Sequence
from pathlib import Path

from mesh.errors import BadArena
from mesh.file_trees import TooDeep, open_folder, walk
from mesh.hidden_files import is_hidden, leads_to, without_match

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Size of the largest file of an arena."""
_MAX_FILES = 2000
_NEVER = {".git", ".mesh", "__pycache__", ".venv", ".DS_Store"}
NOT_ARTIFACT = _NEVER | {"data", "out"}
"""Names of files and folders that are never part of an artifact."""
ATTACKS = "attacks"
"""The folder of an arena with cheating artifacts (`mesh check --attacks`): no trial, model or commit ever has it."""


def read_files(folder: Path, hidden: Sequence[str] = ()) -> dict[str, bytes]:
    """Return an arena's files by relative POSIX path, without caches, data, attacks and git's own folder.

    Args:
        folder: the arena.
        hidden: patterns of hidden files, which are read from `data` and `out` too.

    Raises:
        BadArena: there are too many files, one is too large or cannot be read, one is a link to a folder, out of the
            arena or to a hidden file, a pattern matches nothing, or folders are nested too deep.
    """
    files: dict[str, bytes] = {}
    here = folder.resolve()

    def is_read(entry: os.DirEntry[str], path: str) -> bool:
        if path == ATTACKS:
            return False
        if is_hidden(hidden, path):
            return entry.name not in _NEVER
        apart = NOT_ARTIFACT.intersection(Path(path).parts)
        return not apart or (apart.isdisjoint(_NEVER) and entry.is_dir() and leads_to(hidden, path))

    try:
        top = open_folder(here, needs=0)
        try:
            for below, _, entries in walk(top, needs=0):
                entries[:] = sorted((e for e in entries if is_read(e, below + e.name)), key=lambda entry: entry.name)
                for entry in entries:
                    path = folder / below / entry.name
                    if entry.is_symlink():
                        _check_link(path, here, () if is_hidden(hidden, below + entry.name) else hidden)
                    if entry.name.endswith(".pyc") or not path.is_file():
                        continue
                    size = path.stat().st_size
                    if size > MAX_FILE_BYTES:
                        raise BadArena(
                            f"{path} has {size:,} bytes, but a file may have {MAX_FILE_BYTES:,}: "
                            "make data in artifact.prepare"
                        )
                    files[f"{below}{entry.name}"] = path.read_bytes()
                    if len(files) > _MAX_FILES:
                        raise BadArena(
                            f"{folder} has more than {_MAX_FILES:,} files: move what is not code out of the folder"
                        )
        finally:
            os.close(top)
    except TooDeep as error:
        raise BadArena(f"{folder}: {error}: nest them less, or move them out of the folder") from None
    except OSError as error:
        raise BadArena(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    if nothing := without_match(hidden, files):
        raise BadArena(f"{folder / 'arena.toml'}: artifact.hidden: {nothing[0]!r} matches no file in {folder}")
    return files


def _check_link(path: Path, arena: Path, hidden: Sequence[str]) -> None:
    if path.is_dir():
        raise BadArena(f"{path} is a link to a folder: copy the folder instead")
    if path.is_file() and not path.resolve().is_relative_to(arena):
        raise BadArena(f"{path} is a link that leaves the arena: copy the file instead")
    if path.is_file() and is_hidden(hidden, target := path.resolve().relative_to(arena).as_posix()):
        raise BadArena(f"{path} is a link to {target!r}, which artifact.hidden keeps from trials: hide the link too")
