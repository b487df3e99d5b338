"""What a server says of the messages that it delivers, in their reply subjects.

A reply subject is `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>`. Servers with
accounts or domains put two tokens before the stream (ADR-15 of nats-architecture-and-design).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

import msgspec

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_EXACT_NS = 2**33 * 10**9
"""Nanoseconds since 1970 up to which the microseconds are exact in a float of seconds."""
_TIMES = list[dt.datetime]
_INTEGERS = msgspec.json.Decoder(list[int])
_NUMBERS = 5
"""Numbers in a reply subject."""
_TOKENS_BEFORE = (4, 6)
"""Tokens before the numbers; other servers put a token behind them."""


class MessageInfo(NamedTuple):
    """The server's data on a message: `seq` is its sequence in the stream, `place` its number for this consumer.

    `attempt` counts its deliveries. `pending` is the number of messages that still wait for this consumer.
    """

    seq: int
    time: dt.datetime
    attempt: int
    place: int
    pending: int


class Delivered(NamedTuple):
    """The server's data on messages, as in `MessageInfo`; `pending` is that of the last one."""

    seqs: list[int]
    times: list[dt.datetime]
    places: list[int]
    pending: int


def message_info(reply: str) -> MessageInfo:
    """Return the data in a message's reply subject."""
    attempt, seq, place, nanoseconds, pending = _numbers_in(reply)
    return MessageInfo(seq, _time(nanoseconds), attempt, place, pending)


def messages_info(replies: Sequence[str]) -> Delivered:
    """Return the data in the reply subjects of messages of one consumer, at least one, in their order."""
    numbers = _all_numbers(replies)
    return Delivered(numbers[1::_NUMBERS], _times(numbers[3::_NUMBERS]), numbers[2::_NUMBERS], numbers[-1])


def _all_numbers(replies: Sequence[str]) -> list[int]:
    """Return the numbers of reply subjects, one after the other; where they end the subjects, they are read as JSON."""
    before = replies[0].split(".")[:-_NUMBERS]
    found: list[int] = []
    if len(before) in _TOKENS_BEFORE:
        begin = len(".".join(before)) + 1
        with suppress(msgspec.DecodeError):
            found = _INTEGERS.decode(f"[{','.join([reply[begin:] for reply in replies]).replace('.', ',')}]")
    return found if len(found) == _NUMBERS * len(replies) else [*chain.from_iterable(map(_numbers_in, replies))]


def _numbers_in(reply: str) -> Iterable[int]:
    """Return deliveries, stream sequence, consumer sequence, nanoseconds and pending messages of a reply subject."""
    parts = reply.split(".")
    return map(int, parts[4:] if len(parts) == 9 else parts[6:11])


def _time(nanoseconds: int) -> dt.datetime:
    """Return the time of a server to the microsecond, which a number of seconds has until the year 2242."""
    if nanoseconds < _EXACT_NS:
        return dt.datetime.fromtimestamp(nanoseconds // 1000 / 1e6, dt.UTC)
    return _EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)


def _times(nanoseconds: Sequence[int]) -> list[dt.datetime]:
    """Return the times of a server, each as `_time`: all at once takes a third of the time."""
    if max(nanoseconds) >= _EXACT_NS:
        return [*map(_time, nanoseconds)]
    return msgspec.convert([each // 1000 / 1e6 for each in nanoseconds], _TIMES, strict=False)
