"""What a person would not turn: versions, ports, dates, ids, seeds, codes, constants of nature, data, what judges."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from msgspec.structs import replace

from mesh.source_literal import SourceLiteral

MAX_NUMBERS = 8
"""Most numbers of a list that are knobs; a longer list counts as data."""

MAX_ENTRIES = 64
"""Most entries of a list whose keys are knobs; a longer list counts as data."""

_ANYWHERE = {
    "version": "version versions ecmaversion",
    "seed": "seed seeds",
    "id": "uuid guid",
    "date": "timestamp copyright birthday",
    "print": "verbosity verbose logging loglevel",
}
_LAST = {
    "version": "ver revision rev release edition schema abi major minor patch build",
    "port": "port ports",
    "id": "id ids uid gid pid",
    "date": "date year month day",
    "seed": "salt state rng",
    "code": "code codes errno magic mask flags crc checksum opcode signal umask chmod",
}
_WHOLE = {
    "version": "python python3 node nodejs java jdk jre ruby php go golang dotnet cuda gcc clang rust rustc typescript "
    "ubuntu debian alpine postgres mysql redis ecma protocol",
    "port": "listen expose",
    "id": "user group owner account tenant project",
}


def _by_word(kinds: dict[str, str]) -> dict[str, str]:
    return {word: kind for kind, words in kinds.items() for word in words.split()}


_IN_ANY, _AS_LAST, _AS_WHOLE = map(_by_word, (_ANYWHERE, _LAST, _WHOLE))
_JUDGES = ("validate", "check", "verify", "evaluate", "assert", "test", "tests", "is_solution", "issolution")
_PRINTS = re.compile(r"(?:log|print|display|report|metric|output)_(?:every|interval|steps|level|freq|frequency|period)")
_NATURE = (math.pi, math.tau, math.e, math.sqrt(2), math.log(2), math.pi / 2, math.pi / 180, 180 / math.pi, 9.80665)


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: `maxPortNumber` and `MAX_PORT_NUMBER` are max, port, number."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]


def with_reason(literal: SourceLiteral) -> SourceLiteral:
    """Return a literal with the reason why it is not turned, if there is one."""
    last = re.sub(r"(\[\d+\]|#\d+)+$", "", literal.name).rpartition(".")[2]
    words = words_of(last) or [""]
    why = _AS_WHOLE.get(last.lower(), "") or _AS_LAST.get(words[-1], "")
    why = next((_IN_ANY[word] for word in words if word in _IN_ANY), why)
    if _PRINTS.fullmatch("_".join(words)):
        why = "print"
    if isinstance(literal.value, bool):
        why = ""
    if any(word in _JUDGES for part in literal.scope.split(".") for word in words_of(part)):
        why = "judges"
    value = literal.value
    if isinstance(value, float) and any(math.isclose(abs(value), known, rel_tol=1e-4) for known in _NATURE):
        why = "nature"
    if isinstance(value, bool):
        return replace(literal, excluded=why, priority=1)
    return replace(literal, excluded=why) if why else literal


def without_data(found: Sequence[SourceLiteral]) -> list[SourceLiteral]:
    """Return the literals, the numbers of long lists and the entries of very long ones excluded as data."""
    longest: dict[str, int] = {}
    for literal in found:
        for match in re.finditer(r"\[(\d+)\]", literal.name):
            stem = re.sub(r"\[\d+\]", "[]", literal.name[: match.start()])
            longest[stem] = max(longest.get(stem, 0), int(match[1]) + 1)

    def is_data(name: str) -> bool:
        for match in re.finditer(r"\[(\d+)\]", name):
            bare = not re.search(r"\.|\[\"", name[match.end() :])
            count = longest[re.sub(r"\[\d+\]", "[]", name[: match.start()])]
            if count > (MAX_NUMBERS if bare else MAX_ENTRIES):
                return True
        return False

    return [replace(one, excluded=one.excluded or "data") if is_data(one.name) else one for one in found]


def without_enumerations(found: Sequence[SourceLiteral], lines: Sequence[int]) -> list[SourceLiteral]:
    """Return the literals, runs of three or more neighbours that count up by one excluded.

    Args:
        found: Literals in order.
        lines: The line of each.
    """
    steps = [
        type(a.value) is int and type(b.value) is int and b.value - a.value == 1 and line_b - line_a == 1
        for (a, b), (line_a, line_b) in zip(pairwise(found), pairwise(lines), strict=True)
    ]
    counts = {n for n in range(len(steps) - 1) if steps[n] and steps[n + 1]}
    numbers = {each for n in counts for each in (n, n + 1, n + 2)}
    return [
        replace(one, excluded=one.excluded or "enumeration") if n in numbers else one for n, one in enumerate(found)
    ]
