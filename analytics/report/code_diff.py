"""The lines that a proposal changed in the code of its parent, safe to show and bounded. Pure.

Binary and large files are only named.
"""

import difflib
from collections.abc import Mapping

import msgspec

from mesh.events import KnobChange
from mesh.text import visible

_MAX_BYTES = 200_000
"""Bytes of a file that is compared."""
MAX_LINES = 40
"""Changed lines that are shown of one proposal."""
_MAX_LINE = 240
"""Characters of a line that are shown."""


class Diff(msgspec.Struct, frozen=True):
    """Changed lines, each with its sign ("+", "-", or "@" for the name of a file), and how many were left out."""

    lines: tuple[tuple[str, str], ...]
    left_out: int = 0


def diff_of(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Diff:
    """Return what changed between two sets of files."""
    lines: list[tuple[str, str]] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            lines += [("@", _named(name, before, after)), *_changed(before or b"", after or b"")]
    return Diff(tuple(lines[:MAX_LINES]), max(0, len(lines) - MAX_LINES))


def _named(name: str, before: bytes | None, after: bytes | None) -> str:
    state = " (new)" if before is None else " (deleted)" if after is None else ""
    return f"{_shown(name)}{state}"


def _changed(before: bytes, after: bytes) -> list[tuple[str, str]]:
    if max(len(before), len(after)) > _MAX_BYTES:
        return [("@", f"{len(before):,} → {len(after):,} bytes, too large to compare")]
    try:
        old, new = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        return [("@", f"{len(before):,} → {len(after):,} bytes of binary data")]
    lines = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]  # without the names of the files
    return [(line[0], _shown(line[1:])) for line in lines if line[0] in "+-"]


def _shown(line: str) -> str:
    text = visible(line[: 2 * _MAX_LINE].expandtabs(4))
    return text if len(text) <= _MAX_LINE else f"{text[:_MAX_LINE]}…"


def knob_words(change: KnobChange) -> str:
    """Return a changed constant as `LEARNING_RATE 3e-4 → 1e-3`."""
    old, new = ("nothing" if value is None else _spelled(value) for value in (change.old, change.new))
    return f"{change.name} {old} → {new}"


def _spelled(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) and len(str(value)) > 10 else str(value)
