"""Finds the lines that a model copied from a file, and puts the new ones in their place. Pure.

Models copy badly: other white space, other indentation, a comment left out or added. Lines are looked for exactly, then
with ever more tolerance, and each time they must occur once: text that could be in two places is in none.
"""

import difflib
import re
from collections.abc import Callable, Sequence

import msgspec

from mesh.answer_flaw import Unusable, one_line

_AT_ONCE = 1_000_000
_COMMENT = re.compile(r"(?:^|\s+)(?:#|//)[^\"']*$")


class LineRange(msgspec.Struct, frozen=True):
    """A place in a file: the number of its first line, counted from 0, and how many lines it has."""

    at: int
    count: int


def _collapsed(line: str) -> str:
    return " ".join(line.split())


def _bare(line: str) -> str:
    """Return a line without the comment behind it."""
    return " ".join(_COMMENT.sub("", line).split())


_ALIKE: tuple[Callable[[str], str], ...] = (str, str.rstrip, str.strip, _collapsed, _bare)


def find_lines(wanted: Sequence[str], have: Sequence[str]) -> list[LineRange]:
    """Return the places of lines in a file: with the least tolerance that finds any; none if there are none.

    Empty lines around the wanted lines need not be there.
    """
    inner = _trimmed(wanted)
    for alike in _ALIKE:
        plain = [alike(line) for line in have]
        for lines in (wanted, inner):
            old = [alike(line) for line in lines]
            if not any(old):
                continue
            if places := _places(old, plain):
                return [LineRange(at, len(old)) for at in places]
    return []


def replace_lines(name: str, text: str, old: Sequence[str], new: Sequence[str]) -> str:
    """Return a file's text with the old lines replaced by the new ones.

    Args:
        name: The file, for errors.
        text: Its text, with line feeds.
        old: The lines to replace, as the model copied them.
        new: The lines in their place.

    Raises:
        Unusable: The lines are not there, or more than once.
    """
    lines = text.split("\n")
    first = one_line(next(line for line in old if line.strip()))[:80]
    places = find_lines(old, lines)
    if len(places) > 1:
        raise Unusable(
            f"the SEARCH text that begins with {first!r} occurs {len(places)} times in {name}; add more lines to it"
        )
    if places:
        [place] = places
        there = lines[place.at : place.at + place.count]
        inner = old if place.count == len(old) else _trimmed(old)
        put = new if place.count == len(old) else _trimmed(new)
        if [line.rstrip() for line in there] != [line.rstrip() for line in inner]:
            put = _as_in_the_file(there, inner, put)
        return "\n".join([*lines[: place.at], *put, *lines[place.at + place.count :]])
    if (part := _part_of_a_line(text, old, new)) is not None:
        return part
    raise Unusable(
        f"the SEARCH text that begins with {first!r} is not in {name}; copy whole lines of the file exactly"
        + _nearest(old, lines)
    )


def shifted(there: Sequence[str], old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the new lines, indented by the difference between the file and the copied lines."""
    pairs = [(_indent(a), _indent(b)) for a, b in zip(there, old, strict=True) if b.strip()]
    real, written = pairs[0]
    return [real + line.removeprefix(written) if line.strip() else line for line in new]


def _as_in_the_file(there: Sequence[str], old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the new lines as the model would have written them with an exact copy of the file.

    Lines that it did not change stay as they are in the file, and a changed line keeps the comment behind it.
    """
    moved, kept = shifted(there, old, new), list[str]()
    plain = [[line.rstrip() for line in lines] for lines in (old, new)]
    steps = difflib.SequenceMatcher(None, plain[0], plain[1], autojunk=False).get_opcodes()
    for kind, a, a_end, b, b_end in steps:
        if kind == "equal":
            kept += there[a:a_end]
        elif a_end - a == b_end - b:
            kept += [_with_comment(*lines) for lines in zip(there[a:a_end], old[a:a_end], moved[b:b_end], strict=True)]
        else:
            kept += moved[b:b_end]
    return kept


def _with_comment(real: str, written: str, new: str) -> str:
    """Return a new line with the comment of the file's line, if the model left it out."""
    comment = _COMMENT.search(real)
    if comment and comment.start() and not _COMMENT.search(written) and not _COMMENT.search(new):
        return new.rstrip() + comment[0]
    return new


def _places(wanted: Sequence[str], have: Sequence[str]) -> list[int]:
    """Return where the wanted lines stand; many of them are found in one pass, as a file may be one line repeated."""
    size = len(wanted)
    if size * len(have) > _AT_ONCE:
        return _places_of_many(wanted, have)
    return [at for at in range(len(have) - size + 1) if have[at] == wanted[0] and have[at : at + size] == wanted]


def _places_of_many(wanted: Sequence[str], have: Sequence[str]) -> list[int]:
    """Return the same by the algorithm of Knuth, Morris and Pratt."""
    back, at = [0] * len(wanted), 0
    for number in range(1, len(wanted)):
        while at and wanted[number] != wanted[at]:
            at = back[at - 1]
        at += wanted[number] == wanted[at]
        back[number] = at
    found, at = list[int](), 0
    for number, line in enumerate(have):
        while at and (at == len(wanted) or line != wanted[at]):
            at = back[at - 1]
        at += line == wanted[at]
        if at == len(wanted):
            found.append(number + 1 - at)
    return found


def _trimmed(lines: Sequence[str]) -> list[str]:
    """Return lines without the empty ones around them."""
    full = [number for number, line in enumerate(lines) if line.strip()]
    return list(lines[full[0] : full[-1] + 1]) if full else []


def _part_of_a_line(text: str, old: Sequence[str], new: Sequence[str]) -> str | None:
    """Return the text with a part of a line replaced; None unless the part is there once and ends at ends of words."""
    inner, put = _trimmed(old), _trimmed(new)
    if len(inner) != 1 or len(put) > 1:
        return None
    word = inner[0].strip()
    found = list(re.finditer(rf"(?<![\w.]){re.escape(word)}(?![\w.])", text))
    if len(found) != 1 or len(word) < 3:
        return None
    [match] = found
    return text[: match.start()] + (put[0].strip() if put else "") + text[match.end() :]


def _nearest(old: Sequence[str], lines: Sequence[str]) -> str:
    """Return a hint: the line of the file that resembles the first copied line most."""
    first = next(line for line in old if line.strip()).strip()[:200]
    plain = {line.strip()[:200]: number for number, line in reversed(list(enumerate(lines[:4000], 1)))}
    found = difflib.get_close_matches(first, [line for line in plain if line], n=1, cutoff=0.75)
    if not found or found[0] == first:
        return ""
    return f" (line {plain[found[0]]} is {one_line(found[0])[:80]!r})"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
