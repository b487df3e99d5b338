"""The signed form of a fact, as Standard Webhooks 1.0 has it."""

import base64
import datetime as dt
import hmac
from typing import Any

import msgspec

from mesh.wire import Entry, entry_row

MAX_WEBHOOK_BYTES = 256 * 1024
"""Bytes of the body; a fact that makes it larger is sent without its post."""


def body_of(arena: str, entry: Entry) -> bytes:
    """Return the body for a fact: JSON with `type`, `timestamp` and `data`, at most `MAX_WEBHOOK_BYTES` long.

    `data` is the row of `mesh tail --json` and the arena. The texts in it are of others.
    """
    row: dict[str, Any] = {"arena": arena, **entry_row(entry)}
    body = {"type": entry.subject.kind, "timestamp": entry.time, "data": row}
    encoded = msgspec.json.encode(body)
    if len(encoded) > MAX_WEBHOOK_BYTES:
        encoded = msgspec.json.encode({**body, "data": {**row, "post": None, "too_large": True}})
    return encoded


def signed_headers(key: bytes, arena: str, seq: int, body: bytes, at: dt.datetime) -> dict[str, str]:
    """Return the headers that sign a body; the id is the same at every attempt.

    Args:
        key: The shared key.
        arena: The arena of the fact.
        seq: Its entry.
        body: The body.
        at: The time of the attempt.
    """
    name, second = f"{arena}.{seq}", str(int(at.timestamp()))
    return {"webhook-id": name, "webhook-timestamp": second, "webhook-signature": signature(key, name, second, body)}


def signature(key: bytes, name: str, second: str, body: bytes) -> str:
    """Return the signature of a body: HMAC with SHA-256 over its id, the second of the attempt and its bytes."""
    mac = hmac.digest(key, f"{name}.{second}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"
