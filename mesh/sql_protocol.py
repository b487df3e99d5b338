"""The messages between SQL clients and the projector, their encoding, and how one asks; knows nothing of DuckDB."""

from typing import Any

import msgspec

from mesh.bus import Live
from mesh.errors import BadInput, QueryError

SERVICE = "sql"
"""The service of an arena's bus that answers queries."""

STOP = "sql-stop"
"""The topic on which a client sends the id of a query to stop; if that message is lost, idle answers end anyway."""


class Query(msgspec.Struct, frozen=True):
    """One read-only statement, with a bound on rows and time.

    With an `id`, chosen by the client, the rows come in pages and the query can be stopped; `max_rows` 0 means all.
    Without one, all rows up to the bound come at once.
    """

    sql: str
    max_rows: int = 10_000
    timeout_s: float = 10.0
    id: str = ""


class More(msgspec.Struct, frozen=True):
    """The request for the next page of a query, sent to the service that the last page named."""

    id: str


class Answer(msgspec.Struct, frozen=True, tag_field="how", tag="answer"):
    """The rows, and for every arena the sequence up to which the log was folded when they were read.

    `more` is the service that has the next page, "" where this is the last; `truncated`, on the last, says that there
    were more rows than requested. `remark` is a sentence about the statement, "" where there is nothing to say.
    """

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    as_of: dict[str, int]
    truncated: bool
    elapsed_s: float
    more: str = ""
    remark: str = ""


class Refusal(msgspec.Struct, frozen=True, tag_field="how", tag="refusal"):
    """Why there are no rows, in one sentence."""

    error: str


Reply = Answer | Refusal

_ENCODE = msgspec.json.Encoder()
_QUERY = msgspec.json.Decoder(Query)
_MORE = msgspec.json.Decoder(More)
_REPLY: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


async def ask(bus: Live, query: Query) -> Answer:
    """Return the projector's answer, all rows at once.

    Raises:
        BusUnavailable: no projector answers.
        QueryError: the statement was refused or failed.
    """
    return answer_in(await bus.ask(SERVICE, encode(query), timeout_s=query.timeout_s + 5))


def answer_in(data: bytes) -> Answer:
    """Return the answer in a reply.

    Raises:
        BadInput: it is not a valid reply.
        QueryError: the statement was refused or failed.
    """
    reply = decode_reply(data)
    if isinstance(reply, Refusal):
        raise QueryError(reply.error)
    return reply


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def encode(message: Query | More | Reply) -> bytes:
    """Return the bytes of a message."""
    return _ENCODE.encode(message)


def decode_query(data: bytes) -> Query:
    """Return the query in `data`.

    Raises:
        BadInput: it is not a valid one.
    """
    try:
        return _QUERY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"this is not a query: {error}") from error


def decode_more(data: bytes) -> More:
    """Return the request for a page in `data`.

    Raises:
        BadInput: it is not a valid one.
    """
    try:
        return _MORE.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"this is not a request for a page: {error}") from error


def decode_reply(data: bytes) -> Reply:
    """Return the reply in `data`.

    Raises:
        BadInput: it is not a valid one.
    """
    try:
        return _REPLY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"this is not a reply to a query: {error}") from error
