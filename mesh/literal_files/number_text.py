"""Numbers as source text: what they say, and how a new value is written in the same style.

A number keeps its unit or suffix (`12px`, `1.0f`, `10_000u64`, `128MB`). Numbers in another base, and whole numbers
that begin with a zero, are not read: they are masks, modes and codes.
"""

import re
from decimal import Decimal
from typing import NamedTuple

from mesh.events import Scalar

NUMBER = r"[-+]?(?:\d[\d_']*(?:\.(?![.\w])|\.\d[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?"
"""A pattern of a number without a suffix."""

SUFFIX = r"_?(?:[fFdD]|[uU]?[lL]{0,2}|[lL]{1,2}[uU]|[uif](?:8|16|32|64|128|size)|[uif]z|n|m)"
"""A pattern of the suffix of a type, which may be empty."""

UNIT = r"(?:%|[mun\u00b5]?s|sec|min|h|d|[kKmMgGtT]i?[bB]?|px|r?em|v[hw]|fr|deg|turn|pt|[kKMG]?Hz|cm|mm|ch|ex)"
"""A pattern of a unit."""

_PARTS = re.compile(rf"({NUMBER})((?:{UNIT}|{SUFFIX})?)")
_FLOAT_SUFFIX = re.compile(r"_?(?:[fFdD]|f(?:16|32|64|128))")
_WORDS = {"true": "false", "yes": "no", "on": "off", "enabled": "disabled"}
_TRUTH = {word: value for pair in _WORDS.items() for word, value in zip(pair, (True, False), strict=True)}


class NumberText(NamedTuple):
    """A number and the suffix behind it, "" if there is none."""

    value: int | float
    suffix: str


def number_in(text: str) -> NumberText | None:
    """Return the decimal number that a text is; None if it is none, or one that is not read."""
    match = _PARTS.fullmatch(text)
    if match is None:
        return None
    digits, suffix = re.sub(r"[_']", "", match[1]), match[2]
    if re.match(r"[-+]?0\d", digits):
        return None
    if re.fullmatch(r"[-+]?\d+", digits) and not _FLOAT_SUFFIX.fullmatch(suffix):
        return NumberText(int(digits), suffix) if len(digits) <= 16 else None
    return NumberText(float(digits), suffix)


def parse_truth(text: str) -> bool | None:
    """Return what a word such as `true`, `No` or `ON` says; None if it is another word."""
    return _TRUTH.get(text.lower())


def respelled(value: Scalar, old: str) -> str:
    """Return the text of a value in the style of the text that it replaces; a word stays a word without quotes.

    Args:
        value: The new value.
        old: The present text: a number with its suffix, or a word for a truth value.
    """
    if isinstance(value, bool):
        return _truth(value, old)
    if isinstance(value, str):
        return value
    match = _PARTS.fullmatch(old)
    suffix = match[2] if match else ""
    return (str(value) if isinstance(value, int) else decimal(value)) + suffix


def decimal(value: float) -> str:
    """Return a float with a decimal point, and with an exponent only if it is very large or small.

    YAML, SQL and configurations read `1e-05` in different ways, and `0.00001` alike.
    """
    text = format(Decimal(repr(value)), "f") if value == 0 or 1e-12 <= abs(value) < 1e16 else repr(value)
    if "e" not in text:
        return text if "." in text else f"{text}.0"
    digits, _, power = text.partition("e")
    return f"{digits if '.' in digits else f'{digits}.0'}e{int(power):+d}"


def _truth(value: bool, old: str) -> str:
    pair = next((pair for pair in _WORDS.items() if old.lower() in pair), ("true", "false"))
    word = pair[0] if value else pair[1]
    return word.upper() if old.isupper() else word.capitalize() if old[:1].isupper() else word
