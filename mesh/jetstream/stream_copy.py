"""Copies streams out of a server and into another: messages with their sequences, times and headers, and consumers.

It speaks JetStream's snapshot API. The server makes the copy at one moment and goes on taking posts; what comes later
is not in it. The bytes are the server's own (a compressed archive) and are not looked into here.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, Self

import anyio
import msgspec
from nats.aio.msg import Msg

from mesh.errors import BusRefused, BusUnavailable
from mesh.jetstream.closing import TRANSIENT
from mesh.jetstream.link import Link
from mesh.jetstream.streams import room_for

CHUNK_BYTES = 128 * 1024
_SILENCE_S = 60.0
"""Seconds without a part of a copy after which it has failed: the server checks a stream before it sends the first."""
_NAMES_PER_PAGE = 1024


class StreamState(msgspec.Struct, frozen=True):
    """A copied stream: what its server said of it, as `write_stream_copy` wants it, and how far it goes."""

    config: dict[str, Any]
    state: dict[str, Any]

    @property
    def extent(self) -> tuple[int, int, int]:
        """First and last sequence, and the number of messages; the first is 0 where there is none."""
        first, last, count = (int(self.state.get(name) or 0) for name in ("first_seq", "last_seq", "messages"))
        return (first if count else 0), last, count

    def is_same_as(self, other: Self) -> bool:
        """Tell whether two streams have the same messages, by their sequences and by the times of first and last."""
        ends = [(each.extent, *(each.state.get(n) for n in ("first_ts", "last_ts"))) for each in (self, other)]
        return ends[0] == ends[1] if self.extent[2] else self.extent == other.extent


async def stream_names(link: Link) -> list[str]:
    """Return the names of all streams that this user may see, sorted; raises as `Link.call`."""
    names: list[str] = []
    while True:
        answer = await link.call("$JS.API.STREAM.NAMES", {"offset": len(names)})
        page: list[str] = answer.get("streams") or []
        names += page
        if not page or len(names) >= int(answer.get("total", 0)):
            return sorted(names)


async def stream_state(link: Link, stream: str) -> StreamState | None:
    """Return what the server says of a stream; None if there is none."""
    answer = await link.call(f"$JS.API.STREAM.INFO.{stream}", {})
    return None if "error" in answer else StreamState(answer["config"], answer["state"])


async def delete_empty_stream(link: Link, stream: str) -> None:
    """Delete a stream in which nothing was ever stored.

    Raises:
        BusRefused: the server refuses it, or something is in it.
    """
    if (found := await stream_state(link, stream)) is None or found.extent[1:] != (0, 0):
        raise BusRefused(f"stream {stream} is not empty")
    answer = await link.call(f"$JS.API.STREAM.DELETE.{stream}", {})
    if "error" in answer:
        raise BusRefused(f"the NATS server does not delete stream {stream}: {answer['error'].get('description')}")


async def copied_stream(link: Link, stream: str) -> AsyncGenerator[StreamState | bytes]:
    """Yield what the server says of a stream, then the bytes of a copy of it, in parts. All of it, or an error.

    Raises:
        BusRefused: the server does not copy it, or its store is damaged.
        BusUnavailable: the server has stopped in the middle.
    """
    inbox = link.nc.new_inbox()
    subscription = await link.nc.subscribe(inbox, pending_bytes_limit=256 * 1024 * 1024)
    try:
        request = {"deliver_subject": inbox, "chunk_size": CHUNK_BYTES, "no_consumers": False, "jsck": True}
        answer = await link.call(f"$JS.API.STREAM.SNAPSHOT.{stream}", request)
        if "error" in answer:
            raise BusRefused(f"the NATS server does not copy stream {stream}: {answer['error'].get('description')}")
        yield StreamState(answer["config"], answer["state"])
        while True:
            try:
                part = await subscription.next_msg(timeout=_SILENCE_S)
            except TRANSIENT as error:
                raise BusUnavailable(
                    f"the copy of stream {stream} has stopped: {error or 'the server is silent'}"
                ) from None
            if not part.data:
                _check_end(stream, part)
                return
            yield part.data
            if part.reply:
                await link.nc.publish(part.reply, b"")
    finally:
        with suppress(*TRANSIENT), anyio.move_on_after(2, shield=True):
            await subscription.unsubscribe()


def _check_end(stream: str, end: Msg) -> None:
    headers = end.headers or {}
    status = headers.get("Status", "204")
    if status != "204":
        raise BusRefused(
            f"the NATS server has not copied all of stream {stream}: {status} {headers.get('Description', '')}".rstrip()
        )


async def write_stream_copy(link: Link, copied: StreamState, parts: AsyncIterator[bytes]) -> None:
    """Make a stream again from a copy of it, with as many copies as new streams here. What breaks off leaves no stream.

    Raises:
        BusRefused: there is such a stream, or the copy is not a whole one.
        BusUnavailable: the server has stopped in the middle.
    """
    stream = str(copied.config["name"])
    config = copied.config | {"num_replicas": link.replicas}
    if link.limits.get("max_bytes_required") and config.get("max_bytes", -1) <= 0:  # it comes from a server without
        config["max_bytes"] = max(room_for(link), 2 * int(copied.state.get("bytes") or 0))
    answer = await link.call(f"$JS.API.STREAM.RESTORE.{stream}", {"config": config, "state": copied.state})
    if "error" in answer:
        raise BusRefused(f"the NATS server does not restore stream {stream}: {answer['error'].get('description')}")
    target = str(answer["deliver_subject"])
    try:
        async for part in parts:
            _check_answer(stream, (await link.request(target, part, timeout_s=_SILENCE_S)).data)
        end = (await link.request(target, b"", timeout_s=_SILENCE_S)).data
    except TRANSIENT as error:
        raise BusUnavailable(f"stream {stream} is not restored: {error or 'the server is silent'}") from None
    _check_answer(stream, end)
    found = await stream_state(link, stream)
    if (extent := found.extent if found else None) != copied.extent:
        raise BusRefused(f"stream {stream} was restored with other messages than it had: {extent}, not {copied.extent}")


def _check_answer(stream: str, data: bytes) -> None:
    answer = msgspec.json.decode(data) if data else {}
    if "error" in answer:
        raise BusRefused(f"the NATS server does not restore stream {stream}: {answer['error'].get('description')}")
