"""The literals of JSON, also with comments, trailing commas and unquoted keys (JSONC, JSON5).

A literal is named by its path: `train.lr`, `rules[3].weight`. A comment `// mesh: 0..1` may stand behind it.
"""

import json
import re
from functools import lru_cache

from mesh.events import Scalar
from mesh.literal_files.found import alike_as_floats, in_bytes, key_path, range_comment, unique
from mesh.literal_files.number_text import number_in, respelled
from mesh.literal_files.turnable import with_reason, without_data
from mesh.source_literal import Language, SourceLiteral

_TOKEN = re.compile(
    r"""(?P<space>[\s\ufeff]+|//[^\n]*|/\*.*?\*/|\#[^\n]*)
      |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      |(?P<sign>[{}\[\],:])
      |(?P<word>[^\s{}\[\],:"'/\#]+)""",
    re.DOTALL | re.VERBOSE,
)
_BEHIND = re.compile(r"[ \t,\]}]*(?://|/\*|\#)([^\n]*)")
_TRUTH = {"true": True, "false": False}
_ENDS = {("{", "}"): "key", ("[", "]"): "value"}
_NOT_VALUES = "}],:"


@lru_cache(maxsize=64)
def json_literals(source: str) -> tuple[SourceLiteral, ...]:
    """Return the literals of a JSON text in the order in which they stand; none if it cannot be read."""
    found: list[SourceLiteral] = []
    open_in: list[tuple[str, str, int]] = []  # for each open bracket: the bracket, its path, elements so far
    key: str | None = None
    waits = "value"  # or "key", "colon", "comma", "end"
    at = 0
    while at < len(source):
        token = _TOKEN.match(source, at)
        if token is None:
            return ()
        at, text = token.end(), token[0]
        if token["space"]:
            continue
        bracket, path, count = open_in[-1] if open_in else ("", "", 0)
        if (bracket, text) in _ENDS and waits in ("comma", _ENDS[bracket, text]):
            open_in.pop()
            waits = "comma" if open_in else "end"
        elif waits == "comma" and text == ",":
            waits = "key" if bracket == "{" else "value"
        elif waits == "colon" and text == ":":
            waits = "value"
        elif waits == "key" and (token["string"] or token["word"]):
            key, waits = _unquoted(text), "colon"
        elif waits == "value" and text not in _NOT_VALUES:
            here = key_path(path, key or "") if bracket == "{" else f"{path}[{count}]" if bracket else ""
            if open_in:
                open_in[-1] = (bracket, path, count + 1)
            if text in "{[":
                open_in.append((text, here, 0))
                waits = "key" if text == "{" else "value"
                continue
            waits = "comma" if open_in else "end"
            found += _literal(source, token, here, path)
        else:
            return ()
    if open_in or waits != "end":
        return ()
    return in_bytes(source, [with_reason(one) for one in without_data(alike_as_floats(unique(found)))])


def _literal(source: str, token: re.Match[str], name: str, scope: str) -> list[SourceLiteral]:
    behind = _BEHIND.match(source, token.end())
    comment = range_comment(behind[1]) if behind else ""
    value: Scalar | None = None
    if token["word"]:
        number = number_in(token[0])
        value = _TRUTH.get(token[0]) if number is None else number.value if not number.suffix else None
    elif comment:
        value = _unquoted(token[0])
    if value is None:
        return []
    return [SourceLiteral(name=name, start=token.start(), end=token.end(), value=value, comment=comment, scope=scope)]


def _unquoted(text: str) -> str:
    if text[0] not in "\"'":
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def json_spelled(value: Scalar, literal: SourceLiteral, old: bytes) -> bytes:
    """Return the JSON text of a value; a text keeps its quotes."""
    if not isinstance(value, str):
        return respelled(value, old.decode()).encode()
    quoted = json.dumps(value, ensure_ascii=False)
    if old[:1] == b"'":
        quoted = "'" + quoted[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
    return quoted.encode()


JSON_FILES = Language(json_literals, json_spelled)
