"""The last steps that all readers of files share: unique names, offsets in bytes, comments with a range."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from mesh.source_literal import SourceLiteral

_MAX_NAME = 200
"""Characters of the longest name; what has a longer one is not a literal."""

MAX_FREE = 300
"""Literals of a file that are knobs without a comment: the first ones. A file with more is mostly data."""

_MESH = re.compile(r"\s*mesh:\s*(.*?)\s*(?:\*/|-->|\*\)|-\}|\]\])?\s*", re.DOTALL)


def range_comment(text: str) -> str:
    """Return the words of a comment that begins with `mesh:` as `mesh.knobs` reads them; "" for any other comment.

    Args:
        text: What stands behind the sign that begins the comment.
    """
    match = _MESH.fullmatch(text)
    return f"# mesh: {match[1]}" if match else ""


def unique(found: Iterable[SourceLiteral]) -> list[SourceLiteral]:
    """Return the literals whose name no other has: of two equal keys, nobody knows which one counts."""
    listed = list(found)
    times = Counter(literal.name for literal in listed)
    return [literal for literal in listed if times[literal.name] == 1]


def numbered(found: Iterable[SourceLiteral]) -> list[SourceLiteral]:
    """Return the literals, those of equal name with their number from the second one on: `rate`, `rate#2`."""
    times: Counter[str] = Counter()
    listed = []
    for literal in found:
        times[literal.name] += 1
        count = times[literal.name]
        listed.append(literal if count == 1 else replace(literal, name=f"{literal.name}#{count}"))
    return listed


def alike_as_floats(found: Sequence[SourceLiteral]) -> list[SourceLiteral]:
    """Return the literals; a whole number is a float if the same key of another element of its list is one."""

    def family(literal: SourceLiteral) -> str:
        return re.sub(r"\[\d+\]", "[]", literal.name)

    fractions = {family(literal) for literal in found if isinstance(literal.value, float) and "[" in literal.name}
    return [
        replace(literal, value=float(literal.value))
        if type(literal.value) is int and family(literal) in fractions
        else literal
        for literal in found
    ]


def in_bytes(source: str, found: Sequence[SourceLiteral]) -> tuple[SourceLiteral, ...]:
    """Return the literals in their order, with offsets in characters turned into offsets in UTF-8 bytes.

    Those behind the first `MAX_FREE` are excluded unless a comment gives them a range.
    """
    ordered = sorted((one for one in found if len(one.name) <= _MAX_NAME), key=lambda literal: literal.start)
    ordered = [
        one if number < MAX_FREE or one.comment else replace(one, excluded=one.excluded or "many")
        for number, one in enumerate(ordered)
    ]
    if source.isascii():
        return tuple(ordered)
    edges = sorted({edge for literal in ordered for edge in (literal.start, literal.end)})
    at, total, places = 0, 0, {}
    for edge in edges:
        total += len(source[at:edge].encode())
        at = edge
        places[edge] = total
    return tuple(replace(one, start=places[one.start], end=places[one.end]) for one in ordered)


def key_path(path: str, key: str) -> str:
    """Return the name of a key inside of a path: `train.lr`, or `rules["a.b"]` for a key that is not a plain word."""
    if not re.fullmatch(r"[\w$@/-]+", key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key
