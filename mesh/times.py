"""Reads durations and times as people write them (`30s`, `1h30m`, `2026-01-31T12:00`), and writes them for people."""

import datetime as dt
import re

from mesh.errors import BadInput

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)


def seconds(text: str) -> float:
    """Return a duration in seconds: `30s`, `5m`, `1.5h`, `2d`, `1h30m`; a bare number is seconds.

    Raises:
        BadInput: the text is not a duration.
    """
    plain = text.strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", plain):
        return float(plain)
    if plain and not _PART.sub("", plain):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))
    raise BadInput(f"{text[:40]!r} is not a duration; write 30s, 5m, 2h or 1d")


def moment(text: str) -> dt.datetime:
    """Return a time from an ISO 8601 text (UTC if it has no zone), or from a duration before now, such as `2h`.

    Raises:
        BadInput: the text is neither, or the time is outside of the calendar.
    """
    try:
        time = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds(text))
        except (BadInput, OverflowError):
            raise BadInput(f"{text[:40]!r} is not a time; write 30s, 5m, 2h, 1d, or 2026-01-31T12:00 (UTC)") from None
    try:
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except OverflowError:
        raise BadInput(f"{text[:40]!r} is outside of the calendar; use the years 1 to 9999") from None


def duration(value: float) -> str:
    """Return a number of seconds in a readable unit, such as "2.5 minutes"."""
    for unit, least, size in (("days", 172_800, 86_400), ("hours", 7_200, 3_600), ("minutes", 120, 60)):
        if value >= least:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.1f} seconds"
