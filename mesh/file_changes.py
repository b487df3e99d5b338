"""What differs between two sets of files, as unified diffs. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import takewhile

import msgspec

_Files = Mapping[str, bytes]

_LONGEST = 20_000
"""Files with more lines are not compared: the algorithm is quadratic in the worst case."""


MOST_CHANGED = 3000
"""Lines of a change by somebody else that are compared: twice as many may take eight times as long."""


class FileChange(msgspec.Struct, frozen=True):
    """How a file changed: a unified diff, or a `remark` if the file is binary or too long."""

    file: str
    added: int = 0
    removed: int = 0
    lines: tuple[str, ...] = ()
    remark: str = ""


def file_changes(old: _Files, new: _Files, *, most_changed: int = _LONGEST) -> list[FileChange]:
    """Return the files that differ, by path.

    Args:
        old: Files by path.
        new: Other files by path.
        most_changed: Lines between the first and the last one that differ, in both files, beyond which these are not
            compared.
    """
    return [
        _change(file, old.get(file), new.get(file), most_changed)
        for file in sorted({*old, *new})
        if old.get(file) != new.get(file)
    ]


def _change(file: str, old: bytes | None, new: bytes | None, most_changed: int) -> FileChange:
    try:
        before, after = ((data or b"").decode().splitlines(keepends=True) for data in (old, new))
    except UnicodeDecodeError:
        return FileChange(file, remark=f"binary, {len(old or b''):,} → {len(new or b''):,} bytes")
    if max(len(before), len(after)) > _LONGEST:
        return FileChange(file, remark=f"too long to compare, {len(before):,} → {len(after):,} lines")
    if is_much_changed(before, after, most_changed):
        return FileChange(file, remark=f"too much has changed to compare, {len(before):,} → {len(after):,} lines")
    names = ("/dev/null" if old is None else f"a/{file}", "/dev/null" if new is None else f"b/{file}")
    lines: list[str] = []
    for text in difflib.unified_diff(before, after, *names):
        lines += [text[:-1]] if text.endswith("\n") else [text, "\\ No newline at end of file"]
    added = sum(1 for line in lines[2:] if line.startswith("+"))
    removed = sum(1 for line in lines[2:] if line.startswith("-"))
    return FileChange(file, added, removed, tuple(lines))


def is_much_changed(before: Sequence[str], after: Sequence[str], most: int) -> bool:
    """Tell whether more lines than `most` differ between the first and the last one that does, in both texts."""
    first = sum(1 for _ in takewhile(_are_equal, zip(before, after, strict=False)))
    rest = reversed(before[first:]), reversed(after[first:])
    last = sum(1 for _ in takewhile(_are_equal, zip(*rest, strict=False)))
    return (len(before) - first - last) * (len(after) - first - last) > most**2


def _are_equal(pair: tuple[str, str]) -> bool:
    return pair[0] == pair[1]
