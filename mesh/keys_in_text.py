"""What looks like a key in a text: found by name, so that a post can be refused, or hidden from a prompt. Pure.

`keys_in` must not take code for a key, since the post would be lost. `hide_keys` rather hides too much.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_NAMED = {
    "a private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a key of AWS": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40})",
    "a key of Slack": rb"\bxox[abprs]-[A-Za-z0-9-]{20}",
    "a key of Google": rb"\bAIza[0-9A-Za-z_-]{35}",
    "a key of Hugging Face": rb"\bhf_[A-Za-z0-9]{30}",
    "a key of a model's provider": rb"\bsk-(?:ant-|proj-|or-)?(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{24}",
    "a seed of NATS": rb"\bS[UAO][A-Z2-7]{56}\b",
    "a token (JWT)": rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10}",
}
_PATTERNS = {what: re.compile(pattern) for what, pattern in _NAMED.items()}
_LIKE_A_KEY = re.compile(
    "|".join(
        [
            r"\b(?:sk|pk|gsk|xai|hf|ghp|AKIA)[-_]?[\w-]{16,}|\bAIza[\w-]{20,}",
            *(rf"(?:{pattern.decode()})[\w-]*" for pattern in _NAMED.values()),
        ]
    ),
    re.ASCII,
)


class KeyFound(NamedTuple):
    """What looks like a key, in words, and the line that it is in."""

    what: str
    line: int


def keys_in(text: bytes, before: bytes = b"") -> Iterator[KeyFound]:
    """Yield what looks like a key in a text, and was not in the text before."""
    for what, pattern in _PATTERNS.items():
        for found in pattern.finditer(text):
            if found[0] not in before:
                yield KeyFound(what, text[: found.start()].count(b"\n") + 1)


def hide_keys(text: str) -> str:
    """Return a text with `[secret]` in the place of all that may be a key."""
    return _LIKE_A_KEY.sub("[secret]", text)
