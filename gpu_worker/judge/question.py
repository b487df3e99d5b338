"""One request of a score program to a model: which ones pass, what each costs at most, what makes two equal. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

PATHS = ("/chat/completions", "/completions", "/responses", "/embeddings", "/messages")
"""What may be asked; `/messages` is Anthropic's, the others are OpenAI's."""

USUAL_ANSWER_TOKENS = 16_384
"""Tokens that are set aside for an answer where the request sets no limit."""
IMAGE_TOKENS = 40_000
"""Tokens that are set aside at most for an image in a request; no model charges more for one."""
_FRAME_TOKENS = 64
_IMAGE_CHARS = 2_000
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_OWN_TOOLS = (None, "function", "custom")


class NotAllowed(Exception):
    """A request that does not pass; `status` is the HTTP status of its answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Question(msgspec.Struct, frozen=True):
    """A request that may pass.

    Args:
        path: one of `PATHS`.
        body: its JSON.
        wants_usage: whether the client itself asked for the usage at the end of a stream.
        extra: headers that change the answer, such as `anthropic-version`.
    """

    path: str
    body: dict[str, Any]
    wants_usage: bool = False
    extra: Mapping[str, str] = {}

    @property
    def model(self) -> str:
        """The model that is asked."""
        return str(self.body["model"])

    @property
    def streams(self) -> bool:
        """Whether the answer comes in parts."""
        return self.body.get("stream") is True

    @property
    def is_deterministic(self) -> bool:
        """Whether it asks for the same answer each time: with temperature 0, or for embeddings."""
        return self.path == "/embeddings" or self.body.get("temperature") == 0

    @property
    def digest(self) -> str:
        """The hash of all that may change the answer."""
        parts = [self.path, sorted(self.extra.items()), self.wants_usage, self.body]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def most_tokens(self) -> tuple[int, int]:
        """Return how many tokens it reads and writes at most; no token is shorter than a byte."""
        read = _bytes_of(self.body) + _FRAME_TOKENS
        if self.path == "/embeddings":
            return read, 0
        limits = [limit for name in _LIMITS if isinstance(limit := self.body.get(name), int) and limit > 0]
        answers = self.body.get("n")
        return read, max(limits, default=USUAL_ANSWER_TOKENS) * (answers if isinstance(answers, int) else 1)

    def encoded(self) -> bytes:
        """Return the body as it is sent: a stream of OpenAI's chat says its usage at the end, also if nobody asked."""
        body = self.body
        if self.streams and self.path in ("/chat/completions", "/completions"):
            options = body.get("stream_options")
            body = body | {"stream_options": (options if isinstance(options, dict) else {}) | {"include_usage": True}}
        return json.dumps(body).encode()


def question(path: str, raw: bytes, headers: Mapping[str, str], models: Sequence[str]) -> Question:
    """Return a request if it may pass.

    Args:
        path: that of its URL, without `/v1`.
        raw: its body.
        headers: its headers, in lower case.
        models: the models that may be asked.

    Raises:
        NotAllowed: it may not; the message says why.
    """
    if path not in PATHS:
        raise NotAllowed(404, f"the judge's proxy has no {path[:100]!r}; use {', '.join(PATHS)}")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise NotAllowed(400, "the request is not valid JSON") from None
    if not isinstance(body, dict):
        raise NotAllowed(400, "the request is not a JSON object")
    model = body.get("model")
    if model not in models:
        raise NotAllowed(403, f"model {str(model)[:100]!r} is not in judge.models; use {', '.join(models)}")
    if body.get("background") or body.get("service_tier") in ("priority", "flex"):
        raise NotAllowed(403, "background and service_tier change what a call costs: leave them out")
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or tool.get("type") not in _OWN_TOOLS:
            raise NotAllowed(403, "tools of the provider cost more than their tokens say: use functions only")
    options = body.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True
    extra = {name: value for name, value in headers.items() if name in ("anthropic-version", "anthropic-beta")}
    return Question(path, body, wants_usage, extra)


def _bytes_of(value: Any) -> int:
    """Return the bytes of all texts, where an image counts as its tokens."""
    if isinstance(value, str):
        size = len(value.encode(errors="replace"))
        is_image = size > _IMAGE_CHARS and (value.startswith("data:") or " " not in value[:_IMAGE_CHARS])
        return min(size, IMAGE_TOKENS) if is_image and value.startswith("data:image/") else size
    if isinstance(value, dict):
        if value.get("type") == "image":  # of Anthropic: base64 in `source.data`
            return IMAGE_TOKENS
        return sum(len(str(key)) + 8 + _bytes_of(each) for key, each in value.items())
    if isinstance(value, list):
        return sum(4 + _bytes_of(each) for each in value)
    return len(str(value)) + 1
