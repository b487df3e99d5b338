"""Which module reads the literals of which file, and the one edit that replaces some of them."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from mesh.editable_regions import editable_spans
from mesh.events import Scalar
from mesh.literal_files.code_files import code_language
from mesh.literal_files.comment_styles import commented
from mesh.literal_files.json_files import JSON_FILES
from mesh.literal_files.settings_files import SETTINGS_FILES
from mesh.literal_files.toml_files import TOML_FILES
from mesh.literal_files.yaml_files import YAML_FILES
from mesh.python_literals import PYTHON_FILES
from mesh.source_literal import Language, SourceLiteral

LANGUAGES: dict[str, Language] = {
    ".py": PYTHON_FILES,
    **dict.fromkeys((".json", ".jsonc", ".json5", ".geojson", ".webmanifest", ".eslintrc", ".babelrc"), JSON_FILES),
    **dict.fromkeys((".yaml", ".yml"), YAML_FILES),
    ".toml": TOML_FILES,
    **dict.fromkeys((".ini", ".cfg", ".conf", ".cnf", ".env", ".properties", ".editorconfig"), SETTINGS_FILES),
}
"""The languages whose literals are read, by the suffix of the file; `code_language` knows those with comments."""


def language_of(file: str) -> Language | None:
    """Return the language of a file by its name, None if its literals are not read."""
    path = PurePosixPath(file.lower())
    name = path.suffix or f".{path.name.removeprefix('.')}"
    return LANGUAGES.get(name) or code_language(file)


def how_to_add_knobs(files: Sequence[str]) -> str:
    """Return in words how one gives a knob to files, in the language of the first of them."""
    comment = commented(files[0], "mesh: 1e-3..1.0 log") if files else ""
    if not comment or comment.startswith("#"):
        return f"add constants to {' or '.join(files)}, such as `LEARNING_RATE = 0.1  # mesh: 1e-3..1.0 log`"
    return f"give a number of {' or '.join(files)} a range in a comment behind it, such as `0.1  {comment}`"


def literals_of(file: str, source: str) -> Sequence[SourceLiteral]:
    """Return the literals of a file in the order in which they stand; none if it cannot be read.

    Of a file with editable regions, only those in a region.
    """
    language = language_of(file)
    found = language.literals(source) if language else ()
    if not found or "EVOLVE-BLOCK" not in source:
        return found
    spans = editable_spans(source.encode())
    return [one for one in found if any(start <= one.start and one.end <= end for start, end in spans)]


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
