"""The literals of TOML, named by their path: `train.lr`, `rules[3].weight`. A comment `# mesh: 0..1` may stand behind.

The positions come from a scanner of our own. It must find what Python's parser finds, or the file has no literals.
"""

import json
import re
import tomllib
from collections import Counter
from functools import lru_cache
from typing import Any

from mesh.events import Scalar
from mesh.literal_files.found import alike_as_floats, in_bytes, key_path, range_comment, unique
from mesh.literal_files.number_text import number_in, respelled
from mesh.literal_files.turnable import with_reason, without_data
from mesh.source_literal import Language, SourceLiteral

_SPACE = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_TEXT = re.compile(r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL)
_WORD = re.compile(r"[^\s,\]}#]+(?: \d\d:[^\s,\]}#]+)?")
_BEHIND = re.compile(r"[ \t,\]}]*#([^\n]*)")
_TRUTH = {"true": True, "false": False}
_MAX_DEPTH = 50


class _Bad(Exception):
    """The text is no TOML that this scanner knows."""


@lru_cache(maxsize=64)
def toml_literals(source: str) -> tuple[SourceLiteral, ...]:
    """Return the literals of a TOML text in the order in which they stand; none if it cannot be read."""
    scanner = _Scanner(source)
    try:
        document = tomllib.loads(source.removeprefix("\ufeff"))
        scanner.scan()
    except (ValueError, RecursionError, _Bad):
        return ()
    if any(_at(document, steps) != value for steps, value in scanner.values):
        return ()
    return in_bytes(source, [with_reason(one) for one in without_data(alike_as_floats(unique(scanner.found)))])


class _Scanner:
    def __init__(self, source: str) -> None:
        self.source, self.at = source, 1 if source.startswith("\ufeff") else 0
        self.found: list[SourceLiteral] = []
        self.values: list[tuple[tuple[str | int, ...], Scalar]] = []
        self._tables: Counter[tuple[str | int, ...]] = Counter()

    def scan(self) -> None:
        table: tuple[str | int, ...] = ()
        while True:
            self._skip(_GAP)
            if self.at >= len(self.source):
                return
            if self._take("[["):
                steps = self._inside(self._keys())
                self._need("]]")
                table = (*steps, self._tables[steps])
                self._tables[steps] += 1
            elif self._take("["):
                table = self._inside(self._keys())
                self._need("]")
            else:
                steps = (*table, *self._keys())
                self._need("=")
                self._value(steps, 0)

    def _inside(self, keys: tuple[str, ...]) -> tuple[str | int, ...]:
        """Return the path of a table's keys, each array of tables on the way with the number of its last element."""
        path: tuple[str | int, ...] = ()
        for key in keys[:-1]:
            path = (*path, key)
            if self._tables[path]:
                path = (*path, self._tables[path] - 1)
        return (*path, keys[-1])

    def _value(self, steps: tuple[str | int, ...], depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _Bad
        self._skip(_SPACE)
        start = self.at
        if self._take("["):
            number = 0
            while not self._closes("]"):
                self._value((*steps, number), depth + 1)
                self._skip(_GAP)
                number += 1
                if not self._take(","):
                    self._need("]")
                    return
        elif self._take("{"):
            while not self._closes("}"):
                keys = self._keys()
                self._need("=")
                self._value((*steps, *keys), depth + 1)
                self._skip(_GAP)
                if not self._take(","):
                    self._need("}")
                    return
        elif match := _TEXT.match(self.source, start):
            self.at = match.end()
            if match[0][:3] not in ('"""', "'''"):
                self._add(steps, start, None)
        elif match := _WORD.match(self.source, start):
            self.at = match.end()
            number_text = number_in(match[0])
            value = _TRUTH.get(match[0]) if number_text is None else number_text.value
            if value is not None and not (number_text and number_text.suffix):
                self._add(steps, start, value)
        else:
            raise _Bad

    def _add(self, steps: tuple[str | int, ...], start: int, value: Scalar | None) -> None:
        behind = _BEHIND.match(self.source, self.at)
        comment = range_comment(behind[1]) if behind else ""
        if value is None:
            if not comment:
                return
            value = _text(self.source[start : self.at])
        self.values.append((steps, value))
        name, scope = _name(steps), _name(steps[:-1])
        self.found.append(SourceLiteral(name=name, start=start, end=self.at, value=value, comment=comment, scope=scope))

    def _keys(self) -> tuple[str, ...]:
        keys = []
        while True:
            match = _KEY.match(self.source, self.at)
            if match is None:
                raise _Bad
            self.at = match.end()
            keys.append(_text(match[1]) if match[1][0] in "\"'" else match[1])
            if not self._take("."):
                return tuple(keys)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.source, self.at)
        self.at = match.end() if match else self.at

    def _closes(self, sign: str) -> bool:
        self._skip(_GAP)
        return self._take(sign)

    def _take(self, sign: str) -> bool:
        there = self.source.startswith(sign, self.at)
        self.at += len(sign) if there else 0
        return there

    def _need(self, sign: str) -> None:
        self._skip(_SPACE)
        if not self._take(sign):
            raise _Bad


def _text(quoted: str) -> str:
    return quoted[1:-1] if quoted[0] == "'" else str(tomllib.loads(f"x = {quoted}")["x"])


def _name(steps: tuple[str | int, ...]) -> str:
    path = ""
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else key_path(path, step)
    return path


def _at(document: Any, steps: tuple[str | int, ...]) -> Any:
    try:
        for step in steps:
            document = document[step]
    except (KeyError, IndexError, TypeError):
        return None
    return document


def toml_spelled(value: Scalar, literal: SourceLiteral, old: bytes) -> bytes:
    """Return the TOML text of a value; a text keeps its quotes."""
    if not isinstance(value, str):
        return respelled(value, old.decode()).encode()
    is_literal = old[:1] == b"'" and "'" not in value and value.isprintable()
    return (f"'{value}'" if is_literal else json.dumps(value, ensure_ascii=False)).encode()


TOML_FILES = Language(toml_literals, toml_spelled)
