"""Spans of time as people write them: `30s`, `5m`, `1.5h`, `2d`, `1h30m`; a bare number is seconds."""

import re

from mesh.errors import BadInput

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)


def seconds(text: str) -> float:
    """Return how many seconds a span is.

    Raises:
        BadInput: it is none.
    """
    plain = text.strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", plain):
        return float(plain)
    if plain and not _PART.sub("", plain):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))
    raise BadInput(f"{text[:40]!r} is no span of time: write it as 30s, 5m, 2h or 1d")
