"""Reads what a coding agent printed: its last words, and its tokens and dollars. Pure.

The form is recognized by itself: one JSON object (Claude Code, Gemini CLI, OpenClaw), one JSON object per line (Codex,
OpenCode), the lines of Aider, or plain text. Fields of a wrong type are passed over: whoever prints is not trusted.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mesh.bounds import MAX_INTEGER
from mesh.events import Cost

_AIDER = re.compile(r"Tokens: ([\d.,]+[kM]?) sent,.*?([\d.,]+[kM]?) received\.(?: Cost: \$([\d.]+) message)?")
_AIDER_FRAME = re.compile(r"\A.*to the chat\.\n|^\S+\n(`{3,})[\s\S]*?^\1$|^Tokens: .*$", re.DOTALL | re.MULTILINE)
"""What Aider prints around its words: how it starts, its edits, and what they cost."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_MOST_USD = 1e6


class Printed(msgspec.Struct, frozen=True):
    """The last words of an agent, what it cost as far as it says so, and why it failed, if it says that it did."""

    words: str = ""
    cost: Cost = Cost()
    trouble: str = ""


def read_printed(text: str) -> Printed:
    """Return what an agent's standard output says."""
    text = _ESCAPES.sub("", text)
    events = list(_objects(text))
    for reader in (_claude, _gemini, _openclaw, _codex, _opencode):
        if (found := reader(events)) is not None:
            return found
    return _plain_text(text)


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects in a text: those that fill a line, and one that fills several."""
    decoder, at = json.JSONDecoder(), 0
    while (start := _next_object(text, at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        if isinstance(value, dict):
            yield value


def _next_object(text: str, at: int) -> int:
    match = re.compile(r"^[ \t]*\{", re.MULTILINE).search(text, at)
    return match.end() - 1 if match else -1


def _claude(events: list[Mapping[str, Any]]) -> Printed | None:
    found = next((each for each in reversed(events) if each.get("type") == "result" and "total_cost_usd" in each), None)
    if found is None:
        return None
    usage = _dict(found, "usage")
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    tokens_in = _sum(usage.get(name) for name in names)
    words = _text(found, "result")
    trouble = (words or str(found.get("subtype", "")) or "it reports an error") if found.get("is_error") else ""
    return Printed(words, _cost(found.get("total_cost_usd"), tokens_in, usage.get("output_tokens")), trouble)


def _gemini(events: list[Mapping[str, Any]]) -> Printed | None:
    found = next((e for e in reversed(events) if "stats" in e or ("error" in e and "session_id" in e)), None)
    if found is None:
        return None
    models = [each for each in _dict(_dict(found, "stats"), "models").values() if isinstance(each, dict)]
    tokens = [_dict(each, "tokens") for each in models]
    answers = _sum(each.get(name) for each in tokens for name in ("candidates", "thoughts"))
    cost = _cost(None, _sum(each.get("prompt") for each in tokens), answers)
    return Printed(_text(found, "response"), cost, _text(_dict(found, "error"), "message"))


def _openclaw(events: list[Mapping[str, Any]]) -> Printed | None:
    found = next((each for each in reversed(events) if isinstance(each.get("ok"), bool)), None)
    if found is None:
        return None
    usage = _dict(found, "usage")
    tokens_in = _sum(usage.get(name) for name in ("input", "cacheRead", "cacheWrite"))
    wrong = "" if found["ok"] else _text(_dict(found, "error"), "message") or "it reports an error"
    return Printed(_text(found, "final"), _cost(found.get("costUsd"), tokens_in, usage.get("output")), wrong)


def _codex(events: list[Mapping[str, Any]]) -> Printed | None:
    if not any(str(each.get("type", "")).startswith(("thread.", "turn.")) for each in events):
        return None
    items = [_dict(each, "item") for each in events if each.get("type") == "item.completed"]
    said = [_text(item, "text") for item in items if item.get("type") == "agent_message"]
    usage = [_dict(each, "usage") for each in events if each.get("type") == "turn.completed"]
    failed = [_text(_dict(each, "error"), "message") for each in events if each.get("type") == "turn.failed"]
    failed = failed or ([] if usage else [_text(each, "message") for each in events if each.get("type") == "error"])
    cost = _cost(None, _sum(u.get("input_tokens") for u in usage), _sum(u.get("output_tokens") for u in usage))
    return Printed(said[-1] if said else "", cost, failed[-1] if failed else "")


def _opencode(events: list[Mapping[str, Any]]) -> Printed | None:
    parts = [(each.get("type"), _dict(each, "part")) for each in events if "sessionID" in each]
    if not parts:
        return None
    said = [_text(part, "text") for kind, part in parts if kind == "text"]
    ends = [part for kind, part in parts if kind == "step_finish"]
    tokens = [_dict(part, "tokens") for part in ends]
    caches = [_dict(each, "cache") for each in tokens]
    tokens_in = _sum([*(each.get("input") for each in tokens), *(c.get(n) for c in caches for n in ("read", "write"))])
    tokens_out = _sum(each.get(name) for each in tokens for name in ("output", "reasoning"))
    prices = [part["cost"] for part in ends if isinstance(part.get("cost"), int | float)]
    errors = [_dict(each, "error") for each in events if each.get("type") == "error"]
    wrong = [_text(_dict(each, "data"), "message") or _text(each, "name") or "it reports an error" for each in errors]
    cost = _cost(sum(prices) or None, tokens_in, tokens_out)  # 0 is what it says where it knows no price
    return Printed(said[-1] if said else "", cost, wrong[-1] if wrong else "")


def _plain_text(text: str) -> Printed:
    found = [match.groups() for match in map(_AIDER.search, text.splitlines()) if match]
    prices = [float(usd) for _, _, usd in found if usd and usd.count(".") <= 1]
    sent, received = (_sum(_thousands(each[at]) for each in found) for at in (0, 1))
    words = _AIDER_FRAME.sub("", text[: text.rfind("\nTokens: ")]) if found else text
    return Printed(words.strip(), _cost(sum(prices) if prices else None, sent, received))


def _thousands(text: str) -> int | None:
    try:
        number = float(text.rstrip("kM").replace(",", ""))
    except ValueError:
        return None
    return round(number * {"k": 1e3, "M": 1e6}.get(text[-1], 1))


def _cost(usd: object, tokens_in: object, tokens_out: object) -> Cost:
    price = float(usd) if isinstance(usd, int | float) and not isinstance(usd, bool) and 0 <= usd <= _MOST_USD else None
    return Cost(usd=price, tokens_in=_count(tokens_in), tokens_out=_count(tokens_out))


def _count(value: object) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        return None
    return min(int(value), MAX_INTEGER)


def _sum(values: Any) -> int | None:
    known = [count for value in values if (count := _count(value)) is not None]
    return min(sum(known), MAX_INTEGER) if known else None


def _dict(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found.encode(errors="replace").decode() if isinstance(found, str) else ""  # JSON may have half a character
