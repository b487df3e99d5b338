"""Editable regions: the lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END, if an editable file has such markers.

OpenEvolve and ShinkaEvolve mark with them the part of a program that may change. A marker is the first word of a
comment line in the comment style of any language: `# EVOLVE-BLOCK-START`, `// EVOLVE-BLOCK-START`,
`<!-- EVOLVE-BLOCK-START -->`. A file may have several regions. Everything else in it is protected, the marker lines
too. A file without markers is editable as a whole.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

START, END = "EVOLVE-BLOCK-START", "EVOLVE-BLOCK-END"

ByteSpan = tuple[int, int]
"""The first byte of a part of a file, and the byte after the last one."""

_MARKER = re.compile(rb"^(?:\xef\xbb\xbf)?[^\w\n\"'`]{0,12}EVOLVE-BLOCK-(START|END)\b[^\n]*\n?", re.MULTILINE)


def editable_spans(data: bytes) -> list[ByteSpan]:
    """Return the parts of a file that may change: its regions, the whole file if it has no markers.

    A file whose markers do not match has none.
    """
    regions = _regions(data)
    return [(0, len(data))] if regions is None else regions


def trouble_with_markers(name: str, data: bytes) -> str:
    """Return in one sentence why the markers of a file do not match; "" if they do, or if it has none.

    Args:
        name: The path of the file, for the sentence.
        data: Its contents.
    """
    open_in = 0
    for marker in _MARKER.finditer(data):
        line = _line(data, marker.end() - 1)
        if marker[1] == b"START":
            if open_in:
                return (
                    f"{name} has {START} in line {open_in} and again in line {line}: put {END} between them, or remove "
                    "one of the two"
                )
            open_in = line
        elif not open_in:
            return f"{name} has {END} in line {line} without {START} before it: add {START}, or remove the marker"
        else:
            open_in = 0
    if open_in:
        return f"{name} has {START} in line {open_in} without {END} after it: add {END}, or remove the marker"
    return ""


def trouble_in_file(name: str, path: Path, max_bytes: int = 8 * 1024 * 1024) -> str:
    """Return `trouble_with_markers` of a file on disk; "" also if it cannot be read or has more than `max_bytes`."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError:
        return ""
    return trouble_with_markers(name, data) if len(data) <= max_bytes else ""


def bounded(base: bytes, proposed: bytes) -> bytes:
    """Return the file that runs: the regions of the proposed file inside of the base's protected text.

    A file with other markers, such as those of an earlier version, is cut at the base's protected text. If that is not
    in it, and the two files do not have the same number of regions, it is the base's file.
    """
    ours, theirs = _regions(base), _regions(proposed) or []
    if not ours:
        return proposed
    if _outside_lines(base, ours) != _outside_lines(proposed, theirs) and (anew := _marked_anew(base, ours, proposed)):
        return anew
    if len(ours) != len(theirs):
        return base
    parts = [base[slice(*span)] for span in _outside(base, ours)]
    inside = [proposed[slice(*span)] for span in theirs]
    return b"".join(part for both in zip(parts, [*inside, b""], strict=True) for part in both)


def trespass(name: str, base: bytes, proposed: bytes) -> str:
    """Return in one sentence how a proposed file leaves the regions of the base; "" if it does not.

    Line ends and white space at the ends of lines do not count: `bounded` restores them.

    Args:
        name: The path of the file, for the sentence.
        base: Its contents in the base commit, or in any proposal that keeps to the regions.
        proposed: Its proposed contents.
    """
    ours, theirs = _regions(base), _regions(proposed) or []
    if not ours:
        return ""
    if len(ours) != len(theirs):
        return (
            f"{name} must keep its {len(ours)} {'pair' if len(ours) == 1 else 'pairs'} of markers {START} and {END}: "
            "change only lines between them"
        )
    for here, there in zip(_outside(base, ours), _outside(proposed, theirs), strict=True):
        old, new = _lines(base[slice(*here)]), _lines(proposed[slice(*there)])
        if old != new:
            at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
            line = _line(base, here[0]) + at
            return (
                f"{name} is changed outside of its markers, in line {line}: change only lines between {START} and {END}"
            )
    return ""


def any_trespass(base: Mapping[str, bytes], proposed: Mapping[str, bytes], names: Sequence[str]) -> str:
    """Return the first sentence of `trespass` among the named files that both sides have."""
    both = [name for name in names if name in base and name in proposed]
    return next((why for name in both if (why := trespass(name, base[name], proposed[name]))), "")


def fits_without_markers(base: bytes, proposed: bytes) -> bool:
    """Tell whether a file, such as one of a version with other markers, has the base's protected text in its place."""
    return bool(_marked_anew(base, _regions(base) or [], proposed))


def is_only_marked_anew(one: bytes, other: bytes) -> bool:
    """Tell whether two files differ in markers alone."""
    return _lines(_MARKER.sub(b"", one)) == _lines(_MARKER.sub(b"", other))


def protected_text(data: bytes) -> bytes:
    """Return the bytes of a file that no proposal may change; b"" for a file without regions."""
    regions = _regions(data)
    return b"".join(data[slice(*span)] for span in _outside(data, regions)) if regions else b""


def _regions(data: bytes) -> list[ByteSpan] | None:
    """Return the regions of a file, none if its markers do not match; None for a file without markers."""
    markers = list(_MARKER.finditer(data))
    if not markers:
        return None
    if trouble_with_markers("", data):
        return []
    return [(start.end(), end.start()) for start, end in zip(markers[::2], markers[1::2], strict=True)]


def _outside(data: bytes, spans: Sequence[ByteSpan]) -> list[ByteSpan]:
    """Return the spans before, between and after the regions."""
    ends = [0, *(edge for span in spans for edge in span), len(data)]
    return list(pairwise(ends))[::2]


def _outside_lines(data: bytes, spans: Sequence[ByteSpan]) -> list[list[bytes]]:
    return [_lines(data[slice(*span)]) for span in _outside(data, spans)]


def _marked_anew(base: bytes, ours: Sequence[ByteSpan], proposed: bytes) -> bytes:
    """Return the proposed file with the base's markers for its own; b"" if the base's protected text is not in it.

    The text before the first region must begin the file, and the text after the last one end it. The others are taken
    where they come first.
    """
    plain = _MARKER.sub(b"", proposed).splitlines(keepends=True)
    words = [line.rstrip() for line in plain]
    pieces = [_MARKER.sub(b"", base[slice(*span)]) for span in _outside(base, ours)]
    outside = [[line.rstrip() for line in piece.splitlines()] for piece in pieces]
    for lines in (words, outside[-1]):
        while lines and not lines[-1]:
            lines.pop()
    begin, end = len(outside[0]), len(words) - len(outside[-1])
    if begin > end or words[:begin] != outside[0] or words[end:] != outside[-1]:
        return b""
    inside, at = list[bytes](), begin
    for piece in outside[1:-1]:
        starts = (start for start in range(at, end - len(piece) + 1) if words[start : start + len(piece)] == piece)
        if (start := next(starts, None)) is None:
            return b""
        inside.append(b"".join(plain[at:start]))
        at = start + len(piece)
    inside.append(b"".join(plain[at:end]))
    inside = [text if not text or text.endswith(b"\n") else text + b"\n" for text in inside]
    parts = [base[slice(*span)] for span in _outside(base, ours)]
    return b"".join(part for both in zip(parts, [*inside, b""], strict=True) for part in both)


def _lines(data: bytes) -> list[bytes]:
    return [line.rstrip() for line in data.rstrip().split(b"\n")]


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
