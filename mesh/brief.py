"""The brief of an arena: the operator's own words about the task, which models are shown as such.

`[arena] brief` is these words, or the name of a file of the arena that has them. Opening reads the file, so that the
log keeps the words themselves.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mesh.errors import BadArena
from mesh.hidden_files import is_hidden

MAX_BRIEF_BYTES = 64 * 1024
"""Longest brief, in bytes of UTF-8."""

_LOOKS_LIKE_A_FILE = re.compile(r"[\w./-]+\.(md|markdown|txt|rst)", re.IGNORECASE)


def brief_text(folder: Path, value: str, hidden: Sequence[str] = ()) -> str:
    """Return the words of a brief, without white space around them.

    Args:
        folder: The arena.
        value: `arena.brief`: the words, or the path of a file in the arena.
        hidden: `artifact.hidden`; a hidden file is no brief, because models would see it.

    Raises:
        BadArena: The file does not exist, cannot be read as text or is hidden, or the words are too long.
    """
    name = value.strip()
    text, path, where = name, folder / name, f"{folder / 'arena.toml'}: arena.brief"
    try:
        is_file = bool(name) and len(name) < 1024 and "\n" not in name and "\0" not in name and path.is_file()
    except OSError:  # words are no path, and may be too long for one
        is_file = False
    if is_file:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BadArena(f"{where}: {name!r} is not inside of {folder}; copy the file into it")
        if is_hidden(hidden, path.resolve().relative_to(folder.resolve()).as_posix()):
            raise BadArena(f"{where}: {name!r} is hidden by artifact.hidden, but models read the brief; use another")
        text = _read(path, name, where)
    elif _LOOKS_LIKE_A_FILE.fullmatch(name):
        raise BadArena(f"{where}: {name!r} does not exist in {folder}; name a file of the arena, or write the words")
    if len(text.encode(errors="replace")) > MAX_BRIEF_BYTES:
        size = f"{len(text.encode(errors='replace')):,}"
        raise BadArena(f"{where} has {size} bytes; use at most {MAX_BRIEF_BYTES:,}")
    return text


def _read(path: Path, name: str, where: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BRIEF_BYTES * 4)
    except OSError as error:
        raise BadArena(f"{where}: {name!r} cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise BadArena(f"{where}: {name!r} is not UTF-8 text; save it as UTF-8") from None
