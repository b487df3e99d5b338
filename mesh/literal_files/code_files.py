"""The literals of languages other than Python: named constants, and numbers with a range in a comment behind them.

No parser: comments and texts are masked, then each family of languages has a few patterns of a line that names a
constant, such as `#define N 12`, `const X: f64 = 0.5;`, `rate <- 0.1`, `N=3`. A comment such as `// mesh: 1..9` makes a
knob of the last number before it in its line. Files of one kind share one `Language`.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache, partial

from msgspec.structs import replace

from mesh.events import Scalar
from mesh.literal_files.accumulators import without_accumulators
from mesh.literal_files.code_scopes import CodeScopes
from mesh.literal_files.comment_styles import CommentStyle, Masked, comment_style, masked
from mesh.literal_files.found import in_bytes, numbered, range_comment
from mesh.literal_files.number_text import NUMBER, SUFFIX, UNIT, number_in, respelled
from mesh.literal_files.turnable import with_reason, without_enumerations
from mesh.source_literal import Language, SourceLiteral

MAX_SOURCE_CHARACTERS, MAX_LINE_CHARACTERS = 1024 * 1024, 2000
"""A longer file has no literals, and so has a longer line: it was written by a program."""

_NUM = rf"(?P<num>{NUMBER}{SUFFIX})(?![\w.])"
_MEASURE = rf"(?P<num>{NUMBER}(?:{UNIT}|{SUFFIX}))(?![\w.])"
_NAME, _STOP = r"(?P<name>[A-Za-z_$][\w$]*)", r"[ \t]*[;,]?[ \t\r]*$"
_TYPE = r"(?:[ \t]*:[ \t]*[&'\w<>\[\]:]+)?"
_FAMILIES: dict[str, tuple[str, ...]] = {
    "braces": (
        rf"^[ \t]*+\#[ \t]*define[ \t]+{_NAME}[ \t]+\(?{_NUM}\)?[ \t\r]*$",
        rf"^[ \t]*+(?P<words>(?:[\w:<>,*&\[\]()@]+[ \t]+)+?){_NAME}{_TYPE}[ \t]*(?:=[ \t]*|\{{){_NUM}\}}?{_STOP}",
        rf"^[ \t]*+(?:(?:this|self)(?:\.|->)|\$){_NAME}[ \t]*=[ \t]*{_NUM}{_STOP}",
        rf"^[ \t]*+{_NAME}[ \t]*:=[ \t]*{_NUM}{_STOP}",
        rf"^[ \t]*+\.{_NAME}[ \t]*=[ \t]*{_NUM}[ \t]*,?[ \t\r]*$",
        rf"(?:(?<=[{{,])|^)[ \t]*[\"']?(?P<name>[A-Za-z_$][\w$-]*)[\"']?[ \t]*:[ \t]*{_NUM}[ \t]*(?=[,}}\r\n]|$)",
    ),
    "assign": (
        r"^[ \t]*+(?P<words>(?:(?:local|const|global|my|our|let|set|export)[ \t]+)*"
        r"(?:[\w, \t()*=]{1,80}[ \t]::[ \t]*)?)"
        rf"[$@]?(?P<name>[A-Za-z_][\w.]*)(?P<type>::\w+)?[ \t]*(?:<?<-|:?=)[ \t]*{_NUM}{_STOP}",
    ),
    "shell": (
        r"^[ \t]*+(?:(?:export|local|readonly|declare|typeset)[ \t]+(?:-\w+[ \t]+)*)?"
        rf"{_NAME}=(?:\$\{{\w+:?[-=])?{_NUM}\}}?[ \t\r;]*$",
    ),
    "make": (rf"^(?:override[ \t]+|export[ \t]+)?{_NAME}[ \t]*[:?]?:?=[ \t]*{_NUM}[ \t\r]*$",),
    "docker": (rf"(?:^[ \t]*(?:ARG|ENV)[ \t]+|(?<=[ \t])){_NAME}(?:=|[ \t]+(?=\S+[ \t\r]*$)){_NUM}(?=[ \t\r]|$)",),
    "sql": (
        r"^[ \t]*+(?i:SET|PRAGMA|ALTER[ \t]+SYSTEM[ \t]+SET)[ \t]+(?i:(?:SESSION|GLOBAL|LOCAL)[ \t]+)?"
        rf"(?P<name>[\w.]+)[ \t]*(?:=|(?i:\bTO\b)|[ \t])[ \t]*\(?{_NUM}\)?[ \t]*;?[ \t\r]*$",
        rf"(?<![\w.]){_NUM}[ \t]+(?i:AS)[ \t]+{_NAME}",
    ),
    "sheet": (rf"(?:^|(?<=[{{;]))[ \t]*(?P<name>(?:--|\$|@)[\w-]+)[ \t]*:[ \t]*{_MEASURE}[ \t]*(?=[;!}}\r\n]|$)",),
    "lisp": (rf"\((?:def[\w*]*|setq|setf|define)[ \t]+(?P<name>[^\s()]+)[ \t]+{_NUM}[ \t]*\)",),
    "page": (),
}
_GO_BLOCK = re.compile(r"^[ \t]*+(?:const|var)[ \t]*\((?P<body>.*?)^[ \t]*\)", re.MULTILINE | re.DOTALL)
_GO_LINE = re.compile(rf"^[ \t]*+{_NAME}(?:[ \t]+[\w.]+)?[ \t]*=[ \t]*{_NUM}{_STOP}", re.MULTILINE)
_LONG_LINE = re.compile(rf"[^\n]{{{MAX_LINE_CHARACTERS},}}")
_FINE_UNITS = ("rem", "em", "fr", "turn")
_ANY = re.compile(rf"(?<![\w.$@#]){_MEASURE}")
_LAST_WORD = re.compile(r"(?P<text>\"[^\"\\\n]*\"|'[^'\\\n]*'|[\w.-]+)[\s;,)\]}>]*\Z")
_NO_NAMES = frozenset(
    [
        "return",
        "else",
        "case",
        "goto",
        "throw",
        "delete",
        "if",
        "while",
        "for",
        "switch",
        "package",
        "import",
        "using",
        "assert",
        "typedef",
    ]
)
_FRACTIONS = re.compile(r"\b(?:double|float|half|real|f32|f64|Float\d*|Double|float32|float64)\b")


@lru_cache(maxsize=64)
def code_literals(source: str, style: CommentStyle) -> tuple[SourceLiteral, ...]:
    """Return the literals of a source in the order in which they stand.

    Args:
        source: The text of the file.
        style: How its language writes comments, texts and constants.
    """
    if len(source) > MAX_SOURCE_CHARACTERS:
        return ()
    mask = masked(source, style)
    mask = mask._replace(code=_LONG_LINE.sub(lambda line: "\0" * len(line[0]), mask.code))
    scopes = CodeScopes(mask.code, sheet=style.family == "sheet") if style.family in ("braces", "sheet") else None

    def scope(at: int) -> str:
        return scopes.at(at) if scopes else ""

    ends = [match.start() for match in re.finditer("\n", source)]
    named = {one.start: one for one in _named(source, mask.code, style.family)}
    starts = sorted(named)
    found = without_enumerations(
        [with_reason(_placed(named[start], scope(start))) for start in starts],
        [bisect_left(ends, start) for start in starts],
    )
    if style.family in ("braces", "assign"):
        found = without_accumulators(found, mask.code, scopes, names=[named[start].name for start in starts])
    by_start = {one.start: one for one in found}
    for begin, literal in _commented(source, mask, style.family):
        before = by_start.get(begin)
        by_start[begin] = replace(before, comment=literal.comment) if before else _placed(literal, scope(begin))
    return in_bytes(source, numbered(by_start[start] for start in sorted(by_start)))


def _placed(literal: SourceLiteral, scope: str) -> SourceLiteral:
    return replace(literal, name=f"{scope}.{literal.name}" if scope else literal.name, scope=scope)


def _named(source: str, code: str, family: str) -> Iterator[SourceLiteral]:
    for pattern in _FAMILIES[family]:
        for match in re.finditer(pattern, code, re.MULTILINE):
            words = (match.groupdict().get("words") or "").split()
            if not (words and words[0] in _NO_NAMES):
                yield from _constant(source, match)
    if family == "braces":
        for block in _GO_BLOCK.finditer(code):
            for match in _GO_LINE.finditer(code, block.start("body"), block.end("body")):
                yield from _constant(source, match)


def _constant(source: str, match: re.Match[str]) -> Iterator[SourceLiteral]:
    start, end = match.span("num")
    if number := number_in(source[start:end]):
        declared = f"{match.groupdict().get('words') or ''} {source[match.end('name') : start]}"
        is_fraction = number.suffix in _FINE_UNITS or _FRACTIONS.search(declared)
        value = float(number.value) if is_fraction else number.value
        yield SourceLiteral(name=source[slice(*match.span("name"))], start=start, end=end, value=value)


def _commented(source: str, mask: Masked, family: str) -> Iterator[tuple[int, SourceLiteral]]:
    """Yield the literals that a comment in their line gives a range; in a Dockerfile it is the line before."""
    for begin, end, words in mask.comments:
        comment = range_comment(words)
        if not comment:
            continue
        line = source.rfind("\n", 0, begin) + 1
        if family == "docker" and not source[line:begin].strip():
            line = source.find("\n", end) + 1
            begin = source.find("\n", line) if line and source.find("\n", line) > 0 else len(source)
        if literal := _before(source, mask.code, line, begin, comment):
            yield literal.start, literal


def _before(source: str, code: str, line: int, end: int, comment: str) -> SourceLiteral | None:
    """Return the last number of a line before its comment; for words to choose from, the last word or number."""
    start = stop = end
    value: Scalar | None = None
    last = _LAST_WORD.search(source, line, end)
    numbers = [match for match in _ANY.finditer(code, line, end) if number_in(match["num"])]
    is_text = "choices" in comment and last and (not numbers or numbers[-1].start() < last.start("text"))
    if is_text and last:
        quoted = last["text"][0] in "\"'"
        start, stop = last.start("text") + quoted, last.end("text") - quoted
        value = source[start:stop]
        if number := number_in(value):
            value = number.value
    elif numbers:
        start, stop = _signed(code, line, numbers[-1].start()), numbers[-1].end()
        number = number_in(source[start:stop])
        value = number.value if number else None
    if value is None or start >= stop:
        return None
    words = re.findall(r"(?<![\w.-])(?:--)?[A-Za-z_$][\w$-]*", code[line:start])
    return SourceLiteral(
        name=words[-1] if words else "number",
        start=start,
        end=stop,
        value=value,
        comment=comment,
        is_named=False,
        is_word=isinstance(value, str),
    )


def _signed(code: str, line: int, start: int) -> int:
    """Return where a number begins: a plus or minus that joins it to what is before it is not a part of it."""
    if code[start] not in "+-":
        return start
    before = code[line:start].rstrip()
    return start if not before or before[-1] in "=([{,:<>?&|" or before.endswith("return") else start + 1


def code_spelled(value: Scalar, literal: SourceLiteral, old: bytes) -> bytes:
    """Return the text of a value with the suffix or unit of the old one; the quotes of a text are not part of it."""
    return respelled(value, old.decode()).encode()


def code_language(file: str) -> Language | None:
    """Return the language of a file by its suffix or name; None if its comments are not known."""
    style = comment_style(file)
    return Language(partial(code_literals, style=style), code_spelled) if style else None
