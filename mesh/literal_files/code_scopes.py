"""Names of the functions, types and objects that a line of a language with braces stands in."""

import re
from bisect import bisect_right

_CONTROL = frozenset("if for while switch match else do try catch loop unsafe finally return".split())  # noqa: SIM905
_DEEPEST = 20
"""Scopes inside of so many others have no name of their own."""
_NO_LABELS = _CONTROL | {"function", "fn", "func"}
_HEADS = (
    r"\b(?:class|struct|impl|namespace|enum|trait|interface|module|mod|object|union|record|extension|contract)\s+"
    r"(?:<[^>]*>\s*)?([\w.:]+)",
    r"\b(?:fn|func|function|fun|def|sub)\s+(?:\([^)]*\)\s*)?([\w.]+)\s*[<(]",
    r"([\w$-]+)[\"']?\s*[:=]\s*(?:async\s*)?(?:function\b[^{}]*|(?:\([^()]*\)|\w+)\s*(?::\s*\w+\s*)?=>\s*)$",
    r"([\w$-]+)[\"']?\s*(?::\s*[\w<>\[\]]+\s*)?[:=]\s*&?(?:[\w<>\[\].]+\s*)?$",
    r"([\w~]+)\s*\([^{};]*\)[^(){};]*$",
)


class CodeScopes:
    """The scopes of a source whose texts and comments are masked.

    Args:
        code: The masked source.
        sheet: Whether it is a style sheet, whose scopes are its selectors.
    """

    def __init__(self, code: str, *, sheet: bool = False) -> None:
        self._starts, self._paths = [0], [""]
        paths = [""]
        begin = 0
        for match in re.finditer(r"[{};]", code):
            if match[0] == "{":
                label = _label(code[begin : match.start()], sheet=sheet) if len(paths) < _DEEPEST else ""
                paths.append(f"{paths[-1]}.{label}" if label and paths[-1] else label or paths[-1])
            elif match[0] == "}" and len(paths) > 1:
                paths.pop()
            begin = match.end()
            if match[0] != ";":
                self._starts.append(match.end())
                self._paths.append(paths[-1])

    def at(self, place: int) -> str:
        """Return the path of the scopes around a character, "" at the top."""
        return self._paths[bisect_right(self._starts, place) - 1]


def _label(header: str, *, sheet: bool) -> str:
    text = header[-400:]
    if sheet:
        return re.sub(r"\([^()]*\)", "()", " ".join(text.split()))
    text = re.sub(r"^\s*#[^\n]*\n", "", text, flags=re.MULTILINE)
    first = re.match(r"\W*(\w+)", text)
    if first and first[1] in _CONTROL:
        return ""
    for pattern in _HEADS:
        matches = re.findall(pattern, text)
        if matches and matches[-1] not in _NO_LABELS:
            return str(matches[-1])
    return ""
