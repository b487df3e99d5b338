"""Which module reads the literals of which file, and the one edit that replaces some of them."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from mesh.events import Scalar
from mesh.python_literals import PYTHON_FILES
from mesh.source_literal import Language, SourceLiteral

LANGUAGES: dict[str, Language] = {".py": PYTHON_FILES}
"""The languages whose literals are read, by the suffix of the file."""


def language_of(file: str) -> Language | None:
    """Return the language of a file by its name, None if its literals are not read."""
    return LANGUAGES.get(PurePosixPath(file).suffix.lower())


def literals_of(file: str, source: str) -> Sequence[SourceLiteral]:
    """Return the literals of a file in the order in which they stand; none if it cannot be read."""
    language = language_of(file)
    return language.literals(source) if language else ()


def replace_literals(file: str, source: str, values: Mapping[str, Scalar]) -> str:
    """Return `source` with the named literals replaced; every other byte stays.

    Raises:
        KeyError: A literal does not exist.
    """
    language = language_of(file)
    found = [literal for literal in literals_of(file, source) if literal.name in values]
    if missing := sorted(set(values) - {literal.name for literal in found}):
        raise KeyError(missing[0])
    assert language or not found
    data, at, parts = source.encode(), 0, []
    for literal in sorted(found, key=lambda each: each.start):
        old = data[literal.start : literal.end]
        assert language
        parts += [data[at : literal.start], language.spelled(values[literal.name], literal, old)]
        at = literal.end
    return b"".join([*parts, data[at:]]).decode()
