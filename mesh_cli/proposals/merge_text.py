"""A three-way merge of texts: what two sides made of one text, joined, unless both changed the same place. Pure.

Lines are joined first. Where both sides changed a line, and one of them only its comment, its words are: a comment
behind a number stays when the number is replaced. Changes that only touch each other are no conflict.
"""

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

MOST_LINES = 20_000
"""Texts with more lines are not joined: the algorithm is quadratic in the worst case."""
_WORDS = re.compile(r"[\w.]+|\s|[^\w\s]")

_COMMENT = re.compile(r"[ \t]*(?:#(?=\s)|//|/\*|--(?=\s)|;;).*", re.DOTALL)


class Merged(NamedTuple):
    """The joined text, None if it has conflicts; their lines in the text of our side, from 1."""

    text: str | None
    conflicts: tuple[int, ...] = ()


class _Edit(NamedTuple):
    """A place of the base that a side has replaced: `low` to `high`, by `low_here` to `high_here` of the side."""

    low: int
    high: int
    low_here: int
    high_here: int


def merge_texts(base: str, ours: str, theirs: str) -> Merged:
    """Join what two sides made of a text.

    Args:
        base: the text that both sides began with.
        ours: what one side made of it.
        theirs: what the other side made of it.
    """
    ends = [text if not text or text.endswith("\n") else f"{text}\n" for text in (base, ours, theirs)]
    sides = [text.splitlines(keepends=True) for text in ends]
    if max(map(len, sides)) > MOST_LINES:
        return Merged(None, (1,))
    joined, conflicts = list[str](), list[int]()
    for at, old, here, there in _pieces(*sides):
        found = _joined(old, here, there)
        if found is None and _code(old) in (_code(here), _code(there)):
            words = [_WORDS.findall("".join(lines)) for lines in (old, here, there)]
            parts = [_joined(*piece[1:]) for piece in _pieces(*words)]
            found = None if None in parts else [word for part in parts if part for word in part]
        if found is None:
            conflicts.append(at + 1)
        else:
            joined += found
    if conflicts:
        return Merged(None, tuple(conflicts))
    text = "".join(joined)
    return Merged(text if ours.endswith("\n") or not ours else text.removesuffix("\n"))


def _code(lines: Sequence[str]) -> list[str]:
    """Return lines without the comments at their ends, as most languages write them."""
    return [_COMMENT.sub("", line).rstrip() for line in lines]


def _joined(old: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Sequence[str] | None:
    """Return a piece as the side that changed it has it; None if both changed it otherwise."""
    if list(ours) == list(theirs) or list(theirs) == list(old):
        return ours
    return theirs if list(ours) == list(old) else None


def _pieces(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> list[tuple[int, Sequence[str], Sequence[str], Sequence[str]]]:
    """Return the parts of three texts that belong together, in their order, with the place of each in `ours`."""
    mine, others = _edits(base, ours), _edits(base, theirs)
    both = sorted([(edit, 0) for edit in mine] + [(edit, 1) for edit in others])
    groups: list[tuple[int, int, list[tuple[_Edit, int]]]] = []
    for edit, side in both:
        if groups and _meets(groups[-1], edit):
            low, high, members = groups.pop()
            groups.append((low, max(high, edit.high), [*members, (edit, side)]))
        else:
            groups.append((edit.low, edit.high, [(edit, side)]))
    pieces, at, shift = [], 0, [0, 0]
    for low, high, members in groups:
        begin = [low + shift[0], low + shift[1]]
        pieces.append((at + shift[0], base[at:low], ours[at + shift[0] : begin[0]], theirs[at + shift[1] : begin[1]]))
        for edit, side in members:
            shift[side] += (edit.high_here - edit.low_here) - (edit.high - edit.low)
        ends = high + shift[0], high + shift[1]
        pieces.append((begin[0], base[low:high], ours[begin[0] : ends[0]], theirs[begin[1] : ends[1]]))
        at = high
    pieces.append((at + shift[0], base[at:], ours[at + shift[0] :], theirs[at + shift[1] :]))
    return pieces


def _edits(base: Sequence[str], side: Sequence[str]) -> list[_Edit]:
    matcher = difflib.SequenceMatcher(None, base, side, autojunk=False)
    return [_Edit(*places) for kind, *places in matcher.get_opcodes() if kind != "equal"]


def _meets(group: tuple[int, int, list[tuple[_Edit, int]]], edit: _Edit) -> bool:
    """Tell whether an edit overlaps those of a group, or is inserted where one of them is."""
    low, high, members = group
    return edit.low < high or (edit.low == edit.high == low == high and bool(members))
