"""Reads the messages of a stream from the connection without nats-py's task, queue and headers for each.

nats-py takes some 15 µs per message, more than decoding and folding it. Its parser still reads everything else, and all
messages where a later nats-py keeps its parser elsewhere.

Whoever may publish chooses the bytes of a subject and of headers, and the server keeps them for ever. nats-py ends its
connection at some of them, so one message could close the log to all who read it. Here nothing ends at any bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport, Transport
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

STORED = b"\r\nNats-Sequence: "
"""What the server writes into the headers of a message that it has stored, and into no status of its own."""

_NO_SPACES = bytes.maketrans(b"\v\f", b"??")
"""A subject may have these two, where nats-py takes them for the spaces between words."""

RawMessage = tuple[str, str, bytes, dict[str, str] | None]
"""The subject, the reply subject, the data and the headers of a message; None stands for headers that nobody needs."""

_Taker = Callable[[list[RawMessage]], None]
"""Takes messages, at least one, in their order."""

HeadedMessage = tuple[str, bytes, bytes]
"""The subject, the headers as the server sent them, and the data of a message."""

_HeadedTaker = Callable[[list[HeadedMessage]], None]
"""Takes messages with their headers, at least one, in their order."""


class QuickParser(Parser):
    """nats-py's parser, which hands the messages of some subscriptions to those who asked for them."""

    def __init__(self, nc: Client) -> None:
        super().__init__(nc)
        self.takers: dict[bytes, _Taker] = {}
        self.headed: dict[bytes, _HeadedTaker] = {}

    async def parse(self, data: bytes = b"") -> None:
        at = 0
        while at < len(data):
            if self.state != AWAITING_CONTROL_LINE:
                rest = data[at : at + self.needed + 2 - len(self.buf)]
                await super().parse(rest)
                at += len(rest)
                continue
            if self.buf:
                data, at = bytes(self.buf) + data[at:], 0
                self.buf.clear()
            at, is_cut = self._take(data, at)
            end = -1 if is_cut else data.find(b"\r\n", at)
            if end < 0:
                self.buf += data[at:]
                return
            await super().parse(data[at : end + 2].translate(_NO_SPACES))
            at = end + 2

    def _take(self, data: bytes, at: int) -> tuple[int, bool]:
        """Hand on messages; return where something else begins, and whether that is a message that is cut off."""
        found, of, is_cut, size, sid = list[Any](), b"", False, len(data), b""
        taken = headed = False
        while data.startswith((b"HMSG ", b"MSG "), at):
            end = data.find(b"\n", at) - 1  # one byte is found four times as fast as two
            if end < 0:
                is_cut = True
                break
            words = data[at:end].split(b" ")
            if words[2] != sid:
                sid = words[2]
                taken, headed = sid in self.takers, sid in self.headed
            has_headers = words[0] == b"HMSG"
            is_headed = has_headers and headed
            if not is_headed and not (taken and len(words) == 5 + has_headers):
                break
            begin, stop = end + 2, end + 2 + int(words[-1])
            if size < stop + 2:
                is_cut = True
                break
            body = begin + (int(words[-2]) if has_headers else 0)
            if is_headed and data.find(STORED, begin, body) < 0:
                break
            if sid != of:
                self._hand_on(of, found)
                found, of = [], sid
            if is_headed:
                found.append((words[1].decode(errors="replace"), data[begin:body], data[body:stop]))
            else:
                found.append((words[1].decode(errors="replace"), words[3].decode(), data[body:stop], None))
            at = stop + 2
        self._hand_on(of, found)
        return at, is_cut

    def _hand_on(self, of: bytes, found: list[Any]) -> None:
        if found:
            (self.headed.get(of) or self.takers[of])(found)


def take_quickly(nc: Client, subscription: Subscription, taker: _Taker | None) -> None:
    """Hand the messages of a subscription to a function, None for its callback; those without a reply subject go there.

    Args:
        nc: the client.
        subscription: a subscription of it.
        taker: the function.
    """
    parser, sid = getattr(nc, "_ps", None), str(subscription._id).encode()
    if isinstance(parser, QuickParser):
        if taker:
            parser.takers[sid] = taker
        else:
            parser.takers.pop(sid, None)


def take_with_headers(nc: Client, subscription: Subscription, taker: _HeadedTaker | None) -> None:
    """As `take_quickly`, with their headers, and of messages that the server has stored; a status is left out."""
    parser, sid = getattr(nc, "_ps", None), str(subscription._id).encode()
    if isinstance(parser, QuickParser):
        if taker:
            parser.headed[sid] = taker
        else:
            parser.headed.pop(sid, None)


class _Transport(TcpTransport):
    """nats-py's, where a write to a TLS connection that is closed is the same error as to one without TLS.

    asyncio raises AttributeError there, which nats-py takes for no loss of the connection.
    """

    def write(self, payload: bytes) -> None:
        with _loss_of_connection():
            super().write(payload)  # type: ignore[no-untyped-call]

    def writelines(self, payload: Iterable[bytes]) -> None:
        with _loss_of_connection():
            super().writelines(payload)  # type: ignore[no-untyped-call]


@contextmanager
def _loss_of_connection() -> Iterator[None]:
    try:
        yield
    except AttributeError:
        raise ConnectionResetError("the connection is closed") from None


class SteadyClient(Client):
    """A client that no message ends, and no loss of the connection while it writes."""

    @property
    def _transport(self) -> Transport | None:
        return self._steady

    @_transport.setter
    def _transport(self, made: Transport | None) -> None:
        self._steady = _Transport() if type(made) is TcpTransport else made  # type: ignore[no-untyped-call]

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        readable = subject if subject.isascii() else subject.decode(errors="replace").encode()
        await super()._process_msg(sid, readable, reply, data, headers)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except (LookupError, ValueError):
            return None
        if found and "Nats-Sequence" in found:
            found.pop("Status", None)  # it is a stored message, so its poster wrote that
        return found


def quick_client() -> Client:
    """Return a client whose messages can be taken quickly."""
    nc = SteadyClient()
    if isinstance(getattr(nc, "_ps", None), Parser):
        nc._ps = QuickParser(nc)
    return nc
