"""Takes keys out of texts that are shown or kept: values of variables named like secrets, and what looks like a key."""

import os
import re

_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)", re.IGNORECASE)
_LOOKS_SECRET = re.compile(r"\b(sk|pk|key|AIza|gsk|xai|hf)[-_][\w*-]{6,}|\bAIza[\w-]{20,}|(?<=Bearer )\S+")
_KEY = re.compile(
    r"\b(?:sk|pk|gsk|xai|hf|ghp)[-_][A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{16}\b|\bAIza[\w-]{20,}|(?<=Bearer )\S+"
)


def without_keys(text: str) -> str:
    """Return a text without the values of variables of the environment that are named like secrets."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, "[secret]")
    return text


def clean(text: str, limit: int = 300) -> str:
    """Return a provider's text on one line, at most `limit` characters long, without keys or anything like a key."""
    text = re.sub(r"://[^/\s@]+@", "://[secret]@", _LOOKS_SECRET.sub("[secret]", without_keys(text)))
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[:limit]}…"


def without_any_key(text: str) -> str:
    """Return a text of any length without keys or anything like a key; its lines stay."""
    return _KEY.sub("[secret]", without_keys(text))
