"""Finds the edits in a model's answer: SEARCH/REPLACE blocks, diffs and whole files in fences. Pure.

Fences, file names and marks are read in the variants that models write. This module only reads; `agents.llm.patch`
decides which edits count and puts them into the files.
"""

import re
from collections.abc import Sequence

import msgspec

from agents.llm.answer_names import matching, mentioned_name, name_in_fence, stated_name
from mesh.answer_flaw import Unusable
from mesh.diffs import FileDiff, looks_like_diff, read_diff, starts_diff
from mesh.python_syntax import parse_python

_FENCE = re.compile(r"([ \t>]*)(`{3,}|~{3,})[ \t]*([^`]*)")
_OLD_WORDS = r"(?:SEARCH|ORIGINAL|HEAD|OLD|BEFORE|CURRENT)"
_NEW_WORDS = r"(?:REPLACE|UPDATED?|NEW|AFTER|MODIFIED|REPLACEMENT)"
_SEARCH = re.compile(rf"\s*(?:<{{4,10}}|-{{6,9}})\s*{_OLD_WORDS}\b[>:]?\s*(\S.*?)?\s*")
_MIDDLE = re.compile(rf"\s*={{4,10}}\s*(?:{_NEW_WORDS})?\s*")
_REPLACE = re.compile(rf"\s*(?:>{{4,10}}|\+{{6,9}})\s*(?:{_NEW_WORDS}\b)?.{{0,40}}")
_HINT = re.compile(r"\s*:(?:start_line|end_line):\s*\d+\s*|\s*-{7,}\s*")
"""Line numbers that some models are used to write before the lines to find."""

_LONGEST_MARK = 1000
"""Most characters of a line that can be a mark, a name or a fence."""

_MOST_FENCES = 20
"""Most marks of fences within a program of which the end is looked for."""


class SearchBlock(msgspec.Struct, frozen=True):
    """Lines to find and lines to put there: `dividers` are the places of ======= lines, of which one divides them."""

    name: str
    lines: tuple[str, ...]
    dividers: tuple[int, ...]


class WholeFile(msgspec.Struct, frozen=True):
    """The lines of a fence, perhaps a whole file; `closed` is False if the text ends before the fence does."""

    name: str
    lines: tuple[str, ...]
    info: str = ""
    closed: bool = True


AnswerEdit = SearchBlock | WholeFile | FileDiff


def read_edits(
    lines: Sequence[str], editable: Sequence[str], *, cut: bool = False
) -> tuple[list[AnswerEdit], list[str]]:
    """Return the edits of an answer in their order, and the lines of words around them.

    Args:
        lines: The answer, without thoughts.
        editable: The paths that may change.
        cut: Whether the answer ran out of tokens.

    Raises:
        Unusable: An edit is not complete.
    """
    return _Reader(lines, editable, cut).read()


class _Reader:
    def __init__(self, lines: Sequence[str], editable: Sequence[str], cut: bool) -> None:
        self.lines, self.editable, self.cut = lines, editable, cut
        self.at, self.name, self.around = 0, "", ""
        self.edits: list[AnswerEdit] = []
        self.words: list[str] = []

    def read(self) -> tuple[list[AnswerEdit], list[str]]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if len(line) > _LONGEST_MARK:
                self.words.append(line)
                self.at += 1
                continue
            fence = _FENCE.fullmatch(line)
            if match := _SEARCH.fullmatch(line):
                self._block(match[1] or "")
            elif fence and self.around and fence[2][0] == self.around[0] and not fence[3].strip():
                self.around = ""
                self.at += 1
            elif fence:
                self._fence(fence)
            elif starts_diff(self.lines, self.at):
                self._loose_diff()
            else:
                self._word(line)
        return self.edits, self.words

    def _word(self, line: str) -> None:
        self.at += 1
        if name := stated_name(line, self.editable):
            last = self.edits[-1] if self.edits else None
            if isinstance(last, WholeFile) and not last.name and not self._edit_follows() and self._is_behind:
                self.edits[-1] = msgspec.structs.replace(last, name=name)
            else:
                self.name = name
            return
        self.name = mentioned_name(line, self.editable) or self.name
        self._is_behind = self._is_behind and not line.strip()
        self.words.append(line)

    _is_behind = False
    """Whether nothing but empty lines follows the last fence so far."""

    def _edit_follows(self) -> bool:
        after = next((line for line in self.lines[self.at :] if line.strip()), "")
        return bool(_FENCE.fullmatch(after) or _SEARCH.fullmatch(after))

    def _block(self, named: str) -> None:
        lines, start = self.lines, self.at + 1
        stop = next((n for n in range(start, len(lines)) if _SEARCH.fullmatch(lines[n])), len(lines))
        end = next((n for n in range(start, stop) if _REPLACE.fullmatch(lines[n])), None)
        found = [n for n in range(start, stop if end is None else end) if _MIDDLE.fullmatch(lines[n])]
        if not found:
            raise Unusable("a SEARCH block has no ======= line")
        if end is None and self.around:  # the fence ends what the block does not
            end = next((n for n in range(found[0], stop) if lines[n].strip() == self.around), None)
        if end is None:
            raise Unusable("a SEARCH block does not end with >>>>>>> REPLACE")
        while start < found[0] and _HINT.fullmatch(lines[start]):
            start += 1
        body = _dedented(lines[start:end], _indent(lines[self.at]))
        name = matching(named.strip("`*():"), self.editable) or self.name
        self.edits.append(SearchBlock(name, tuple(body), tuple(n - start for n in found if n >= start)))
        self.at = end if lines[end].strip() == self.around else end + 1
        self._is_behind = False

    def _fence(self, fence: re.Match[str]) -> None:
        lines, info, mark = self.lines, fence[3].strip(), fence[2]
        inside = _inside(lines, self.at + 1, mark)
        named, is_line = name_in_fence(info, next((line for line in inside if line.strip()), ""), self.editable)
        if any(map(_SEARCH.fullmatch, inside)) and not looks_like_diff(inside):
            self.name, self.around = named or self.name, mark
            self.at += 1
            if is_line:
                self.at = next(n for n in range(self.at, len(lines)) if lines[n].strip()) + 1
            return
        end = self.at + 1 + len(inside)
        content = _dedented(inside, len(fence[1]))
        if info.lower() in ("diff", "patch", "udiff", "git") or looks_like_diff(content):
            if end >= len(lines) and self.cut:
                raise Unusable("the diff is not complete")
            diffs = read_diff(content)
            self.edits += [msgspec.structs.replace(each, name=each.name or self.name) for each in diffs]
            self.at, self._is_behind = end + 1, False
            return
        if is_line and len([line for line in content if line.strip()]) == 1:  # a fence around a name
            self.name, self.at = named, end + 1
            return
        end = self._real_end(end, mark)
        content = _dedented(lines[self.at + 1 : end], len(fence[1]))
        self.edits.append(WholeFile(named or self.name, tuple(content), info, closed=end < len(lines)))
        self.name, self.at, self._is_behind = "", end + 1, True

    def _real_end(self, end: int, mark: str) -> int:
        """Return where a fence of Python ends that has fences in its strings: where the code parses first."""
        start, first = self.at + 1, end
        if any(not name.endswith(".py") for name in self.editable):
            return first
        for _ in range(_MOST_FENCES):
            if end >= len(self.lines):
                return first
            if _parses(self.lines[start:end]):
                return end
            following = self.lines[end + 1 :]
            behind = next(
                (n for n, line in enumerate(following) if (found := _FENCE.fullmatch(line)) and found[3]), None
            )
            inside = _inside(self.lines, end + 1, mark)
            if end + 1 + len(inside) >= len(self.lines) or (behind is not None and behind < len(inside)):
                return first
            end += 1 + len(inside)
        return first

    def _loose_diff(self) -> None:
        """Read a diff outside of any fence: it ends where text begins behind an empty line."""
        start = self.at
        self.at += 1
        while self.at < len(self.lines):
            line, last = self.lines[self.at], self.lines[self.at - 1]
            is_diff = not line.strip() or line[0] in "+-@ \\" or starts_diff(self.lines, self.at)
            if _FENCE.fullmatch(line) or _SEARCH.fullmatch(line) or (not last.strip() and not is_diff):
                break
            self.at += 1
        if self.cut and self.at >= len(self.lines):
            raise Unusable("the diff is not complete")
        diffs = read_diff(self.lines[start : self.at])
        self.edits += [msgspec.structs.replace(each, name=each.name or self.name) for each in diffs]
        self._is_behind = False


def split_at(block: SearchBlock, divider: int) -> tuple[list[str], list[str]]:
    """Return the lines to find and the lines to put there, if this line divides them."""
    return list(block.lines[:divider]), list(block.lines[divider + 1 :])


def _inside(lines: Sequence[str], at: int, mark: str) -> Sequence[str]:
    """Return the lines up to the one that closes a fence; all lines if none does."""
    closes = re.compile(rf"[ \t>]*{re.escape(mark[0])}{{{len(mark)},}}\s*")
    end = next((n for n in range(at, len(lines)) if closes.fullmatch(lines[n])), len(lines))
    return lines[at:end]


def _dedented(lines: Sequence[str], indent: int) -> list[str]:
    """Return lines without the indentation of the list that their fence or mark stands in, if all have it."""
    if not indent or not all(not line[:indent].strip(" \t>") for line in lines):
        return list(lines)
    return [line[indent:] for line in lines]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _parses(lines: Sequence[str]) -> bool:
    try:
        parse_python("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
