"""What is asked of the projector over the bus, and what it answers; knows nothing of DuckDB."""

from typing import Any

import msgspec

from mesh.errors import BadInput

SERVICE = "sql"
"""The service of an arena's bus that answers queries."""


class Query(msgspec.Struct, frozen=True):
    """One read-only statement, and how much may come back after how long."""

    sql: str
    max_rows: int = 10_000
    timeout_s: float = 10.0


class Answer(msgspec.Struct, frozen=True, tag_field="how", tag="answer"):
    """The rows, and for every arena the sequence up to which the log was folded when they were read."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    as_of: dict[str, int]
    truncated: bool
    elapsed_s: float


class Refusal(msgspec.Struct, frozen=True, tag_field="how", tag="refusal"):
    """Why there are no rows, in one sentence."""

    error: str


Reply = Answer | Refusal

_ENCODE = msgspec.json.Encoder()
_QUERY = msgspec.json.Decoder(Query)
_REPLY: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def encode(message: Query | Reply) -> bytes:
    """Return the bytes of a query or a reply."""
    return _ENCODE.encode(message)


def decode_query(data: bytes) -> Query:
    """Return the query in `data`.

    Raises:
        BadInput: it is none.
    """
    try:
        return _QUERY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"this is not a query: {error}") from error


def decode_reply(data: bytes) -> Reply:
    """Return the reply in `data`.

    Raises:
        BadInput: it is none.
    """
    try:
        return _REPLY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"this is not a reply to a query: {error}") from error
