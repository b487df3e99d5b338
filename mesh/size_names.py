"""Names that say how large a problem is (`N`, `n_rows`, `ITEMS`), and names of what a program found (`checksum`).

A swarm wins by making the problem small, so `mesh init` and `mesh check` ask about the first, and a candidate that
changes the second is odd. Names are a guess: nothing follows from them alone. Pure.
"""

import re
from collections.abc import Iterable, Mapping

_THINGS = (
    "row col column item record element case sample point line doc document user request message key object "
    "particle city order image file event number word token char byte edge task job customer page game frame "
    "day example entry query body vertex entries queries cities bodies vertices "
)
"""Things that problems have many of; a plural is one of them too."""
_KNOWN = frozenset(_THINGS.split())
_SIZES = frozenset(
    ("n", "m", "nn", "nmax", "maxn", "size", "sz", "limit", "count", "length", "len", "total", "problem")
)
_TIMES = frozenset(
    ("rounds", "iterations", "iters", "repeat", "repeats", "reps", "loops", "runs", "trials", "passes", "cycles")
)
_MANY = frozenset(("n", "num", "nb", "no", "number", "max", "total", "count", "how"))
_WHOLES = frozenset(
    ("problem", "input", "data", "dataset", "grid", "array", "matrix", "mesh", "board", "list", "graph", "sample")
) | frozenset(("table", "vector", "image", "field", "domain", "text", "string", "bench", "workload", "corpus"))
_CHECKS = frozenset(("checksum", "check", "crc", "crc32", "hash", "digest", "parity", "fingerprint"))
_FOUND = frozenset(("found", "solutions", "primes", "matches", "passed", "answered", "processed", "checked", "visited"))
_OTHER = frozenset(
    (
        "s",
        "ms",
        "us",
        "ns",
        "sec",
        "secs",
        "second",
        "seconds",
        "time",
        "times",
        "elapsed",
        "per",
        "rate",
        "mean",
        "avg",
    )
) | frozenset(("error", "errors", "loss", "acc", "accuracy", "score", "gb", "mb", "kb", "usd", "cost", "squared"))


def is_size_name(name: str) -> bool:
    """Tell whether a knob of this name, such as `main.n_rows`, reads like the size of the problem."""
    last = re.sub(r"(\[\d+\]|#\d+)+$", "", name).rpartition(".")[2]
    words = _words(last)
    if len(words) == 1:
        return words[0] in _SIZES | _TIMES or _is_thing(words[0])
    first, end = words[0], words[-1]
    if first in _MANY and (end in _TIMES | {"n"} or _is_thing(end)):
        return True
    return end in ("size", "count", "limit", "length", "len", "n") and (words[-2] in _WHOLES or _is_thing(words[-2]))


def is_result_name(name: str) -> bool:
    """Tell whether a printed number of this name reads like a result that stays the same: a checksum or a count."""
    words = set(_words(name))
    if words & _OTHER:
        return False
    return (
        _is_checksum(name) or bool(words & (_FOUND | {"count"})) or name.lower() in _SIZES or any(map(_is_thing, words))
    )


def steady_numbers(scores: Iterable[Mapping[str, float]], *, but: Iterable[str] = ()) -> dict[str, float]:
    """Return the results that are the same in all of these scores, by their names.

    A count is a whole number above 1: a share or a distance of things, such as `image_similarity`, is what gets better.

    Args:
        scores: the numbers of each score.
        but: names that do not count, such as the metric.
    """
    first, *others = [*scores] or [{}]
    return {
        name: value
        for name, value in first.items()
        if name not in but
        and is_result_name(name)
        and (_is_checksum(name) or (value > 1 and value == int(value)))
        and all(other.get(name) == value for other in others)
    }


def changed_results(steady: Mapping[str, float], found: Mapping[str, float]) -> str:
    """Return which results of the baseline a score does not repeat, such as `checksum is 2011, not 8123`, or "".

    A checksum must be the same. A count may grow: more rows are not less work.
    """
    return ", ".join(
        f"{name} is {exact_number(found[name])}, not {exact_number(value)}"
        for name, value in steady.items()
        if name in found and (found[name] != value if _is_checksum(name) else found[name] < value)
    )


def exact_number(value: float) -> str:
    """Return a number with all digits that it needs to be read again as it is, such as 8123 or 0.1."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _is_checksum(name: str) -> bool:
    return not _CHECKS.isdisjoint(_words(name))


def _is_thing(word: str) -> bool:
    return word in _KNOWN or word.removesuffix("s") in _KNOWN


def _words(name: str) -> list[str]:
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^A-Za-z0-9]+", parts.lower()) if word]
