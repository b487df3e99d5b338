"""Reads an answer that is a JSON object: the form that providers can enforce, and that some models write unasked. Pure.

{"title": …, "rationale": …, "predicted_gain": 0.01, "confidence": 0.6,
 "files": [{"name": "train.py", "content": "the whole file"}],
 "edits": [{"name": "train.py", "search": "lines as they are", "replace": "lines as they should be"}]}
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agents.llm.edits import AnswerEdit, SearchBlock, WholeFile
from mesh.answer_flaw import Unusable
from mesh.diffs import read_diff

_FENCED = re.compile(
    r"[^{]{0,400}?(?:`{3,8}|~{3,8})(?:json|jsonc|json5)?[ \t]*\n(\{.*\})\s*(?:`{3,8}|~{3,8})?[^{}]{0,400}", re.DOTALL
)
_FILES, _EDITS = ("files", "file", "updated_files", "new_files"), ("edits", "changes", "blocks", "diffs", "patches")
_NAME = ("name", "path", "file", "filename", "file_name", "file_path", "filepath")
_TEXT = ("content", "contents", "code", "text", "source", "new_content")
_OLD = ("search", "old", "original", "before", "find", "old_string", "old_code", "old_str")
_NEW = ("replace", "new", "updated", "after", "replacement", "new_string", "new_code", "new_str")
_FIELDS = {
    "title": ("title", "name", "summary"),
    "rationale": ("rationale", "description", "reason", "reasoning", "explanation", "thought"),
    "predicted_gain": ("predicted_gain", "gain", "expected_gain"),
    "confidence": ("confidence",),
}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "rationale": {"type": "string"},
        "predicted_gain": {"type": "number"},
        "confidence": {"type": "number"},
        "files": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "content": {"type": "string"}},
                "required": ["name", "content"],
                "additionalProperties": False,
            },
        },
        "edits": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "search": {"type": "string"},
                    "replace": {"type": "string"},
                },
                "required": ["name", "search", "replace"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["title", "rationale", "predicted_gain", "confidence", "files", "edits"],
    "additionalProperties": False,
}
"""The JSON schema of an answer; all keys are required, as providers demand, and `files` or `edits` may be empty."""


def read_json(text: str) -> tuple[dict[str, str], list[AnswerEdit]] | None:
    """Return the fields and edits of an answer that is a JSON object; None if it is none.

    Raises:
        Unusable: It begins as such an object and cannot be read to its end.
    """
    plain = text.strip()
    if not plain.startswith("{"):
        fenced = _FENCED.fullmatch(plain) if "{" in plain else None
        if not fenced:
            return None
        plain = fenced[1]
    try:
        found = json.loads(plain, strict=False)
    except (ValueError, RecursionError) as error:
        if re.match(r'\{\s*"(?:title|rationale|files|edits|changes|code)"', plain):
            raise Unusable(f"the JSON object of the answer cannot be read: {error}; write it whole") from None
        return None
    if not isinstance(found, dict):
        return None
    fields = {str(key).lower(): value for key, value in found.items()}
    edits = list(_edits(fields))
    if not edits and not any(key in fields for key in (*_FILES, *_EDITS)):
        return None
    header = {field: str(value) for field, keys in _FIELDS.items() if (value := _first(fields, keys)) is not None}
    return header, edits


def _edits(fields: Mapping[str, Any]) -> Iterator[AnswerEdit]:
    for key in _FILES:
        match fields.get(key):
            case dict() as files:
                for name, content in files.items():
                    if isinstance(content, str):
                        yield _whole(name, content)
            case list() as files:
                for each in files:
                    yield from _edit(each)
    for key in _EDITS:
        match fields.get(key):
            case list() as edits:
                for each in edits:
                    yield from _edit(each)
            case str() as diff:
                yield from read_diff(diff.split("\n"))
    for key in ("diff", "patch"):
        if isinstance(fields.get(key), str):
            yield from read_diff(fields[key].split("\n"))
    for key in ("code", "program", "new_code"):
        if isinstance(code := fields.get(key), str) and not any(each in fields for each in (*_FILES, *_EDITS)):
            yield _whole(str(_first(fields, _NAME[1:]) or ""), code)


def _edit(each: Any) -> Iterator[AnswerEdit]:
    if not isinstance(each, dict):
        return
    fields = {str(key).lower(): value for key, value in each.items()}
    name = str(_first(fields, _NAME) or "")
    old, new, text = _first(fields, _OLD), _first(fields, _NEW), _first(fields, _TEXT)
    if isinstance(old, str) and isinstance(new, str):
        before = old.strip("\n").split("\n")
        yield SearchBlock(name, (*before, "=======", *new.strip("\n").split("\n")), (len(before),))
    elif isinstance(text, str):
        yield _whole(name, text)
    elif isinstance(fields.get("diff"), str):
        yield from read_diff(fields["diff"].split("\n"))


def _whole(name: str, content: str) -> WholeFile:
    fenced = re.fullmatch(r"\s*`{3,}[^\n]*\n(.*?)\n?`{3,}\s*", content, re.DOTALL)
    return WholeFile(name, tuple((fenced[1] if fenced else content).replace("\r\n", "\n").split("\n")))


def _first(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((fields[key] for key in keys if fields.get(key) is not None), None)
