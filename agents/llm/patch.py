"""Reads a model's answer: a header of a few lines, then edits of files, in a format that models write reliably.

    TITLE: one line                          FILE: train.py
    RATIONALE: why, on one or more lines     <<<<<<< SEARCH
    PREDICTED_GAIN: 0.01                     lines as they are
    CONFIDENCE: 0.6                          =======
                                             lines as they should be
                                             >>>>>>> REPLACE

Instead of search and replace blocks, the answer may give a whole file in a fenced block under its `FILE:` line. A
search text must occur in the file exactly once, or once if white space is ignored. Pure. This module does not judge
whether a change is good.
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from mesh.bounds import MAX_NUMBER
from mesh.editable_regions import any_trespass
from mesh.text import visible

MAX_TITLE, MAX_RATIONALE = 120, 2000
"""Most characters; longer texts are cut."""

_HEADER = re.compile(r"[#*\s>-]*(title|rationale|predicted[_ ]gain|confidence)\**\s*[:=]\**\s*(.*)", re.IGNORECASE)
_FILE = re.compile(r"[#*\s]*file(?:name)?\**\s*[:=]\**\s*(.+)", re.IGNORECASE)
_FENCE = re.compile(r"(`{3,}|~{3,})[\w.+-]*\s*")
_SEARCH, _MIDDLE, _REPLACE = (
    re.compile(r"<{5,9} ?SEARCH\s*"),
    re.compile(r"={5,9}\s*"),
    re.compile(r">{5,9} ?REPLACE\s*"),
)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an answer, and the complete contents of the files that it changes."""

    title: str
    rationale: str
    predicted_gain: float | None
    confidence: float | None
    files: dict[str, bytes]


class Flaw(msgspec.Struct, frozen=True):
    """Why an answer cannot be used: one sentence that also says what to do instead."""

    text: str


class _Wrong(Exception):
    """Carries the text of a flaw to `parse_answer`."""


def parse_answer(answer: str, files: Mapping[str, bytes], editable: Sequence[str]) -> Patch | Flaw:
    """Return the change in an answer, or why the answer cannot be used.

    Args:
        answer: The text of the model.
        files: The files before the change, by path.
        editable: The paths that may change.
    """
    lines = answer.replace("\r\n", "\n").split("\n")
    try:
        header, start = _header(lines)
        changed = _changes(lines, start, files, editable)
        for name, data in changed.items():
            _check(name, data)
        if why := any_trespass(files, changed, editable):
            return Flaw(why)
    except _Wrong as wrong:
        return Flaw(str(wrong))
    if not changed:
        return Flaw(
            "the answer has no change; write FILE: and SEARCH/REPLACE blocks, or a whole file in a fenced block"
        )
    if all(files.get(name) == data for name, data in changed.items()):
        return Flaw(f"the answer does not change {' and '.join(changed)}; change something")
    return Patch(
        title=_line(header.get("title", ""))[:MAX_TITLE] or f"a change to {', '.join(changed)}"[:MAX_TITLE],
        rationale=visible(header.get("rationale", ""), keep="\n\t", instead=" ").strip()[:MAX_RATIONALE],
        predicted_gain=_number(header.get("predicted_gain", "")),
        confidence=_share(header.get("confidence", "")),
        files=changed,
    )


def _header(lines: Sequence[str]) -> tuple[dict[str, str], int]:
    """Return the fields of the header, and the number of the line after the last field."""
    found: dict[str, str] = {}
    current, end = "", 0
    for number, line in enumerate(lines):
        if _FILE.fullmatch(line) or _SEARCH.fullmatch(line) or (_FENCE.fullmatch(line) and found):
            break
        if match := _HEADER.fullmatch(line):
            current, end = match[1].lower().replace(" ", "_"), number + 1
            found.setdefault(current, match[2])
        elif current == "rationale":
            found[current] += f"\n{line}"
    return found, end


def _changes(lines: Sequence[str], at: int, files: Mapping[str, bytes], editable: Sequence[str]) -> dict[str, bytes]:
    changed: dict[str, bytes] = {}
    name = around = ""
    while at < len(lines):
        line = lines[at]
        at += 1
        if match := _FILE.fullmatch(line):
            name = match[1].strip().strip("`*'\"")
        elif line.strip().strip("`*:") in editable:
            name = line.strip().strip("`*:")
        elif _SEARCH.fullmatch(line):
            old, at = _until(lines, at, _MIDDLE, "a SEARCH block has no ======= line")
            new, at = _until(lines, at, _REPLACE, "a SEARCH block does not end with >>>>>>> REPLACE")
            where = _named(name, editable)
            changed[where] = _replaced(where, changed.get(where, files.get(where)), old, new)
        elif (match := _FENCE.fullmatch(line)) and match[1] == around:
            around = ""
        elif match:
            if any(map(_SEARCH.fullmatch, _inside(lines, at, match[1]))):
                around = match[1]  # the fenced block contains search and replace blocks
                continue
            closed = at + len(_inside(lines, at, match[1]))
            if name:
                if closed >= len(lines):
                    raise _Wrong(f"the fenced block of {name} is not closed; end it with {match[1]}")
                changed[_named(name, editable)] = ("\n".join(lines[at:closed]) + "\n").encode()
                name = ""
            at = closed + 1
    return changed


def _inside(lines: Sequence[str], at: int, fence: str) -> Sequence[str]:
    """Return the lines up to the one that closes a fence; all lines if none does."""
    closes = re.compile(rf"{re.escape(fence[0])}{{{len(fence)},}}\s*")
    end = next((n for n in range(at, len(lines)) if closes.fullmatch(lines[n])), len(lines))
    return lines[at:end]


def _until(lines: Sequence[str], at: int, mark: re.Pattern[str], missing: str) -> tuple[list[str], int]:
    for end in range(at, len(lines)):
        if mark.fullmatch(lines[end]):
            return list(lines[at:end]), end + 1
        if _SEARCH.fullmatch(lines[end]):
            break
    raise _Wrong(missing)


def _named(name: str, editable: Sequence[str]) -> str:
    if not name and len(editable) == 1:
        return editable[0]
    if not name:
        raise _Wrong(f"a change has no file name; write FILE: and one of {', '.join(editable)} before it")
    if name not in editable:
        raise _Wrong(f"{_line(name)[:80]} may not be changed; change only {', '.join(editable)}")
    return name


def _replaced(name: str, data: bytes | None, old: Sequence[str], new: Sequence[str]) -> bytes:
    """Return the contents of a file with the old lines replaced by the new ones."""
    if data is None:
        if any(line.strip() for line in old):
            raise _Wrong(f"{name} does not exist, so SEARCH cannot match; leave SEARCH empty")
        return ("\n".join(new) + "\n").encode()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _Wrong(f"{name} is not a text file; do not change it") from None
    ends = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    if not any(line.strip() for line in old):
        raise _Wrong(f"a SEARCH block for {name} is empty; copy the lines to replace into it")
    for alike in (str, str.rstrip, str.strip):
        wanted = [alike(line) for line in old]
        have = [alike(line) for line in lines]
        places = [at for at in range(len(have) - len(wanted) + 1) if have[at : at + len(wanted)] == wanted]
        if len(places) > 1:
            first = _line(next(line for line in old if line.strip()))[:80]
            raise _Wrong(
                f"the SEARCH text that begins with {first!r} occurs {len(places)} times in {name}; add more lines to it"
            )
        if places:
            there = lines[places[0] : places[0] + len(old)]
            put = new if alike is not str.strip else _indented(there, old, new)
            return ends.join([*lines[: places[0]], *put, *lines[places[0] + len(old) :]]).encode()
    first = _line(next(line for line in old if line.strip()))[:80]
    raise _Wrong(f"the SEARCH text that begins with {first!r} is not in {name}; copy whole lines of the file exactly")


def _indented(there: Sequence[str], old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the new lines, indented by the difference between the file and the SEARCH text."""
    real, written = next((_indent(a), _indent(b)) for a, b in zip(there, old, strict=True) if b.strip())
    return [real + line.removeprefix(written) if line.strip() else line for line in new]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _check(name: str, data: bytes) -> None:
    if not name.endswith(".py"):
        return
    try:
        ast.parse(data)
    except SyntaxError as error:
        line = f"{(error.text or '').strip()[:80]!r}, line {error.lineno or 1}"
        raise _Wrong(f"{name} does not parse after the change: {error.msg} ({line})") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise _Wrong(f"{name} does not parse after the change: {error or type(error).__name__}") from None


def _line(text: str) -> str:
    return " ".join(visible(text, instead=" ").split()).strip("*`\"' ")


def _number(text: str) -> float | None:
    """Return the number in a field; None if there is none, or if it is a percentage of an unknown whole."""
    match = _NUMBER.search(text)
    value = float(match[0]) if match and "%" not in text else math.inf
    return value if abs(value) <= MAX_NUMBER else None


def _share(text: str) -> float | None:
    match = _NUMBER.search(text)
    value = float(match[0]) / (100 if "%" in text else 1) if match else -1.0
    return value if 0 <= value <= 1 else None
