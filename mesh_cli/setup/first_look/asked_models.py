"""Which language models a program asks, and where, read from its text. Pure."""

import re
from collections.abc import Iterable

import msgspec

from mesh.judge_rules import PROVIDERS

_CLIENT = re.compile(
    r"^\s*(?:from|import)\s+(openai|anthropic|litellm|ollama)\b|(?:chat/completions|/v1/messages|OPENAI_BASE_URL)", re.M
)
_NAME = re.compile(r"""["']((?:[\w.-]+/)?[A-Za-z][\w.:-]*[-.:\d][\w.:-]*)["']""")
_LINE = re.compile(r"^.*\bmodel\w*\b.*$", re.I | re.M)
_ADDRESS = re.compile(r"""["'](https?://[^"'\s]+)["']""")
_NO_MODEL = re.compile(r"\.(?:txt|json|jsonl|csv|md|ya?ml|py)$|^--|^[A-Z][A-Z_]+$|^(?:utf|latin)-?\d", re.I)
_KEYS = {"anthropic": "ANTHROPIC_API_KEY"}
USD = 1.0
"""Dollars that a new arena may spend on asking models, until its owner writes another limit."""


class AskedModels(msgspec.Struct, frozen=True):
    """The models that a program asks: their names, the address of a server of one's own, or the variable of a key."""

    models: tuple[str, ...]
    upstream: str = ""
    key: str = ""


def asked_models(texts: Iterable[str]) -> AskedModels | None:
    """Return the models that programs with these texts ask, None if they ask none; names may be missing."""
    asking = [text for text in texts if _CLIENT.search(text)]
    if not asking:
        return None
    text = "\n".join(asking)
    names = [name for line in _LINE.findall(text) for name in _NAME.findall(line) if not _NO_MODEL.search(name)]
    upstream = next((each.rstrip("/") for each in _ADDRESS.findall(text) if not _is_known(each)), "")
    client = _CLIENT.search(text)
    key = "" if upstream else _KEYS.get((client[1] if client else "") or "", "OPENAI_API_KEY")
    return AskedModels(tuple(dict.fromkeys(names))[:4], upstream, key)


def _is_known(address: str) -> bool:
    return any(address.startswith(known) for known in PROVIDERS.values())
