"""The tokens of an answer, as OpenAI and Anthropic say them, whole and in streams. Pure."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

MOST_TOKENS = 10**9


class Usage(msgspec.Struct, frozen=True):
    """Tokens that a call has read and written, and those that it wrote to a provider's cache, which cost double."""

    tokens_in: int = 0
    tokens_out: int = 0
    stored: int = 0

    def usd(self, price: tuple[float, float]) -> float:
        """Return what they cost, for a price in dollars per million tokens in and out.

        Tokens that the provider had in its own cache count in full, so that this is never less than its bill.
        """
        return ((self.tokens_in + self.stored) * price[0] + self.tokens_out * price[1]) / 1e6


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """Return the usage in a decoded answer or part of a stream; None if it has none."""
    found = answer.get("usage")
    if not isinstance(found, Mapping):
        for name in ("response", "message"):  # the last part of OpenAI's responses, the first of Anthropic's messages
            inner = answer.get(name)
            if isinstance(inner, Mapping) and isinstance(inner.get("usage"), Mapping):
                found = inner["usage"]
    if not isinstance(found, Mapping):
        return None
    stored = _count(found, "cache_creation_input_tokens")
    read = _count(found, "prompt_tokens", "input_tokens") + stored + _count(found, "cache_read_input_tokens")
    written = _count(found, "completion_tokens", "output_tokens")
    total = _count(found, "total_tokens")
    return Usage(read, max(written, total - read), stored)


def _count(found: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(value := found.get(name), int) and not isinstance(value, bool):
            return min(max(0, value), MOST_TOKENS)
    return 0


class StreamMeter:
    """Reads the usage of a stream of server-sent events as they pass.

    Attributes:
        usage: what it has said so far; None for nothing.
        ended: whether it came to its end.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.ended = False

    def passes(self, line: bytes, *, wants_usage: bool) -> bool:
        """Read a line; return whether the client gets it: not the usage that only the proxy has asked for."""
        if not line.startswith(b"data:"):
            return True
        data = line[5:].strip()
        if data == b"[DONE]":
            self.ended = True
            return True
        try:
            part = json.loads(data)
        except (ValueError, RecursionError):
            return True
        if not isinstance(part, dict):
            return True
        if part.get("type") in ("message_stop", "response.completed", "response.incomplete"):
            self.ended = True
        if (found := usage_of(part)) is None:
            return True
        before = self.usage or Usage()
        self.usage = Usage(
            max(found.tokens_in, before.tokens_in),
            max(found.tokens_out, before.tokens_out),
            max(found.stored, before.stored),
        )
        return wants_usage or part.get("choices") != []
