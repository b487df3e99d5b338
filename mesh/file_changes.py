"""What differs between two sets of files, as unified diffs. Pure."""

import difflib
from collections.abc import Mapping

import msgspec

_Files = Mapping[str, bytes]

_LONGEST = 20_000
"""Files with more lines are not compared: the algorithm is quadratic in the worst case."""


class FileChange(msgspec.Struct, frozen=True):
    """How a file changed: a unified diff, or a `remark` if the file is binary or too long."""

    file: str
    added: int = 0
    removed: int = 0
    lines: tuple[str, ...] = ()
    remark: str = ""


def file_changes(old: _Files, new: _Files) -> list[FileChange]:
    """Return the files that differ, by path."""
    return [
        _change(file, old.get(file), new.get(file)) for file in sorted({*old, *new}) if old.get(file) != new.get(file)
    ]


def _change(file: str, old: bytes | None, new: bytes | None) -> FileChange:
    try:
        before, after = ((data or b"").decode().splitlines(keepends=True) for data in (old, new))
    except UnicodeDecodeError:
        return FileChange(file, remark=f"binary, {len(old or b''):,} → {len(new or b''):,} bytes")
    if max(len(before), len(after)) > _LONGEST:
        return FileChange(file, remark=f"too long to compare, {len(before):,} → {len(after):,} lines")
    names = ("/dev/null" if old is None else f"a/{file}", "/dev/null" if new is None else f"b/{file}")
    lines: list[str] = []
    for text in difflib.unified_diff(before, after, *names):
        lines += [text[:-1]] if text.endswith("\n") else [text, "\\ No newline at end of file"]
    added = sum(1 for line in lines[2:] if line.startswith("+"))
    removed = sum(1 for line in lines[2:] if line.startswith("-"))
    return FileChange(file, added, removed, tuple(lines))
