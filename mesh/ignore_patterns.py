"""Patterns in the syntax of `.gitignore`: with comments, `!`, `/` at either end and `**`; the last match counts.

The library `pathspec` matches them as git does. Git itself is asked for its own files where there is a repository.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from pathspec import GitIgnoreSpec

from mesh.errors import BadInput
from mesh.hidden_files import leads_to

_MAX_BYTES = 256 * 1024


def verdict(patterns: Sequence[str], path: str, *, is_dir: bool = False) -> bool | None:
    """Return True where the patterns ignore a path, False where they take it back, None where they do not name it."""
    if not patterns:
        return None
    return _spec(tuple(patterns)).check_file(f"{path}/" if is_dir else path).include


def takes_back_below(patterns: Iterable[str], folder: str) -> bool:
    """Tell whether a pattern with `!` may take back something below a folder."""
    return leads_to([pattern[1:].lstrip("/") for pattern in patterns if pattern.startswith("!")], folder)


def pattern_of(path: str) -> str:
    """Return the pattern that names one file or folder."""
    return "/" + re.sub(r"([\\*?\[\]]| $)", r"\\\1", path)


def check_patterns(patterns: Iterable[str]) -> None:
    """Refuse what is not a pattern.

    Raises:
        BadInput: a pattern is not valid; the message names it.
    """
    for pattern in patterns:
        if not _is_valid(pattern):
            raise BadInput(f"{pattern!r} is not a pattern of .gitignore: use a name, `folder/`, `*.ext` or `!name`")


def read_patterns(path: Path) -> tuple[str, ...]:
    """Return the valid patterns of a file like `.gitignore`, none where it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8-sig", errors="surrogateescape")
    except OSError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip() and _is_valid(line))


def _is_valid(pattern: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=256)
def _spec(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(patterns)
