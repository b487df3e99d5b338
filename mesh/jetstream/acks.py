"""The server's answers to publishes, and the codes of its errors."""

import msgspec

WRONG_LAST_SEQUENCE = (10071, 10164)
NO_ROOM = 10023
BUSY = (429, 503)
"""Codes of errors after which an operation is tried again: too many at a time, and no leader or no connection."""


class Ack(msgspec.Struct, frozen=True):
    """The server's answer to a publish."""

    seq: int = 0
    duplicate: bool = False
    error: "ApiError | None" = None


class ApiError(msgspec.Struct, frozen=True):
    """An error from JetStream."""

    code: int = 0
    err_code: int = 0
    description: str = ""


_DECODER = msgspec.json.Decoder(Ack)
LOST_ACK = Ack(error=ApiError(code=503, description="the connection was lost"))


def read_ack(data: bytes) -> Ack:
    """Return the answer in the bytes of a message."""
    return _DECODER.decode(data)
