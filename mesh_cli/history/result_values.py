"""What the texts in files of results mean: numbers with units, gaps, statuses, times. Pure."""

import datetime as dt
import math
import re

from mesh.bounds import MAX_NUMBER

GAPS = frozenset(
    ("", "-", "--", "—", "–", "n/a", "na", "nan", "none", "null", "inf", "-inf", "pending", "tbd", "?", "unknown", "…")
)
"""Texts, without case, that stand where no value is."""

SENTINELS = frozenset((-999.0, -9999.0, -99999.0))
"""Numbers that stand where no value is."""

_KEPT = """keep kept keeper pass passed ok okay improvement improved improve promote promoted baseline best new_best
    accept accepted success win merged true yes ✓ ✅ ✔"""
_FAILED = """crash crashed fail failed failure error errored timeout timed_out oom out_of_memory tests_failed
    test_failed checks_failed check_failed build_failed broken invalid exception infra_error diverged 💥"""
_KEPT_WORDS, _FAILED_WORDS = frozenset(_KEPT.split()), frozenset(_FAILED.split())
_NUMBER = re.compile(
    r"[~≈]?\s*([-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(%|×|[A-Za-zµμ°]{1,8}(?:/[A-Za-zµμ]{1,6})?)?"
)
_SECONDS = {
    "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9, "s": 1.0, "sec": 1.0, "secs": 1.0,
    "seconds": 1.0, "m": 60.0, "min": 60.0, "mins": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hours": 3600.0,
}  # fmt: skip
_MEGABYTES = {"gb": 1024.0, "gib": 1024.0, "mb": 1.0, "mib": 1.0, "kb": 1 / 1024, "bytes": 2**-20}


def is_gap(text: str) -> bool:
    """Tell whether a text stands where no value is."""
    return text.strip().lower() in GAPS


def number_of(text: str) -> float | None:
    """Return the number of a text, without its unit; None where there is none, or a gap."""
    number, _ = _number_and_unit(text)
    return number


def _number_and_unit(text: str) -> tuple[float | None, str]:
    found = _NUMBER.fullmatch(text.strip())
    if not found or not any(c.isdigit() for c in found[1]):
        return None, ""
    try:
        number = float(found[1].replace("−", "-").replace(",", ""))
    except ValueError:
        return None, ""
    if not abs(number) <= MAX_NUMBER or number in SENTINELS:
        return None, ""
    return number, (found[2] or "").lower()


def status_of(text: str) -> str:
    """Return `keep`, `discard` or `crash`; "" where the text is a gap or a number."""
    word = re.sub(r"[\s-]+", "_", text.strip().lower().strip("*`_ .!"))
    if word in _KEPT_WORDS or word == "1":
        return "keep"
    if word in _FAILED_WORDS:
        return "crash"
    return "" if is_gap(text) or (number_of(text) is not None and word != "0") else "discard"


def seconds_of(text: str, column: str) -> float:
    """Return a duration in seconds, by the unit of the cell, else by the end of the column's name; 0 without one."""
    number, unit = _number_and_unit(text)
    if number is None or number < 0:
        return 0.0
    ending = re.split(r"[\s_.()]+", column.lower().strip(" )"))[-1]
    factor = _SECONDS.get(unit) or _SECONDS.get(ending) or 1.0
    return min(number * factor, 1e9)


def megabytes_of(text: str, column: str) -> float | None:
    """Return memory in megabytes, by the unit of the cell, else by the column's name; None where none says it."""
    number, unit = _number_and_unit(text)
    words = re.split(r"[\s_.()]+", column.lower())
    factor = _MEGABYTES.get(unit) or next((_MEGABYTES[word] for word in reversed(words) if word in _MEGABYTES), None)
    return None if number is None or number < 0 or factor is None else number * factor


def time_of(text: str) -> dt.datetime | None:
    """Return a time, in UTC where the text names no zone; None where it is none.

    A number is the seconds, milli-, micro- or nanoseconds since 1970.
    """
    try:
        number = float(text)
    except ValueError:
        try:
            found = dt.datetime.fromisoformat(text.strip())
            return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            return None
    if not math.isfinite(number) or number < 1e8:
        return None
    for _ in range(3):
        number = number / 1000 if number > 1e11 else number
    return dt.datetime.fromtimestamp(number, dt.UTC) if number < 1e11 else None
