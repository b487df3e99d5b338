"""The log as server-sent events: every entry once, in order, with its sequence as the event's id.

The server keeps only the position of each client. Clients read from one shared ring of the latest entries. A client
that was away longer gets the missed entries from the log; if there are too many, it is told to reload (`reset`).
A client that reads nothing for a while is dropped; its browser reconnects and sends its position.
"""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import anyio
import msgspec
from starlette.types import Receive, Scope, Send

from analytics.web.log_entry import entry_json
from mesh.bus import Bus
from mesh.errors import BusUnavailable
from mesh.follow import Follower
from mesh.wire import Entry

RING = 2000
"""Entries that are kept for all clients."""
_MISSED = 5000
"""Missed entries up to which a client gets them one by one."""
_READ_S = 5.0
"""Seconds that the log has for the next of them."""
BEAT_S = 10.0
STALLED_S = 20.0
"""Seconds after which a client that reads nothing is dropped."""
CLIENTS = 100
_PIECE = 200


class Feed:
    """Follows one log for any number of clients."""

    def __init__(self, bus: Bus, follower: Follower) -> None:
        self.clients = 0
        self._bus, self._follower = bus, follower
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=RING)
        self._news = anyio.Event()
        self._states = 0
        self.closed = anyio.Event()

    async def follow(self) -> None:
        """Follow the log until cancelled."""
        await self._follower.follow(self._take)

    def close(self) -> None:
        """End the stream of every client."""
        self.closed.set()

    def tell_state(self) -> None:
        """Tell every client that the state is newer than what it has."""
        self._states += 1
        self._wake()

    def _take(self, entry: Entry, counts: bool) -> None:
        self._ring.append((entry.seq, self._event(entry)))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _event(self, entry: Entry) -> bytes:
        data = msgspec.json.encode(entry_json(entry, self._follower.board))
        return b"id: %d\nevent: fact\ndata: %s\n\n" % (entry.seq, data)

    async def events(self, after: int) -> AsyncGenerator[bytes]:
        """Yield the entries after sequence `after`, then new ones as they come; a heartbeat while there are none."""
        states = self._states
        yield b"retry: 1000\n\n"
        if after > self._follower.board.seq:  # the log was replaced since the client left
            after = self._follower.board.seq
            yield _reset(after)
        while True:
            news = self._news
            async with aclosing(self._since(after)) as pieces:
                async for seq, data in pieces:
                    after = seq
                    yield data
            if states != self._states:
                states = self._states
                yield b"event: state\ndata: {}\n\n"
            with anyio.move_on_after(BEAT_S) as waited:
                await news.wait()
            if waited.cancelled_caught:
                yield b"event: beat\ndata: {}\n\n"

    async def _since(self, after: int) -> AsyncGenerator[tuple[int, bytes]]:
        """Yield (last sequence, events) of the entries after `after` up to now."""
        head = self._follower.board.seq
        begins = self._ring[0][0] if self._ring else head + 1
        if after + 1 < begins and after < head:
            if head - after > _MISSED:
                yield head, _reset(head)
                return
            async with aclosing(self._bus.read(after, until=begins - 1)) as batches:
                while batch := await _next_batch(batches):
                    after = batch[-1].seq
                    yield after, b"".join(map(self._event, batch))
            if after < begins - 1:
                return  # the server is silent: the rest comes when it is back
        waiting = [(seq, data) for seq, data in self._ring if seq > after]
        for start in range(0, len(waiting), _PIECE):
            piece = waiting[start : start + _PIECE]
            yield piece[-1][0], b"".join(data for _, data in piece)


async def _next_batch(batches: AsyncGenerator[list[Entry]]) -> list[Entry]:
    """Return the next entries, none at the end of the log or while its server does not answer."""
    with anyio.move_on_after(_READ_S), suppress(BusUnavailable):
        return await anext(batches, [])
    return []


def _reset(seq: int) -> bytes:
    return b"id: %d\nevent: reset\ndata: {}\n\n" % seq


class EventStream:
    """The answer that streams a feed to one client until either side ends it."""

    def __init__(self, feed: Feed, after: int) -> None:
        self._feed, self._after = feed, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._feed.clients += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                tasks.start_soon(self._until_closed, tasks.cancel_scope)
                await self._stream(send)
                tasks.cancel_scope.cancel()
            with anyio.move_on_after(1):
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._feed.clients -= 1

    async def _until_closed(self, scope: anyio.CancelScope) -> None:
        await self._feed.closed.wait()
        scope.cancel()

    async def _stream(self, send: Send) -> None:
        async with aclosing(self._feed.events(self._after)) as pieces:
            async for data in pieces:
                with anyio.move_on_after(STALLED_S) as patience:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                if patience.cancelled_caught:
                    return


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
