"""Text of other people, made safe to show: no characters that cannot be seen, one line, bounded; short hashes. Pure."""

import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode's control, format, private, surrogate and separator characters: they hide or reorder what is read."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LINE = 400


def printable(text: str, limit: int = _LINE) -> str:
    """Return `text` on one line, without control characters, cut at `limit` characters where that makes it shorter."""
    flat = visible(text.replace("\n", " ⏎ ").replace("\t", " "))
    cut = f"{flat[:limit]}… ({len(text):,} characters)"
    return flat if len(flat) <= max(limit, len(cut)) else cut


def visible(text: str, *, keep: str = "", instead: str = REPLACEMENT) -> str:
    """Return `text` with `instead` for every character of `UNSEEN` that is not in `keep`."""
    if text.isprintable():
        return text
    return "".join(instead if unicodedata.category(c) in UNSEEN and c not in keep else c for c in text)


def short(name: str) -> str:
    """Return the first characters of a hash, enough to name a proposal."""
    return name[:10]
