"""Reads unified diffs as people and models write them, and puts them into a file's text. Pure.

Line numbers are counted wrongly more often than not, so a hunk is found by its lines; a number only chooses between
several places. Lines of context may lack the space before them, and are kept as they are in the file.
"""

import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from mesh.answer_flaw import Unusable, one_line
from mesh.matching import LineRange, find_lines, shifted

_HUNK = re.compile(r"@@(?:\s*-(\d+)(?:,\d+)?\s+\+\d+(?:,\d+)?\s*@@|.*?@@$|\s|$)(.*)")
_OLD, _NEW = re.compile(r"---\s+(\S.*?)\s*(?:\t.*)?"), re.compile(r"\+\+\+\s+(\S.*?)\s*(?:\t.*)?")
_GIT = re.compile(r"diff --git\s+(\S+)\s+(\S+)")
_PATCH = re.compile(r"\*\*\* (Update|Add|Delete) File:\s*(.+)")
_NOISE = re.compile(
    r"(index [0-9a-f]+\.\.|(new|deleted|old) file mode|(old|new) mode|similarity index|rename (from|to)|Index: |={60,}"
    r"|\\ No newline|\*\*\* (Begin Patch|End Patch|End of File))"
)

_MOST_CUT = 6
"""Most lines of context that are left out at each end of a hunk to find its place."""


class Hunk(msgspec.Struct, frozen=True):
    """One hunk: its lines with their signs (space, - or +), and the line number that it gives, 0 if none."""

    lines: tuple[tuple[str, str], ...]
    at: int = 0
    heading: str = ""


class FileDiff(msgspec.Struct, frozen=True):
    """The hunks of one file; `name` is as the model wrote it, "" if it wrote none."""

    name: str
    hunks: tuple[Hunk, ...]
    is_new: bool = False


def starts_diff(lines: Sequence[str], at: int) -> bool:
    """Tell whether a diff begins at this line, outside of any fence."""
    line = lines[at]
    after = lines[at + 1] if at + 1 < len(lines) else ""
    return bool(
        _GIT.fullmatch(line)
        or _PATCH.fullmatch(line)
        or line.startswith("*** Begin Patch")
        or (_OLD.fullmatch(line) and _NEW.fullmatch(after))
        or re.match(r"@@ -\d+(,\d+)? \+\d+(,\d+)? @@", line)
    )


def looks_like_diff(lines: Sequence[str]) -> bool:
    """Tell whether the lines of a fence are a diff."""
    full = [number for number, line in enumerate(lines) if line.strip()]
    return bool(full) and (starts_diff(lines, full[0]) or bool(re.match(r"@@(\s|$)", lines[full[0]])))


def read_diff(lines: Sequence[str]) -> list[FileDiff]:
    """Return the files of a diff, in the order of the text.

    Raises:
        Unusable: The diff deletes a file.
    """
    found: list[FileDiff] = []
    name, is_new, hunks = "", False, list[Hunk]()
    signs: list[tuple[str, str]] = []
    at, heading = 0, ""

    def end_hunk() -> None:
        while signs and not signs[-1][1].strip() and signs[-1][0] == " ":
            signs.pop()  # empty lines behind a hunk are the text's
        if any(sign != " " for sign, _ in signs):
            hunks.append(Hunk(tuple(signs), at, heading))
        signs.clear()

    def end_file() -> None:
        end_hunk()
        if hunks:
            found.append(FileDiff(name, tuple(hunks), is_new))
        hunks.clear()

    number = 0
    while number < len(lines):
        line = lines[number]
        after = lines[number + 1] if number + 1 < len(lines) else ""
        number += 1
        if (old := _OLD.fullmatch(line)) and (new := _NEW.fullmatch(after)):
            end_file()
            if new[1] == "/dev/null":
                raise Unusable(f"the diff deletes {one_line(old[1])[:80]}; change files, but do not delete them")
            name, is_new, at, heading = new[1], old[1] == "/dev/null", 0, ""
            number += 1
        elif patch := _PATCH.fullmatch(line):
            end_file()
            if patch[1] == "Delete":
                raise Unusable(f"the patch deletes {one_line(patch[2])[:80]}; change files, but do not delete them")
            name, is_new, at, heading = patch[2].strip(), patch[1] == "Add", 0, ""
        elif git := _GIT.fullmatch(line):
            end_file()
            name, is_new, at, heading = git[2], False, 0, ""
        elif hunk := _HUNK.fullmatch(line):
            end_hunk()
            at, heading = int(hunk[1] or 0), (hunk[2] or "").strip(" @")
        elif _NOISE.match(line):
            continue
        elif line[:1] in ("+", "-", " "):
            signs.append((line[0], line[1:]))
        else:
            signs.append((" ", line))
    end_file()
    return found


def apply_diff(files: Mapping[str, bytes], diff: str, *, most_lines: float = math.inf) -> dict[str, bytes]:
    """Return files with a unified diff in them; a file with CR LF keeps its ends of lines.

    Args:
        files: The files by path.
        diff: The diff.
        most_lines: How many lines are looked at to find the places of all hunks; a million take about two seconds.

    Raises:
        Unusable: The diff changes a file that is not there or is no text, deletes one, does not fit, or needs more
            than `most_lines`.
    """
    changed, budget = dict(files), _Budget(most_lines)
    for each in read_diff(diff.replace("\r\n", "\n").split("\n")):
        name = _name_in(each, changed)
        if each.is_new or name not in changed:
            lines = [line for hunk in each.hunks for sign, line in hunk.lines if sign == "+"]
            changed[name] = ("\n".join(lines) + "\n").encode()
            continue
        try:
            old = changed[name].decode()
        except UnicodeDecodeError:
            raise Unusable(f"{name} is not a text file; do not change it") from None
        text = _with_hunks(name, old.replace("\r\n", "\n"), each.hunks, budget)
        changed[name] = (text.replace("\n", "\r\n") if "\r\n" in old else text).encode()
    return changed


def _name_in(diff: FileDiff, files: Mapping[str, bytes]) -> str:
    """Return the path that a diff means: without `a/` and `b/`; the only file where it names none."""
    name = diff.name if diff.name in files else diff.name.removeprefix("b/")
    if not name and len(files) == 1:
        return next(iter(files))
    if name in files or diff.is_new:
        return name
    raise Unusable(f"the diff changes {name or 'a file without a name'}, which is not there")


def apply_hunks(name: str, text: str, hunks: Sequence[Hunk]) -> str:
    """Return a file's text with the hunks in it.

    Raises:
        Unusable: The lines of a hunk are not in the file, or in several places.
    """
    return _with_hunks(name, text, hunks, _Budget(math.inf))


class _Budget:
    """Counts the lines that are looked at."""

    def __init__(self, most: float) -> None:
        self._left = most

    def spend(self, name: str, lines: int) -> None:
        """Count lines of a file.

        Raises:
            Unusable: They are too many.
        """
        self._left -= lines
        if self._left < 0:
            raise Unusable(f"the places of its hunks in {name} take too long to find; give whole files instead")


def _with_hunks(name: str, text: str, hunks: Sequence[Hunk], budget: _Budget) -> str:
    longer = 0
    for hunk in hunks:
        text = _applied(name, text, msgspec.structs.replace(hunk, at=hunk.at + longer if hunk.at else 0), budget)
        longer += sum((sign == "+") - (sign == "-") for sign, _ in hunk.lines)
    return text


def _applied(name: str, text: str, hunk: Hunk, budget: _Budget) -> str:
    lines = text.split("\n")
    signs, place = _found(name, lines, hunk, budget)
    there = lines[place.at : place.at + place.count]
    old = [line for sign, line in signs if sign != "+"]
    real = iter(there)
    put: list[str] = []
    exact = [line.rstrip() for line in there] == [line.rstrip() for line in old]
    for sign, line in signs:
        if sign == " ":
            put.append(next(real))
        elif sign == "-":
            next(real)
        else:
            put += [line] if exact else shifted(there, old, [line])
    return "\n".join([*lines[: place.at], *put, *lines[place.at + place.count :]])


def _found(name: str, lines: Sequence[str], hunk: Hunk, budget: _Budget) -> tuple[list[tuple[str, str]], LineRange]:
    """Return the lines of a hunk that are used, and their place: with less context where all of it is not there."""
    signs = list(hunk.lines)
    if not any(line.strip() for sign, line in signs if sign != "+"):
        raise Unusable(f"a hunk for {name} has no line of the file around what it adds; add lines of context")
    most = [min(_MOST_CUT, len(_head(part))) for part in (signs, signs[::-1])]
    for before, behind in sorted(
        ((a, b) for a in range(most[0] + 1) for b in range(most[1] + 1)), key=lambda cut: (sum(cut), cut)
    ):
        part = signs[before : len(signs) - behind]
        old = [line for sign, line in part if sign != "+"]
        if not any(line.strip() for line in old):
            continue
        budget.spend(name, len(lines) + len(old))
        places = [place for place in find_lines(old, lines) if place.count == len(old)]
        if len(places) > 1:
            places = _chosen(lines, places, hunk, before)
        if len(places) > 1:
            raise Unusable(
                f"the hunk for {name} that begins with {_first(old)} fits {len(places)} places; add more lines to it"
            )
        if places:
            return part, places[0]
    old = [line for sign, line in signs if sign == "-"] or [line for sign, line in signs if sign == " "]
    raise Unusable(
        f"the lines of a hunk that begin with {_first(old)} are not in {name}; copy lines of the file exactly"
    )


def _chosen(lines: Sequence[str], places: list[LineRange], hunk: Hunk, before: int) -> list[LineRange]:
    """Return the place that the hunk's number names, else the first behind its heading; all if neither tells."""
    if named := [place for place in places if hunk.at and place.at == hunk.at - 1 + before]:
        return named
    heads = [number for number, line in enumerate(lines) if hunk.heading and line.strip() == hunk.heading]
    if len(heads) == 1 and (behind := [place for place in places if place.at >= heads[0]]):
        return behind[:1]
    return places


def _head(signs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the lines of context at the beginning."""
    end = next((number for number, (sign, _) in enumerate(signs) if sign != " "), len(signs))
    return list(signs[:end])


def _first(lines: Sequence[str]) -> str:
    return repr(one_line(next((line for line in lines if line.strip()), ""))[:80])
