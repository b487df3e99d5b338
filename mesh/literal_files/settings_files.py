"""The literals of files of settings, one a line: INI, `.env`, `.properties`, `.conf` in the ways of many programs.

`key = value`, `key: value`, `key value` and `key value;` are read, with sections in brackets or braces:
`optimizer.lr`, `http.keepalive_timeout`. A unit stays: `128MB`. A comment `# mesh: 4..64` or `; mesh: 4..64` may stand
behind a value.
"""

import re
from functools import lru_cache

from mesh.events import Scalar
from mesh.literal_files.found import in_bytes, key_path, numbered, range_comment
from mesh.literal_files.number_text import NUMBER, SUFFIX, UNIT, number_in, parse_truth, respelled
from mesh.literal_files.turnable import with_reason
from mesh.source_literal import Language, SourceLiteral

MAX_SETTING_CHARACTERS = 500
"""A longer line is no setting that is read."""

_COMMENT = r"(?P<comment>(?:[#;!]|//)[^\n]*)?"
_SECTION = re.compile(r"\s*\[\s*([^\[\]\n]+?)\s*\]\s*(?:[#;].*)?")
_OPENS = re.compile(rf"\s*(?P<name>[\w.-]+)(?P<more>[^{{}};#\n]*)\{{\s*{_COMMENT}")
_CLOSES = re.compile(r"\s*\}\s*(?:[#;].*)?")
_ENTRY = re.compile(
    rf"""\s*(?:export\s+|set\s+)?(?P<key>[\w.$/-]+)(?:\s*[=:]\s*|\s+)(?P<quote>["']?)
    (?P<value>{NUMBER}(?:{UNIT}|{SUFFIX})?|[A-Za-z_][\w.-]*)(?P=quote)\s*(?P<end>;?)\s*{_COMMENT}""",
    re.VERBOSE,
)


@lru_cache(maxsize=64)
def settings_literals(source: str) -> tuple[SourceLiteral, ...]:
    """Return the literals of a file of settings in the order in which they stand."""
    found: list[SourceLiteral] = []
    section, braces, at = "", list[str](), 0
    for line in source.splitlines(keepends=True):
        begin, at = at, at + len(line)
        bare = line.rstrip("\r\n")
        bare = bare.removeprefix("\ufeff") if not begin else bare
        begin += 1 if not begin and source.startswith("\ufeff") else 0
        if len(bare) > MAX_SETTING_CHARACTERS:
            continue
        if match := _SECTION.fullmatch(bare):
            section = match[1]
        elif match := _OPENS.fullmatch(bare):
            braces.append(" ".join(f"{match['name']} {match['more'].strip(' :=')}".split()))
        elif _CLOSES.fullmatch(bare):
            braces[-1:] = []
        elif match := _ENTRY.fullmatch(bare):
            scope = ".".join([section, *braces] if section else braces)
            found += _literal(match, begin, scope)
    return in_bytes(source, [with_reason(one) for one in numbered(found)])


def _literal(match: re.Match[str], begin: int, scope: str) -> list[SourceLiteral]:
    comment = range_comment((match["comment"] or "").lstrip("#;!/"))
    text = match["value"]
    number, truth = number_in(text), parse_truth(text)
    value: Scalar | None = truth if truth is not None else number.value if number else text if comment else None
    if value is None:
        return []
    return [
        SourceLiteral(
            name=key_path(scope, match["key"]),
            start=begin + match.start("value"),
            end=begin + match.end("value"),
            value=value,
            comment=comment,
            scope=scope,
            is_word=isinstance(value, str),
        )
    ]


def settings_spelled(value: Scalar, literal: SourceLiteral, old: bytes) -> bytes:
    """Return the text of a value, with the unit that the old one has."""
    return respelled(value, old.decode()).encode()


SETTINGS_FILES = Language(settings_literals, settings_spelled)
