"""Makes text of others safe to show: without invisible characters, on one line, of bounded length. Pure."""

import math
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode's control, format, private, surrogate and separator characters, which can hide or reorder text."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LINE = 400
_FEWEST, _MOST, _TINIEST = 4, 9, 1e-9
_TINY_GAIN = 1e-4


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


def signed_gain(gain: float, places: int = 4) -> str:
    """Return a gain with its sign and the decimals of the scores beside it; a tiny one in two digits: `+3e-5`."""
    return signed_number(gain, places if abs(gain) >= _TINY_GAIN else 4)


def needed_places(means: Sequence[float], low: float | None = None, high: float | None = None) -> int:
    """Return how many decimals scores need, from four to nine.

    Args:
        means: The first means of a ranking; they must read as different where there is no interval.
        low: The champion's interval, of which two digits are seen; None without one.
        high: Its other end.
    """
    width = high / 20 - low / 20 if low is not None and high is not None else 0.0
    if width > 0:
        apart = [width]
    else:
        known = sorted(value for value in means if math.isfinite(value))
        apart = [b - a for a, b in pairwise(known) if b - a > _TINIEST * max(1.0, abs(b))]
    apart = [each for each in apart if math.isfinite(each)]  # the difference of huge scores is beyond all numbers
    return min(_MOST, max(_FEWEST, -math.floor(math.log10(min(apart))))) if apart else _FEWEST


def plain_number(value: float, places: int = 4) -> str:
    """Return a score with `places` decimals; in two significant digits where that would read as zero: `3e-5`."""
    return signed_number(value, places).removeprefix("+")


def chance(p_better: float) -> str:
    """Return a probability to be better in words; it is never rounded to certainty."""
    percent = f"{100 * p_better:.0f}"
    shown = "<1" if percent == "0" and p_better > 0 else ">99" if percent == "100" and p_better < 1 else percent
    return f"chance to be better {shown} %"


def short(name: str) -> str:
    """Return the first characters of a hash, enough to name a proposal."""
    return name[:10]
