"""A call of a model: its prompt, its answer and its parameters, as an object beside the log. Pure.

The fact that a call led to names the object (`KeptCall`). Long texts lose their middle. The newest calls of an arena
are kept, `KEPT_BYTES` in all; older ones are dropped, and the facts that name them stay.
"""

import hashlib
import zlib

import msgspec

from mesh.errors import ObjectMissing
from mesh.fact_values import KeptCall

KEPT_BYTES = 64 * 1024**2
"""Bytes of the calls of one arena that are kept, compressed."""

MOST_TEXT_BYTES = 200 * 1024
"""Most bytes of an answer and of its thoughts; all messages of a prompt together have twice as many."""

_MOST_UNPACKED = 8 * MOST_TEXT_BYTES


class ModelCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        model: the model, as provider/name.
        parameters: what the provider was given beside the messages, such as `max_tokens`.
        messages: the prompt: dicts with `role` and `content`.
        answer: the text of the answer, "" without one.
        thoughts: what the provider calls the model's reasoning, "" without any.
        trouble: why there is no answer, one sentence; "" if there is one.
    """

    model: str
    parameters: dict[str, str | int | float] = {}
    messages: list[dict[str, str]]
    answer: str = ""
    thoughts: str = ""
    trouble: str = ""

    @property
    def prompt(self) -> str:
        """The messages as one text, each below a line with its role."""
        return "\n\n".join(f"# {each.get('role', '')}\n\n{each.get('content', '')}" for each in self.messages)


def pack_call(call: ModelCall) -> tuple[KeptCall, bytes]:
    """Return a call as an object, and what a fact says of it."""
    each = 2 * MOST_TEXT_BYTES // max(1, len(call.messages))
    cut = msgspec.structs.replace(
        call,
        messages=[{name: _cut(text, each) for name, text in message.items()} for message in call.messages],
        answer=_cut(call.answer, MOST_TEXT_BYTES),
        thoughts=_cut(call.thoughts, MOST_TEXT_BYTES),
        trouble=_cut(call.trouble, MOST_TEXT_BYTES // 8),
    )
    data = zlib.compress(msgspec.json.encode(cut), 6)
    prompt = sum(_size(message.get("content", "")) for message in call.messages)
    kept = KeptCall(
        sha256=hashlib.sha256(data).hexdigest(),
        prompt_bytes=prompt,
        answer_bytes=_size(call.answer) + _size(call.thoughts),
    )
    return kept, data


def unpack_call(name: str, data: bytes) -> ModelCall:
    """Return the call in an object.

    Args:
        name: the name of the object, the sha256 of its bytes.
        data: its bytes.

    Raises:
        ObjectMissing: it is damaged, or not a call.
    """
    if hashlib.sha256(data).hexdigest() != name:
        raise ObjectMissing(f"object {name} is damaged: its contents do not match its name")
    try:
        plain = zlib.decompressobj().decompress(data, _MOST_UNPACKED)
        return msgspec.json.decode(plain, type=ModelCall)
    except (zlib.error, msgspec.MsgspecError, RecursionError):
        raise ObjectMissing(f"object {name} is not the call of a model") from None


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def _cut(text: str, most: int) -> str:
    """Return a text of at most `most` bytes, without its middle if it is longer; a lone surrogate becomes "?"."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    mark = f"\n[… {len(data):,} bytes; the middle was not kept …]\n".encode()
    half = max(0, most - len(mark)) // 2
    return (data[:half] + mark + data[len(data) - half :]).decode(errors="ignore")
