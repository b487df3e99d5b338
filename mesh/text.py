"""Makes text of others safe to show: without invisible characters, on one line, of bounded length. Pure."""

import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode's control, format, private, surrogate and separator characters, which can hide or reorder text."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LINE = 400


def printable(text: str, limit: int = _LINE) -> str:
    """Return `text` on one line, without control characters, cut at `limit` characters if that makes it shorter."""
    flat = visible(text.replace("\n", " ⏎ ").replace("\t", " "))
    cut = f"{flat[:limit]}… ({len(text):,} characters)"
    return flat if len(flat) <= max(limit, len(cut)) else cut


def visible(text: str, *, keep: str = "", instead: str = REPLACEMENT) -> str:
    """Return `text` with every character of `UNSEEN` replaced by `instead`, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(instead if unicodedata.category(c) in UNSEEN and c not in keep else c for c in text)


def signed_number(value: float, places: int = 4) -> str:
    """Return a difference with its sign and `places` decimals; in two significant digits where it needs more: `+3e-5`.

    Zero is the only difference that reads as zero.
    """
    if not value or abs(value) >= 10.0**-places:
        return f"{value:+.{places}f}"
    digits, _, power = f"{value:+.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def short(name: str) -> str:
    """Return the first characters of a hash, enough to name a proposal."""
    return name[:10]
