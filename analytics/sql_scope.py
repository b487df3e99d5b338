"""The parts of a statement that a remark about it reads: its words without comments, and one SELECT. Pure.

This is no parser of SQL. DuckDB has refused the statement, or run it; what is not understood here only costs a remark.
"""

import re
from collections.abc import Mapping

import msgspec

_APART = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"]|"")*"|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$""", re.DOTALL
)
_QUERY = re.compile(r"\s*(?:SELECT|FROM|WITH|VALUES|PIVOT|UNPIVOT)\b", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:\bWITH\s+(?:RECURSIVE\s+)?|,\s*)(\w+)\s*(?:\([^()]*\)\s*)?AS\s*(?:NOT\s+MATERIALIZED\s*|MATERIALIZED\s*)?\(",
    re.IGNORECASE,
)
_ALIAS = re.compile(r"\s*(?:AS\s+)?(?!(?:WHERE|GROUP|ORDER|LIMIT|JOIN|ON|USING|UNION|LEFT|INNER|CROSS)\b)(\w+)", re.I)


class StatementWords(msgspec.Struct, frozen=True):
    """A statement without its comments, in which `'0'` stands for the first of its `texts`, and so on."""

    sql: str
    texts: list[str]

    def text(self, placeholder: str) -> str:
        """Return the text that a placeholder stands for, without its quotes."""
        return self.texts[int(placeholder.strip("'"))][1:-1].replace("''", "'")

    def whole(self, part: str) -> str:
        """Return a part of the statement with its texts."""
        return re.sub(r"'(\d+)'", lambda found: self.texts[int(found[1])], part)


class Scope(msgspec.Struct, frozen=True):
    """One SELECT, in which a name stands for each query inside of it; and the queries by their names, ready to run."""

    sql: str
    queries: Mapping[str, str]


def statement_words(sql: str) -> StatementWords:
    """Take the comments out of a statement, and its texts apart."""
    texts: list[str] = []

    def apart(found: re.Match[str]) -> str:
        if found[0].startswith('"'):
            return found[0]
        if found[0].startswith(("--", "/*")):
            return " "
        texts.append(found[0])
        return f"'{len(texts) - 1}'"

    return StatementWords(_APART.sub(apart, sql), texts)


def scope_of(sql: str, name: str) -> Scope:
    """Return the SELECT of a statement in which a name first stands, with the queries that it can name."""
    words = statement_words(sql)
    text = words.sql
    quoted = re.escape(name)
    places = [found.start() for found in re.finditer(rf'(?<![\w"]){quoted}(?!\w)|"{quoted}"', text, re.IGNORECASE)]
    place = next((at for at in places if not re.search(r"\bAS\s+$", text[:at], re.IGNORECASE)), 0)
    named = {found[1].lower(): _inside(text, found.end() - 1) for found in _NAMED.finditer(text)}
    above = "".join(f"{', ' if at else 'WITH '}{own} AS ({query})" for at, (own, query) in enumerate(named.items()))
    queries = {own: words.whole(f"{above} FROM {own}") for own in named}
    start, end = 0, len(text)
    for at in (found.start() for found in re.finditer(r"\(", text)):
        inner = _inside(text, at)
        if at < place <= at + len(inner) and _QUERY.match(inner):
            start, end = at + 1, at + 1 + len(inner)
    scope, at = "", start
    while at < end:
        inner = _inside(text, at) if text[at] == "(" else ""
        if not inner or not _QUERY.match(inner):
            scope, at = scope + text[at], at + 1
            continue
        at += len(inner) + 2
        alias = _ALIAS.match(text, at, end)
        own = alias[1].lower() if alias else "the_query"
        queries.setdefault(own, words.whole(f"{above} {inner}"))
        scope, at = f"{scope} {own} ", alias.end() if alias else at
    return Scope(scope, queries)


def _inside(text: str, at: int) -> str:
    """Return what stands between the bracket at a place and the one that closes it, or the end."""
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return text[at + 1 : place]
    return text[at + 1 :]
