"""The values of DuckDB's rows as JSON can hold them."""

import datetime as dt
import decimal
import math
from collections.abc import Callable
from typing import Any

_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: lambda v: v,
    bool: lambda v: v,
    type(None): lambda v: v,
    int: lambda v: v if -(2**63) <= v < 2**63 else str(v),
    float: lambda v: v if math.isfinite(v) else None,
    decimal.Decimal: lambda v: float(v) if v.is_finite() else None,
    dt.timedelta: lambda v: v.total_seconds(),
    dt.datetime: lambda v: v.isoformat(sep=" "),
    dt.date: lambda v: v.isoformat(),
    dt.time: lambda v: v.isoformat(),
    bytes: lambda v: v.hex(),
    list: lambda v: [plain(item) for item in v],
    tuple: lambda v: [plain(item) for item in v],
    dict: lambda v: {str(key): plain(item) for key, item in v.items()},
}


def plain(value: object) -> Any:
    """Return a value as JSON: NaN and infinity become null, other types without a JSON form become text."""
    return _PLAIN.get(type(value), str)(value)
