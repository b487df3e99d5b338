"""Which named numbers only begin a sum: `double sum = 0;` that the code then adds to. Nobody would turn those."""

import re
from collections.abc import Sequence

from msgspec.structs import replace

from mesh.literal_files.code_scopes import CodeScopes
from mesh.source_literal import SourceLiteral

_MOST = 1000
"""Changes of one name that are looked at; one with more is no accumulator."""
_CHANGE = re.compile(
    r"(?:(?P<before>\+\+|--)[ \t]*)?(?<![\w$.])(?:(?:this|self)(?:\.|->)|[$@])?(?P<name>[A-Za-z_$][\w$]*)"
    r"(?:\[[^\]\n]{0,200}\])?(?(before)|[ \t]*(?:(?P<adds>\+\+|--|[-+]=)|(?P<other>[*/%&|^]=|<<=|>>=)"
    r"|(?P<sets>:?=(?!=)|<-)[ \t]*(?P<itself>(?:(?:this|self)(?:\.|->)|[$@])?(?P=name)(?:\[[^\]\n]{0,200}\])?"
    r"[ \t]*[-+])?))"
)
_ZERO = re.compile(r"[-+]?0*\.?0+(?:[eE][-+]?\d+)?[\w]{0,3}[ \t]*(?:[;,)\r\n}#]|$)")


def without_accumulators(
    found: Sequence[SourceLiteral], code: str, scopes: CodeScopes | None, *, names: Sequence[str]
) -> list[SourceLiteral]:
    """Return the literals, those excluded that are 0 and whose name is then only added to.

    Args:
        found: The named literals of a source.
        code: The source, its texts and comments masked.
        scopes: The scopes of the source; None where all of it is one.
        names: The variable of each literal, without its scope.
    """
    zeros = {name for one, name in zip(found, names, strict=True) if _is_zero(one)}
    changes: dict[str, list[re.Match[str]]] = {name: [] for name in zeros}
    for match in _CHANGE.finditer(code) if zeros else ():
        if match["name"] in changes:
            changes[match["name"]].append(match)
    return [
        replace(one, excluded=one.excluded or "counter")
        if _is_zero(one) and _is_only_added_to(one.scope, changes[name], code, scopes)
        else one
        for one, name in zip(found, names, strict=True)
    ]


def _is_zero(literal: SourceLiteral) -> bool:
    return literal.value == 0 and not isinstance(literal.value, bool | str)


def _is_only_added_to(scope: str, changes: Sequence[re.Match[str]], code: str, scopes: CodeScopes | None) -> bool:
    is_added = False
    for match in changes if len(changes) <= _MOST else ():
        if scopes and scope and not f"{scopes.at(match.start())}.".startswith(f"{scope}."):
            continue
        if match["other"]:
            return False
        if match["before"] or match["adds"] or match["itself"]:
            is_added = True
        elif not _ZERO.match(code, match.end()):
            return False
    return is_added
