"""The files of an arena's folder that are the artifact: what is read at opening, and what is left out."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mesh.errors import BadArena
from mesh.file_trees import TooDeep, open_folder, walk
from mesh.hidden_files import is_hidden, leads_to, without_match
from mesh.spec import ArtifactSpec

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Size of the largest file of an arena."""
_MAX_FILES = 2000
_TOOLS = {"node_modules", ".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
_SECRET = {".env", ".netrc", ".pypirc", ".git-credentials", "id_rsa", "id_ed25519"}
_NEVER = {".git", ".mesh", "__pycache__", ".venv", ".DS_Store", *_TOOLS, *_SECRET}
_MADE_BY_TRIALS, _MADE_BY_PREPARE = "**/out", "**/data"
ATTACKS = "attacks"
"""The folder of an arena with cheating artifacts (`mesh check --attacks`): no trial, model or commit ever has it."""


def left_out_by(spec: ArtifactSpec) -> tuple[str, ...]:
    """Return the patterns of files that do not belong to an arena."""
    if spec.leave_out is not None:
        return (*spec.leave_out, *spec.cache)
    return (_MADE_BY_TRIALS, *((_MADE_BY_PREPARE,) if spec.prepare else ()), *spec.cache)


def never_part(name: str, leave_out: Sequence[str]) -> str:
    """Return why a file can be no part of an arena, "" if it can."""
    parts = Path(name).parts
    if apart := _NEVER.intersection(parts) | {ATTACKS}.intersection(parts[:1]):
        return f"is in {min(apart)!r}, which is never part of an artifact: move the file"
    if is_hidden(leave_out, name):
        return "is left out of the artifact by artifact.leave_out: move the file, or change the list"
    return ""


def read_files(
    folder: Path,
    hidden: Sequence[str] = (),
    leave_out: Sequence[str] = (_MADE_BY_TRIALS, _MADE_BY_PREPARE),
    *,
    left: Callable[[str], object] = lambda path: None,
) -> dict[str, bytes]:
    """Return an arena's files by relative POSIX path, without caches, attacks, environments and git's own folder.

    Args:
        folder: the arena.
        hidden: patterns of hidden files, which are read from folders that are left out too.
        leave_out: patterns of files that do not belong to the arena.
        left: called with the path of each file or folder that is left out, but for caches.

    Raises:
        BadArena: there are too many files, one is too large or cannot be read, one is a link to a folder, out of the
            arena or to a hidden file, a pattern matches nothing, or folders are nested too deep.
    """
    files: dict[str, bytes] = {}
    here = folder.resolve()

    def is_read(entry: os.DirEntry[str], path: str) -> bool:
        if entry.name in _SECRET:
            left(path)
        if path == ATTACKS or entry.name in _NEVER:
            return False
        if is_hidden(hidden, path):
            return True
        is_apart = is_hidden(leave_out, path) or (entry.is_dir() and os.path.exists(here / path / "pyvenv.cfg"))
        if is_apart and (is_read := entry.is_dir() and leads_to(hidden, path)):
            return is_read
        if is_apart:
            left(path)
        return not is_apart

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
                            "make data in artifact.prepare, or name it in artifact.leave_out"
                        )
                    files[f"{below}{entry.name}"] = path.read_bytes()
                    if len(files) > _MAX_FILES:
                        raise BadArena(
                            f"{folder} has more than {_MAX_FILES:,} files: name what is not code in artifact.leave_out"
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
