"""The literals of a Python file: the values of module-level `ALL_CAPS` constants, and of the elements of short tuples.

An element is named by its place, such as `BETAS[0]`; the comment of the line applies to all of them.
"""

import ast
import re
from functools import lru_cache
from itertools import accumulate

from mesh.events import Scalar
from mesh.source_literal import Language, SourceLiteral

MAX_ELEMENTS = 8
"""Most elements of a tuple of knobs; a longer tuple counts as data."""

_NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


@lru_cache(maxsize=64)
def python_literals(source: str) -> tuple[SourceLiteral, ...]:
    """Return the literals of a Python source in the order of their lines; none if it does not parse."""
    try:
        body = ast.parse(source).body
    except _NO_PYTHON:
        return ()
    lines = source.encode().splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    found: list[SourceLiteral] = []
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if not isinstance(target, ast.Name) or not re.fullmatch(r"[A-Z][A-Z0-9_]*", target.id):
            continue
        try:
            literal = ast.literal_eval(value)
        except (*_NO_PYTHON, TypeError):
            continue
        if value.end_lineno != value.lineno:
            continue
        rest = lines[value.lineno - 1][_end(value) :].decode().rstrip("\r\n")
        parts: list[tuple[str, ast.expr, Scalar]] = []
        if _is_scalar(literal):
            parts = [(target.id, value, literal)]
        elif isinstance(value, ast.Tuple) and len(value.elts) <= MAX_ELEMENTS and all(map(_is_scalar, literal)):
            parts = [(f"{target.id}[{n}]", node, literal[n]) for n, node in enumerate(value.elts)]
        for name, node, scalar in parts:
            start = starts[node.lineno - 1]
            found.append(
                SourceLiteral(
                    name=name, start=start + node.col_offset, end=start + _end(node), value=scalar, comment=rest
                )
            )
    return tuple(found)


def python_spelled(value: Scalar, literal: SourceLiteral, old: bytes) -> bytes:
    """Return the Python spelling of a value; a string keeps the quotes of the old one.

    Args:
        value: The new value.
        literal: The literal that it replaces.
        old: The present text of the literal.
    """
    if literal.is_word:
        return str(value).encode()
    quote = old[:1].decode()
    if not isinstance(value, str) or quote not in ("'", '"'):
        return repr(value).encode()
    escaped = {"\\": r"\\", quote: f"\\{quote}"}
    plain = (escaped.get(c, c) if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return f"{quote}{''.join(plain)}{quote}".encode()


def _end(node: ast.expr) -> int:
    return node.end_col_offset or 0


def _is_scalar(literal: object) -> bool:
    return isinstance(literal, bool | int | float | str)


PYTHON_FILES = Language(python_literals, python_spelled)
