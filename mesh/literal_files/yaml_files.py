"""The literals of YAML: plain numbers and truth values, named by their path, such as `train.lr` or `rules[3].weight`.

Values of the second document and the next ones are named with its number: `[1].train.lr`. A value with an anchor is a
literal where the anchor stands; an alias repeats it. A comment `# mesh: 1e-4..1e-1 log` may stand behind a value.
"""

import json
import re
from functools import lru_cache
from typing import Any

from mesh.events import Scalar
from mesh.literal_files.found import alike_as_floats, in_bytes, key_path, range_comment, unique
from mesh.literal_files.number_text import number_in, parse_truth, respelled
from mesh.literal_files.turnable import with_reason, without_data
from mesh.source_literal import Language, SourceLiteral

MAX_YAML_CHARACTERS = 256 * 1024
"""A longer file has no literals: parsing takes seconds for each megabyte."""

MAX_BRACKETS = 1000
"""A file with more has none either: the parser takes seconds for brackets inside of brackets."""

_BEHIND = re.compile(r"[ \t,\]}]*[ \t]#([^\n]*)")


@lru_cache(maxsize=64)
def yaml_literals(source: str) -> tuple[SourceLiteral, ...]:
    """Return the literals of a YAML text in the order in which they stand; none if it cannot be read."""
    import yaml

    if len(source) > MAX_YAML_CHARACTERS or source.count("[") + source.count("{") > MAX_BRACKETS:
        return ()
    found: list[SourceLiteral] = []
    try:
        for number, document in enumerate(yaml.compose_all(source, yaml.SafeLoader)):
            _walk(source, document, f"[{number}]" if number else "", "", found, set())
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        return ()
    return in_bytes(source, [with_reason(one) for one in without_data(alike_as_floats(unique(found)))])


def _walk(source: str, node: Any, name: str, scope: str, found: list[SourceLiteral], seen: set[int]) -> None:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if node.id == "mapping":
        for key, value in node.value:
            if key.id == "scalar" and key.value != "<<":
                _walk(source, value, key_path(name, key.value), name, found, seen)
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            _walk(source, value, f"{name}[{number}]", scope, found, seen)
    else:
        found += _literal(source, node, name, scope)


def _literal(source: str, node: Any, name: str, scope: str) -> list[SourceLiteral]:
    end = node.end_mark.index
    behind = _BEHIND.match(source, end)
    comment = range_comment(behind[1]) if behind else ""
    value: Scalar | None
    if node.style:
        start = source.find(node.style, node.start_mark.index, end)
        value = node.value if comment and node.style in "\"'" else None
    else:
        start = end - len(node.value)
        number, truth = number_in(node.value), parse_truth(node.value)
        is_truth = node.tag.endswith(":bool") and truth is not None
        value = truth if is_truth else number.value if number else node.value if comment else None
    is_there = 0 <= start < end and (node.style or source[start:end] == node.value)
    if value is None or not is_there or node.start_mark.line != node.end_mark.line:
        return []
    is_word = isinstance(value, str) and not node.style
    return [SourceLiteral(name=name, start=start, end=end, value=value, comment=comment, scope=scope, is_word=is_word)]


def yaml_spelled(value: Scalar, literal: SourceLiteral, old: bytes) -> bytes:
    """Return the YAML text of a value; a text keeps its quotes, and a plain word stays plain."""
    if not isinstance(value, str):
        return respelled(value, old.decode()).encode()
    if old[:1] == b"'":
        return f"'{value.replace(chr(39), chr(39) * 2)}'".encode()
    return (json.dumps(value, ensure_ascii=False) if old[:1] == b'"' else value).encode()


YAML_FILES = Language(yaml_literals, yaml_spelled)
