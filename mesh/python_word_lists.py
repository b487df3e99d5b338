"""Lists of words in a Python source, each with the name of what the words are for.

A list stands in a comment or a docstring (`# loader: ['csv', 'json']`, `mode: fast, exact or both`, `kind = a | b`), in
the code (`MODES = ("fast", "exact")`, `{"loader": ["csv", "json"]}`), or in the comparisons of a parameter
(`if mode == "fast" ... elif mode == "exact"`).
"""

import ast
import re
import tokenize
from collections.abc import Iterator
from io import StringIO
from typing import NamedTuple

from mesh.python_syntax import Function, PythonSyntax, last_name

MAX_WORDS = 40
"""Most words of a list; a longer one counts as data."""

_WORD = r"[\w.+-]+"
_QUOTED = re.compile(rf"['\"`]({_WORD})['\"`]")
_LISTED = re.compile(
    r"^\s*(?:[-*+]\s+)?(?:(?:available|possible|valid|allowed|supported)\s+)?[`'\"]?([A-Za-z_]\w*)[`'\"]?"
    r"(?:\s+(?:options|choices|values))?\s*(?:\([^()]*\)\s*)?(?::|=|\s+in\b|\s+is\b)\s*(?:one\s+of\b|either\b|options?|choices)?:?\s*(.+?)[.;]?\s*$",
    re.IGNORECASE,
)
_BARE = re.compile(rf"{_WORD}(?:\s*(?:[|/,]|,?\s+or)\s+{_WORD}|[|/,]{_WORD})+")
_BETWEEN = re.compile(r"\s*[|/,]\s*(?:or\s+)?|\s+or\s+")
_OPEN_TO_CLOSE = {"[": "]", "(": ")", "{": "}"}
_ABOUT = re.compile(r"^(?:valid|allowed|known|all|available|supported|possible)_|_(?:choices|options|values|names)$")


class WordList(NamedTuple):
    """Words that something could be.

    Attributes:
        name: what it is, such as `loader`, in small letters.
        line: where the list stands, from 1.
        words: the words.
        source: a "remark" (a comment or a docstring), a "list" of the code, or a "comparison".
    """

    name: str
    line: int
    words: tuple[str, ...]
    source: str


def word_lists(syntax: PythonSyntax) -> list[WordList]:
    """Return the lists of words of a source, in the order in which they are looked for."""
    found = [WordList(name, line, words, "remark") for line, text in _remarks(syntax) for name, words in _of_line(text)]
    return [*found, *_of_code(syntax), *_of_comparisons(syntax)]


def _remarks(syntax: PythonSyntax) -> Iterator[tuple[int, str]]:
    """Yield the comments and the lines of the docstrings with their line numbers."""
    source = b"".join(syntax.lines).decode()
    try:
        for token in tokenize.generate_tokens(StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string.lstrip("#")
    except (tokenize.TokenError, SyntaxError):
        return
    for node in syntax.nodes:
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node, clean=False):
            text = node.body[0].value  # type: ignore[attr-defined]
            for number, line in enumerate(str(text.value).splitlines()):
                yield text.lineno + number, line


def _of_line(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    match = _LISTED.match(text)
    if not match:
        return
    listed = match[2]
    close = _OPEN_TO_CLOSE.get(listed[0])
    if close and close in listed:
        listed = listed[1 : listed.index(close)].strip()
    words = tuple(_QUOTED.findall(listed))
    if not words and _BARE.fullmatch(listed):
        words = tuple(filter(None, _BETWEEN.split(listed)))
    if 1 < len(words) <= MAX_WORDS:
        yield match[1].lower(), words


def _of_code(syntax: PythonSyntax) -> Iterator[WordList]:
    """Yield the lists that are assigned to a name in the plural, or stand under a key."""
    for node in syntax.nodes:
        match node:
            case ast.Assign(targets=[ast.Name() | ast.Attribute() as target], value=value):
                yield from _named(_singular(last_name(target).lower()), value)
            case ast.AnnAssign(target=ast.Name() | ast.Attribute() as target, value=ast.expr() as value):
                yield from _named(_singular(last_name(target).lower()), value)
            case ast.Dict():
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield from _named(key.value.lower(), value)


def _named(name: str, value: ast.expr) -> Iterator[WordList]:
    elements = value.elts if isinstance(value, ast.List | ast.Tuple | ast.Set) else []
    words = tuple(each.value for each in elements if isinstance(each, ast.Constant) and isinstance(each.value, str))
    if name and 1 < len(words) == len(elements) <= MAX_WORDS:
        yield WordList(name, value.lineno, words, "list")


def _singular(name: str) -> str:
    """Return `mode` for `modes`, `valid_modes` and `mode_options`; "" for a name that is no plural and no set."""
    plain = _ABOUT.sub("", name)
    if plain.endswith("s") and not plain.endswith("ss"):
        return plain.removesuffix("s")
    return plain if plain != name else ""


def _of_comparisons(syntax: PythonSyntax) -> Iterator[WordList]:
    """Yield the words with which a function compares one name."""
    compared: dict[tuple[ast.AST | None, str], dict[str, int]] = {}
    for node in syntax.nodes:
        match node:
            case ast.Compare(
                left=ast.Name() | ast.Attribute() as left,
                ops=[ast.Eq()],
                comparators=[ast.Constant(value=str() as word)],
            ):
                place = next((above for above, _ in syntax.chain(node) if isinstance(above, Function)), None)
                compared.setdefault((place, last_name(left).lower()), {}).setdefault(word, node.lineno)
    for (_, name), words in compared.items():
        if 1 < len(words) <= MAX_WORDS:
            yield WordList(name, min(words.values()), tuple(words), "comparison")
