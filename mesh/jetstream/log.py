"""Appends to and reads the stream of one arena.

Each reader has a pull consumer without acknowledgements, and checks that the sequences have no gap. After any fault, a
new consumer continues after the last entry that was yielded. (Push consumers can stop without an error.) A member of a
hub may create no consumer, and reads as `mesh.jetstream.direct` does.
"""

import asyncio
import datetime as dt
import math
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from itertools import count, takewhile
from typing import Any

import anyio
import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh import wire
from mesh.errors import AlreadyPosted, BusRefused
from mesh.jetstream.acks import Ack, ApiError
from mesh.jetstream.closing import TRANSIENT, Interrupted
from mesh.jetstream.cluster import refused_by
from mesh.jetstream.delivered import messages_info
from mesh.jetstream.direct import get_one, read_directly
from mesh.jetstream.link import Link
from mesh.jetstream.quick import RawMessage, take_quickly
from mesh.jetstream.streams import stream_of
from mesh.log_lines import log_fact
from mesh.wire import Entry, Pattern, Post

_GETS = 32
"""Most unanswered questions for an entry at a time."""

ANOTHER_AFTER_S = 6.0
"""Seconds after which a reader of a cluster asks for another consumer: the first one may lie on a dead server."""

PULL = 1000
"""Entries that a reader requests at a time."""

PULL_EXPIRES_S = 10.0
HEARTBEAT_S = 1.0
SILENCE_S = 4.0
"""Seconds without an entry or heartbeat after which a reader starts again."""


_Publish = tuple[str, bytes, dict[str, str]]
"""Subject, data and headers."""


class StreamLog:
    """The log of one arena in its stream."""

    def __init__(self, link: Link, arena: str) -> None:
        self.arena = arena
        self._link, self._stream = link, stream_of(arena)

    async def post(self, post: Post, *, over: int = 0) -> int:
        seq = await self._settle(post, self._wire(post, over), None)
        log_fact(self.arena, post, seq)
        return seq

    async def post_all(self, posts: Iterable[Post]) -> list[int | AlreadyPosted]:
        results: list[int | AlreadyPosted] = []
        flying: deque[tuple[Post, _Publish, asyncio.Future[Ack] | None]] = deque()

        async def land() -> None:
            first, *_ = flying[0]
            try:
                results.append(seq := await self._settle(*flying.popleft()))
                log_fact(self.arena, first, seq)
            except AlreadyPosted as already:
                results.append(already)

        try:
            for post in posts:
                publish, future = self._wire(post), None
                with suppress(*TRANSIENT):
                    future = await self._link.send(*publish)
                flying.append((post, publish, future))
                if len(flying) >= self._link.window:
                    await land()
            while flying:
                await land()
        finally:
            for _, _, future in flying:
                if future is not None:
                    future.cancel()
        return results

    def _wire(self, post: Post, over: int = 0) -> _Publish:
        headers = {
            "Nats-Msg-Id": post.id,
            "Nats-Expected-Last-Subject-Sequence": str(over),
            "Nats-Expected-Last-Subject-Sequence-Subject": wire.key_filter(self.arena, post),
        }
        return wire.subject_of(self.arena, post), wire.encode(post), headers

    async def _settle(self, post: Post, publish: _Publish, first: "asyncio.Future[Ack] | None") -> int:
        subject, data, headers = publish
        give_up = anyio.current_time() + self._link.patience_s
        while True:
            ack, tries = await self._link.append(subject, data, headers, first)
            if ack.error is None:
                break
            holder, is_known = await self._holder(post, ack.error, int(headers["Nats-Expected-Last-Subject-Sequence"]))
            if not is_known and anyio.current_time() < give_up:
                first = None
                await anyio.sleep(0.1)
                continue
            if holder and holder.post and holder.post.id == post.id:
                return holder.seq
            earlier = holder.post if holder else None
            author = earlier.author if earlier else (holder.subject.author if holder else "")
            raise AlreadyPosted(subject, holder.seq if holder else 0, author, earlier.id if earlier else "")
        if ack.duplicate and tries == 0:
            stored = await self._last_from(subject, ack.seq)
            if stored is None or stored.raw != data:
                raise BusRefused(f"{subject}: another post has used the message id {post.id}: give this one a new id")
        return ack.seq

    async def _holder(self, post: Post, refusal: ApiError, over: int) -> tuple[Entry | None, bool]:
        """Return the entry because of which a post was refused, and whether it is surely known.

        A cluster also refuses because of an entry that is still being stored, and may then be lost.
        """
        seq = refused_by(refusal.err_code, refusal.description)
        holder = await self._last_from(wire.key_filter(self.arena, post), seq or 0)
        return holder, not self._link.is_clustered or seq is not None or (holder is not None and holder.seq > over)

    async def _last_from(self, subject_filter: str, seq: int) -> Entry | None:
        """Return the last entry of a filter, in a cluster one of sequence `seq` or later: a server may be behind."""
        give_up = anyio.current_time() + self._link.patience_s
        while True:
            entry = await self._last(subject_filter)
            if not self._link.is_clustered or (entry.seq if entry else 0) >= seq or anyio.current_time() > give_up:
                return entry
            await anyio.sleep(0.05)

    async def _last(self, subject_filter: str) -> Entry | None:
        return await self._get({"last_by_subj": subject_filter})

    async def _get(self, request: dict[str, Any]) -> Entry | None:
        """Return the entry that a request of JetStream asks for; None if there is none."""
        if self._link.member:
            return await get_one(self._link, self._stream, request)
        answer = await self._link.call(f"$JS.API.STREAM.MSG.GET.{self._stream}", request)
        if "message" not in answer:
            return None
        found = msgspec.convert(answer["message"], _Stored)
        return wire.entry(found.seq, found.time, found.subject, found.data)

    async def head(self) -> int:
        state: dict[str, Any] = (await self._info())["state"]
        return int(state["last_seq"])

    async def identity(self) -> str:
        return str((await self._info())["created"])

    async def _info(self) -> dict[str, Any]:
        answer = await self._link.call(f"$JS.API.STREAM.INFO.{self._stream}", {})
        if "error" in answer:
            raise BusRefused(f"arena {self.arena}: {answer['error'].get('description')}")
        return answer

    async def entries(self, seqs: Sequence[int]) -> list[Entry]:
        found: dict[int, Entry] = {}
        left = iter(dict.fromkeys(seq for seq in seqs if seq > 0))

        async def get_more() -> None:
            for seq in left:
                if entry := await self._get({"seq": seq}):
                    found[seq] = entry

        async with anyio.create_task_group() as tasks:
            for _ in range(min(_GETS, len(seqs))):
                tasks.start_soon(get_more)
        return [found[seq] for seq in seqs if seq in found]

    async def since(self, time: dt.datetime) -> int:
        found = await self._get({"start_time": time.astimezone(dt.UTC).isoformat()})
        return found.seq if found else await self.head() + 1

    async def read(
        self, after: int = 0, *, follow: bool = False, until: int | None = None, only: Sequence[Pattern] = ()
    ) -> AsyncGenerator[list[Entry]]:
        end = None if follow else (await self.head() if until is None else until)
        if self._link.member:
            async with aclosing(read_directly(self._link, self.arena, self._stream, after, end, only)) as batches:
                async for batch in batches:
                    yield batch
            return
        filters = list(dict.fromkeys(f for pattern in only for f in wire.pattern_filters(self.arena, pattern)))
        while end is None or after < end:
            try:
                pull = _Pull(self._link, await self._link.client(), self._stream, after, end, filters)
                try:
                    await pull.open()
                    while end is None or after < end:
                        if end is not None and pull.is_dry and await self._is_all(after, end, filters):
                            return
                        batch = await pull.batch()
                        after = batch[-1].seq
                        if end is not None and after > end:
                            batch = [e for e in batch if e.seq <= end]
                        if batch:
                            yield batch
                finally:
                    await pull.close()
            except (Interrupted, *TRANSIENT):
                await anyio.sleep(0.2)

    async def _is_all(self, after: int, end: int, filters: Sequence[str]) -> bool:
        """Tell whether there is nothing more to read to `end`; the server of a reader may be behind in a cluster."""
        if filters and not self._link.is_clustered:
            return True
        for subject in filters or [">"]:
            if not await self._ends_before(after, end, subject):
                return False
        return True

    async def _ends_before(self, after: int, end: int, subject: str) -> bool:
        """Tell whether no entry from `after` to `end` matches; a damaged store lacks some, though it counted them."""
        request = {"seq": after + 1, "next_by_subj": subject}
        answer = await self._link.call(f"$JS.API.STREAM.MSG.GET.{self._stream}", request)
        if "message" in answer:
            return int(answer["message"]["seq"]) > end
        return (answer.get("error") or {}).get("code") == 404


class _Stored(msgspec.Struct):
    subject: str
    seq: int
    time: dt.datetime
    data: bytes = b""


class _Pull:
    """A consumer that begins after entry `after`, and the entries that it has delivered and nobody has read.

    With `filters` it delivers only matching entries. It is dry once the server has no more of them.
    """

    def __init__(
        self, link: Link, nc: Client, stream: str, after: int, end: int | None, filters: Sequence[str]
    ) -> None:
        self._link, self._nc, self._stream, self._after = link, nc, stream, after
        self._end, self._filters = end, filters
        self._name = f"read-{uuid.uuid4().hex}"
        self._inbox = self._nc.new_inbox()
        self._sub: Subscription | None = None
        self._waiting: list[RawMessage] = []
        self._arrived = asyncio.Event()
        self._asked = self._place = 0
        self._pending: int | None = None
        self._fresh, self._is_broken = True, False

    @property
    def is_dry(self) -> bool:
        """Whether the reader has received all matching entries that the server had."""
        return self._pending == 0

    async def open(self) -> None:
        self._sub = await self._nc.subscribe(
            self._inbox, cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )
        take_quickly(self._nc, self._sub, self._on_messages)
        config: dict[str, Any] = {
            "name": self._name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._after + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 60_000_000_000,
        }
        if self._filters:
            config["filter_subjects"] = self._filters
        answer = await self._create(config)
        if "error" in answer:
            raise BusRefused(f"stream {self._stream} cannot be read: {answer['error'].get('description')}")
        self._pending = int(answer.get("num_pending", 0))

    async def _create(self, config: dict[str, Any]) -> dict[str, Any]:
        """Make the consumer; in a cluster under another name after a while, as its server may have died meanwhile."""
        give_up = anyio.current_time() + self._link.patience_s
        while True:
            limit_s = ANOTHER_AFTER_S if self._link.is_clustered and anyio.current_time() < give_up else math.inf
            subject = f"$JS.API.CONSUMER.CREATE.{self._stream}.{self._name}"
            with anyio.move_on_after(limit_s):
                return await self._link.call(subject, {"stream_name": self._stream, "config": config})
            config["name"] = self._name = f"read-{uuid.uuid4().hex}"

    async def close(self) -> None:
        with anyio.move_on_after(2, shield=True), suppress(*TRANSIENT):
            if self._sub is not None:
                take_quickly(self._nc, self._sub, None)
                await self._sub.unsubscribe()
            await self._nc.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}")

    async def _on_message(self, msg: Msg) -> None:
        self._waiting.append((msg.subject, msg.reply, msg.data, msg.headers))
        self._arrived.set()

    def _on_messages(self, messages: list[RawMessage]) -> None:
        self._waiting += messages
        self._arrived.set()

    async def batch(self) -> list[Entry]:
        """Return the next entries, at least one."""
        entries: list[Entry] = []
        while not entries:
            if self._is_broken:
                raise Interrupted(f"a reader missed entries after {self._after}")
            wanted = PULL if self._end is None else max(1, min(PULL, self._end - self._after))
            if self._asked <= wanted // 2:
                await self._ask(wanted - self._asked)
            try:
                with anyio.fail_after(SILENCE_S):
                    await self._arrived.wait()
            except TimeoutError:
                raise Interrupted("a reader received nothing") from None
            self._arrived.clear()
            taken, self._waiting = self._waiting, []
            self._take(taken, entries)
        return entries

    async def _ask(self, count: int) -> None:
        request = {"batch": count, "expires": int(PULL_EXPIRES_S * 1e9), "idle_heartbeat": int(HEARTBEAT_S * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        await self._nc.publish(subject, msgspec.json.encode(request), reply=self._inbox)
        self._asked += count

    def _take(self, messages: list[RawMessage], entries: list[Entry]) -> None:
        """Add the entries of messages to others."""
        for _, reply, _, headers in messages:
            if headers and not reply and (status := headers.get("Status")) is not None:
                self._take_status(status, headers)
        messages = [message for message in messages if message[1]]
        if not messages:
            return
        seqs, times, places, pending = messages_info([reply for _, reply, _, _ in messages])
        self._asked -= len(seqs)
        order, before = (places, self._place) if self._filters else (seqs, self._after)
        first = order[0] if self._fresh else before + 1
        if order != [*range(first, first + len(order))]:
            self._is_broken = True
            whole = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(order, count(first))))
            if not whole:
                return
            del messages[whole:], seqs[whole:], times[whole:], places[whole:]
        self._place, self._pending = places[-1], pending
        self._fresh, self._after = False, seqs[-1]
        subjects, data = [each[0] for each in messages], [each[2] for each in messages]
        entries += wire.log_entries(seqs, times, subjects, data)

    def _take_status(self, status: str, headers: dict[str, str]) -> None:
        if status == "100":
            return
        unfilled = int(headers.get("Nats-Pending-Messages", "0"))
        if status != "408" or not unfilled:
            raise Interrupted(f"a reader received status {status}")
        self._asked -= unfilled
