"""Reads a model's answer: a header of a few lines, then edits of files, in the forms that models write.

    TITLE: one line                          FILE: train.py
    RATIONALE: why, on one or more lines     <<<<<<< SEARCH
    PREDICTED_GAIN: 0.01                     lines as they are
    CONFIDENCE: 0.6                          =======
                                             lines as they should be
                                             >>>>>>> REPLACE

That form is asked for. A whole file in a fence, a unified diff, a JSON object and the marks of other systems are read
too. Text to replace must be in the file exactly once. What the model only thought is never applied. Pure. This module
does not judge whether a change is good.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from agents.llm.answer_names import file_of
from agents.llm.edits import AnswerEdit, SearchBlock, WholeFile, read_edits, split_at
from agents.llm.json_answer import read_json
from agents.llm.thoughts import without_thoughts
from agents.llm.whole_files import elided_line, file_of_whole, is_part, whole_text
from mesh.answer_flaw import Unusable, one_line
from mesh.bounds import MAX_NUMBER
from mesh.diffs import FileDiff, apply_hunks
from mesh.editable_regions import any_trespass
from mesh.matching import replace_lines
from mesh.python_syntax import parse_python
from mesh.text import visible

MAX_TITLE, MAX_RATIONALE = 120, 2000
"""Most characters; longer texts are cut."""

MAX_ANSWER = 500_000
"""Most characters of an answer; a longer one is not read."""

_HEADER = re.compile(r"[#*\s>-]*(title|rationale|predicted[_ ]gain|confidence)\**\s*[:=]\**\s*(.*)", re.IGNORECASE)
_TAGS = {"name": "title", "title": "title", "description": "rationale", "rationale": "rationale"}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_LEAD_IN = re.compile(r"(here|sure|okay|ok|below|certainly|of course|the following|file|<)", re.IGNORECASE)


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


def parse_answer(
    answer: str, files: Mapping[str, bytes], editable: Sequence[str], *, cut: bool = False, thought: bool = False
) -> Patch | Flaw:
    """Return the change in an answer, or why the answer cannot be used.

    Args:
        answer: The text of the model.
        files: The files before the change, by path.
        editable: The paths that may change.
        cut: Whether the answer ran out of tokens, so that its end is missing.
        thought: Whether the text is the model's reasoning, because it gave no other: only an answer in the requested
            form at its end counts.
    """
    if len(answer) > MAX_ANSWER:
        return Flaw(f"the answer has {len(answer):,} characters; write at most {MAX_ANSWER:,}")
    spoken = without_thoughts(answer.replace("\r\n", "\n").removeprefix("\ufeff"))
    text = _last_answer(spoken.text) if thought else spoken.text
    try:
        header, changed = _read(text, files, editable, cut=cut, thought=thought)
        for name, data in changed.items():
            check_parses(name, data)
        if why := any_trespass(files, changed, editable):
            return Flaw(why)
    except Unusable as wrong:
        return Flaw(str(wrong))
    if not changed and spoken.unclosed:
        return Flaw("the answer is only thought, because <think> is not closed; write the answer behind </think>")
    if not changed and thought:
        return Flaw("the answer is only reasoning, without an answer at its end; write the answer as text")
    if not changed:
        return Flaw(
            "the answer has no change; write FILE: and SEARCH/REPLACE blocks, or a whole file in a fenced block"
        )
    if all(files.get(name) == data for name, data in changed.items()):
        return Flaw(f"the answer does not change {' and '.join(changed)}; change something")
    return _patch(header, changed)


def parse_words(text: str, files: Mapping[str, bytes]) -> Patch:
    """Return the change that an agent has made to files, with the words of its report.

    Args:
        text: The report: the header of an answer, or any text, whose first sentence is then the title.
        files: The contents of the changed files.
    """
    spoken = without_thoughts(text[:MAX_ANSWER].replace("\r\n", "\n").removeprefix("\ufeff")).text
    return _patch(_header(spoken.split("\n"), spoken), dict(files))


def _patch(header: Mapping[str, str], changed: dict[str, bytes]) -> Patch:
    return Patch(
        title=one_line(header.get("title", ""))[:MAX_TITLE] or f"a change to {', '.join(changed)}"[:MAX_TITLE],
        rationale=visible(header.get("rationale", ""), keep="\n\t", instead=" ").strip()[:MAX_RATIONALE],
        predicted_gain=_number(header.get("predicted_gain", "")),
        confidence=_share(header.get("confidence", "")),
        files=changed,
    )


def _read(
    text: str, files: Mapping[str, bytes], editable: Sequence[str], *, cut: bool, thought: bool
) -> tuple[dict[str, str], dict[str, bytes]]:
    if found := read_json(text):
        header, edits = found
        return header, _changed(edits, files, editable, cut=cut)
    edits, words = read_edits(text.split("\n"), editable, cut=cut)
    if thought and words and any(line.strip() and not line.lstrip().startswith("<") for line in _behind(text)):
        return {}, {}  # the model went on thinking: nobody knows whether it kept this
    return _header(words, text), _changed(edits, files, editable, cut=cut)


def _last_answer(text: str) -> str:
    """Return the last answer in the requested form within a model's reasoning; "" if there is none."""
    starts = [match.start() for match in re.finditer(r"(?m)^[#* ]*TITLE\**\s*[:=]", text)]
    whole = text.strip()
    return text[starts[-1] :] if starts else whole if whole.startswith("{") else ""


def _behind(text: str) -> list[str]:
    """Return the lines behind the last edit of a text."""
    lines = text.rstrip().split("\n")
    ends = [n for n, line in enumerate(lines) if re.match(r"\s*(>{4,10}|`{3,}|~{3,})\W*\w*\W*$", line)]
    return lines[ends[-1] + 1 :] if ends else []


def _header(words: Sequence[str], text: str) -> dict[str, str]:
    """Return the fields of the header; without one, the first sentence and the words around the edits."""
    found: dict[str, str] = {}
    current = ""
    for line in words:
        if match := _HEADER.fullmatch(line):
            current = match[1].lower().replace(" ", "_")
            found.setdefault(current, match[2])
        elif current == "rationale":
            found[current] += f"\n{line}"
    for tag, field in _TAGS.items():
        value, closed, _ = text.partition(f"<{tag.upper()}>")[2].partition(f"</{tag.upper()}>")
        if closed:
            found.setdefault(field, value.strip())
    if not found:
        spoken = [line.strip() for line in words if line.strip() and not line.lstrip().startswith("<")]
        plain = [line for line in spoken if not _LEAD_IN.match(line) and not line.endswith(":") and " " in line]
        found = {"title": plain[0], "rationale": "\n".join(plain)} if plain else {}
    return found


def _changed(
    edits: Sequence[AnswerEdit], files: Mapping[str, bytes], editable: Sequence[str], *, cut: bool
) -> dict[str, bytes]:
    """Return the contents of the changed files.

    Whole files come first, and quotations are passed over: a fence beside blocks or diffs for the same file that is a
    part of it, or a fence without a name beside any of them.
    """
    changed: dict[str, bytes] = {}
    exact = [each for each in edits if not isinstance(each, WholeFile)]
    named = {file_of(each.name, files, editable) for each in exact}
    for each in edits:
        if isinstance(each, WholeFile):
            if each.name:
                name = file_of(each.name, files, editable)
            elif exact or not (name := file_of_whole(each, files, editable)):
                continue
            if name in named and _is_quotation(each, _text(name, files.get(name))):
                continue
            if not each.closed and cut:
                raise Unusable(f"the text of {name} is cut off; make a smaller change")
            data = _bytes(name, files.get(name), partial(whole_text, name, each))
            if data != files.get(name) or name not in changed:
                changed[name] = data
        else:
            name = file_of(each.name, files, editable)
            changed[name] = _edited(name, changed.get(name, files.get(name)), each)
    return changed


def _is_quotation(whole: WholeFile, old: str | None) -> bool:
    return old is not None and bool(is_part(whole, old) or elided_line(whole, old))


def _edited(name: str, data: bytes | None, edit: SearchBlock | FileDiff) -> bytes:
    if isinstance(edit, FileDiff):
        if data is None or edit.is_new:
            added = [line for hunk in edit.hunks for sign, line in hunk.lines if sign != "-"]
            return ("\n".join(added) + "\n").encode()
        return _bytes(name, data, lambda text: apply_hunks(name, text or "", edit.hunks))
    return _bytes(name, data, lambda text: _replaced(name, text, edit))


def _replaced(name: str, text: str | None, block: SearchBlock) -> str:
    """Return a file's text with a block in it; of several ======= lines, the last one that gives lines of the file."""
    flaw: Unusable | None = None
    for divider in reversed(block.dividers):
        old, new = split_at(block, divider)
        if not any(line.strip() for line in old):
            if text is None or not text.strip():
                return "\n".join(new) + "\n"
            flaw = flaw or Unusable(f"a SEARCH block for {name} is empty; copy the lines to replace into it")
            continue
        if text is None:
            raise Unusable(f"{name} does not exist, so SEARCH cannot match; leave SEARCH empty")
        try:
            return replace_lines(name, text, old, new)
        except Unusable as error:
            flaw = error
    assert flaw is not None
    raise flaw


def _text(name: str, data: bytes | None) -> str | None:
    """Return the text of a file with line feeds; None if there is no file."""
    try:
        return None if data is None else data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise Unusable(f"{name} is not a text file; do not change it") from None


def _bytes(name: str, data: bytes | None, change: Callable[[str | None], str]) -> bytes:
    """Return the contents of a file after a change of its text; the ends of its lines stay what they were."""
    text = change(_text(name, data))
    return (text.replace("\n", "\r\n") if data and b"\r\n" in data else text).encode()


def check_parses(name: str, data: bytes) -> None:
    """Check that a changed file parses, if it is Python.

    Raises:
        Unusable: It does not.
    """
    if not name.endswith(".py"):
        return
    try:
        parse_python(data)
    except SyntaxError as error:
        line = f"{(error.text or '').strip()[:80]!r}, line {error.lineno or 1}"
        raise Unusable(f"{name} does not parse after the change: {error.msg} ({line})") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unusable(f"{name} does not parse after the change: {error or type(error).__name__}") from None


def _number(text: str) -> float | None:
    """Return the number in a field; None if there is none, or if it is a percentage of an unknown whole."""
    match = _NUMBER.search(text)
    value = float(match[0]) if match and "%" not in text else math.inf
    return value if abs(value) <= MAX_NUMBER else None


def _share(text: str) -> float | None:
    match = _NUMBER.search(text)
    value = float(match[0]) / (100 if "%" in text else 1) if match else -1.0
    return value if 0 <= value <= 1 else None
