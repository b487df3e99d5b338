"""Messages that are taken quickly are those that nats-py reads, however the connection cuts its bytes."""

import random
from typing import Any

import pytest
from nats.aio.client import Client
from nats.protocol.parser import Parser

from mesh.jetstream.quick import HeadedMessage, QuickParser, RawMessage, quick_client

STORED_HEADS = (b"NATS/1.0\r\nNats-Sequence: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\nNats-Sequence: 2\r\n\r\n")
"""Headers of messages that a server has stored; whoever posted them has written the first line."""


class Heard:
    """What a client is told by its parser, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.told.append((sid, subject.decode(), reply.decode(), data))

    async def _process_ping(self) -> None:
        self.told.append(("ping",))

    async def _process_pong(self) -> None:
        self.told.append(("pong",))

    async def _process_err(self, message: str) -> None:
        self.told.append(("error", message))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.told.append(("info", info))


def said_by_a_server(dice: random.Random) -> list[bytes]:
    """Return what a server sends: messages of three subscriptions with and without headers, and all else."""
    found = []
    for number in range(200):
        sid, size = dice.choice((b"1", b"2", b"13")), dice.choice((0, 1, 40, 700, 5000))
        data = dice.choice((b"\r\n", b"MSG a 2 b 3\r\n", b"HMSG ", b"x")) * size
        head = dice.choice((*STORED_HEADS, b"NATS/1.0 100 Idle\r\n\r\n"))
        reply = dice.choice((b"", b" $JS.ACK.s.c.1.%d.1.1.0" % number))
        sizes = len(head), len(head) + len(data)
        found.append(
            dice.choice(
                (
                    b"MSG mesh.a.%d %b%b %d\r\n%b\r\n" % (number, sid, reply, len(data), data),
                    b"HMSG mesh.a.%d %b%b %d %d\r\n%b%b\r\n" % (number, sid, reply, *sizes, head, data),
                    b"HMSG mesh.a.%d %b%b %d %d\r\n%b%b\r\n" % (number, sid, reply, *sizes, head, data),
                    b"PING\r\n",
                    b"PONG\r\n",
                    b"+OK\r\n",
                    b"-ERR 'slow'\r\n",
                    b'INFO {"a": 1}\r\n',
                )
            )
        )
    return found


@pytest.mark.parametrize("seed", range(60))
async def test_messages_are_the_same_in_the_same_order(seed: int) -> None:
    dice, plain, quick = random.Random(seed), Heard(), Heard()
    sent = b"".join(said_by_a_server(dice))
    expected, parser = Parser(plain), QuickParser(quick)  # type: ignore[arg-type]
    taken: list[tuple[Any, ...]] = []

    def take(sid: int) -> Any:
        def taker(messages: list[RawMessage]) -> None:
            assert messages
            taken.extend((sid, *message[:3]) for message in messages)
            quick.told += taken[-len(messages) :]

        return taker

    parser.takers = {b"2": take(2)}
    while sent:
        size = dice.choice((1, 7, 100, 3000, 32768))
        await expected.parse(sent[:size])
        await parser.parse(sent[:size])
        sent = sent[size:]
        if dice.random() < 0.02:
            parser.takers = {b"13": take(13)} if b"2" in parser.takers else {b"2": take(2)} if parser.takers else {}
    assert quick.told == plain.told
    assert taken


@pytest.mark.parametrize("seed", range(30))
async def test_messages_with_their_headers_are_the_same_in_the_same_order(seed: int) -> None:
    dice, plain, quick = random.Random(seed), Heard(), Heard()
    sent = b"".join(said_by_a_server(dice))
    expected, parser = Parser(plain), QuickParser(quick)  # type: ignore[arg-type]
    heads: list[bytes] = []

    def take(messages: list[HeadedMessage]) -> None:
        heads.extend(head for _, head, _ in messages)
        quick.told += [(2, subject, data) for subject, _, data in messages]

    parser.headed = {b"2": take}
    while sent:
        size = dice.choice((1, 7, 100, 3000, 32768))
        await expected.parse(sent[:size])
        await parser.parse(sent[:size])
        sent = sent[size:]
    without_reply = [told[:2] + told[-1:] for told in quick.told]
    assert without_reply == [told[:2] + told[-1:] for told in plain.told]
    assert {*heads} == {*STORED_HEADS}


def test_a_client_of_this_nats_py_has_the_parser() -> None:
    assert isinstance(Client()._ps, Parser)
    assert isinstance(quick_client()._ps, QuickParser)
