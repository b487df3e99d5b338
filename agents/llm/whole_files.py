"""Tells whole files in an answer from parts and quotations, and puts them where the task lets them be. Pure.

A fence may have the whole file, the inside of its EVOLVE-BLOCK, one function of it, or the file with its middle left
out. Only the first two can be used.
"""

import ast
import re
from collections.abc import Mapping, Sequence

from agents.llm.answer_names import by_language
from agents.llm.edits import WholeFile
from mesh.answer_flaw import Unusable, one_line
from mesh.python_syntax import parse_python

_START, _END = re.compile(r"\W*EVOLVE-BLOCK-START\b"), re.compile(r"\W*EVOLVE-BLOCK-END\b")
_ELIDED = re.compile(
    r"\s*(?:#|//|--|;|%|/\*|<!--)\s*[\[(<]?\s*(?:"
    r"(?:\.{3}|…)(?:\s*|.{0,60}(?:\.{3}|…|\b(?:unchanged|same|existing|rest|remaining|omitted|before|previous)\b).{0,30})"
    r"|(?:keep |all |the )*(?:rest|remaining|remainder|existing|previous|other|original)\b.{0,40}"
    r"\b(?:unchanged|the same|omitted|as before|goes? here|as is)\b.{0,20}"
    r"|(?:keep |the )*(?:rest|remainder) of (?:the |this )?(?:\w+ )?(?:code|file|program|function|class|method)s?"
    r"|(?:keep )?(?:existing|previous|unchanged|same) (?:code|imports|functions)|(?:code )?unchanged|same as before"
    r")\W{0,8}",
    re.IGNORECASE,
)


def file_of_whole(whole: WholeFile, files: Mapping[str, bytes], editable: Sequence[str]) -> str:
    """Return the file that a fence without a name is for; "" if it is none, but a command or output.

    Raises:
        Unusable: It may be several files.
    """
    candidates = by_language(whole.info, editable)
    if not candidates:
        return ""
    if len(candidates) == 1:
        return candidates[0]
    new = {line.strip() for line in whole.lines if line.strip()}
    shared = {name: len(new & {line.strip() for line in _text(files, name).split("\n")}) for name in candidates}
    best, second = sorted(candidates, key=lambda name: -shared[name])[:2]
    if shared[best] >= max(2, 2 * shared[second]):
        return best
    raise Unusable(f"a change has no file name; write FILE: and one of {', '.join(editable)} before it")


def is_part(whole: WholeFile, old: str) -> bool:
    """Tell whether a fence has a part of the file only, so that it cannot be the file.

    Args:
        whole: The fence.
        old: The file before the change, or the inside of its EVOLVE-BLOCK.
    """
    new = [line for line in whole.lines if line.strip()]
    lines = [line for line in old.split("\n") if line.strip()]
    least = 0.25 if whole.name else 0.6
    if len(new) >= least * len(lines) or (whole.name and len(lines) < 20):
        return False
    missing = _defined(old) - _defined("\n".join(new))
    return bool(missing) if _defined(old) else len(new) < 0.5 * len(lines)


def elided_line(whole: WholeFile, old: str) -> str:
    """Return the line that stands for code which the model left out, "" if there is none."""
    known = {line.strip() for line in old.split("\n")}
    for line in whole.lines:
        if line.strip() in known or not line.strip():
            continue
        if _ELIDED.fullmatch(line):
            return line
    return ""


def whole_text(name: str, whole: WholeFile, old: str | None) -> str:
    """Return the text of a file that a fence gives.

    A file with one EVOLVE-BLOCK keeps its marks: a fence without them is the inside of the block, or the whole file if
    it also has the lines outside of the block.

    Raises:
        Unusable: The fence has a part of the file only.
    """
    lines = list(whole.lines)
    if old is None:
        return _ended("\n".join(lines))
    if line := elided_line(whole, old):
        raise Unusable(f"the text of {name} leaves code out ({one_line(line)[:60]!r}); write every line of the file")
    parts, own = _parts(old.split("\n")), _parts(lines)
    if parts and own and not any(line.strip() for line in (*own[0][:-1], *own[2][1:])):
        lines, own = own[1], None  # the block alone, with its marks
    if parts is None or own is not None:
        if is_part(whole, old):
            raise Unusable(_too_short(name, whole, old))
        return _ended("\n".join(lines))
    before, inside, behind = parts
    lines = [line for line in lines if not _START.match(line) and not _END.match(line)]
    outside = [[line.rstrip() for line in part if line.strip()] for part in (before[:-1], behind[1:])]
    plain = [line.rstrip() for line in lines if line.strip()]
    if all(line in plain for part in outside for line in part):
        if is_part(whole, old):
            raise Unusable(_too_short(name, whole, old))
        first, last = _edge(lines, outside[0]), len(lines) - _edge(lines[::-1], outside[1][::-1])
        if first <= last and (outside[0] == [] or first) and (outside[1] == [] or last < len(lines)):
            lines = [*before, *_bare(lines[first:last]), *behind]
        return _ended("\n".join(lines))
    if is_part(whole, "\n".join(inside)):
        raise Unusable(_too_short(name, whole, old))
    return _ended("\n".join([*before, *_bare(lines), *behind]))


def _too_short(name: str, whole: WholeFile, old: str) -> str:
    new, lines = len(whole.lines), len(old.rstrip("\n").split("\n"))
    return (
        f"the code in the fence has {new} line{'s' if new != 1 else ''} and is only a part of {name}, "
        f"which has {lines}; write SEARCH/REPLACE blocks or the whole file"
    )


def _parts(lines: Sequence[str]) -> tuple[list[str], list[str], list[str]] | None:
    """Return the lines to the start mark, inside of it, and from the end mark on; None unless there is one block."""
    starts = [number for number, line in enumerate(lines) if _START.match(line)]
    ends = [number for number, line in enumerate(lines) if _END.match(line)]
    if len(starts) != 1 or len(ends) != 1 or starts[0] > ends[0]:
        return None
    return list(lines[: starts[0] + 1]), list(lines[starts[0] + 1 : ends[0]]), list(lines[ends[0] :])


def _edge(lines: Sequence[str], wanted: Sequence[str]) -> int:
    """Return how many lines at the beginning are these, empty lines aside; 0 if they are others."""
    at, left = 0, list(wanted)
    while left and at < len(lines):
        if lines[at].strip():
            if lines[at].rstrip() != left[0]:
                return 0
            left.pop(0)
        at += 1
    return at if not left else 0


def _bare(lines: Sequence[str]) -> list[str]:
    """Return lines without the empty ones around them."""
    full = [number for number, line in enumerate(lines) if line.strip()]
    return list(lines[full[0] : full[-1] + 1]) if full else []


def _defined(text: str) -> set[str]:
    """Return the names of the functions and classes at the top of a Python text; empty if it is none."""
    try:
        body = parse_python(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {*re.findall(r"^(?:async\s+)?(?:def|class|fn|func|function)\s+(\w+)", text, re.MULTILINE)}
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def _text(files: Mapping[str, bytes], name: str) -> str:
    return files.get(name, b"").decode(errors="replace")


def _ended(text: str) -> str:
    return text.strip("\n") + "\n" if text.strip() else text
