"""Text of other people, made safe to print: one line, no control characters, bounded; and short hashes. Pure."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


LINE = 400


def printable(text: str, limit: int = LINE) -> str:
    """Return `text` on one line, without control characters, cut at `limit` characters where that makes it shorter."""
    flat = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " ⏎ ").replace("\t", " "))
    cut = f"{flat[:limit]}… ({len(text):,} characters)"
    return flat if len(flat) <= max(limit, len(cut)) else cut


def short(name: str) -> str:
    """Return the first characters of a hash, enough to name a proposal."""
    return name[:10]
