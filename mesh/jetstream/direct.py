"""Reads the stream of an arena without a consumer, as a member of a hub does who may create none.

Entries are got in batches by their sequence, each from the one after the last (batched direct get, ADR-31 of
nats-architecture-and-design). Whoever follows the log subscribes to `tail.mesh.<arena>.>`, where the server repeats
each entry that it has stored. Of the tail nothing is believed to be whole: where a sequence is missing, or nothing came
for a while, the reader gets the entries again.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import anyio
import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh import wire
from mesh.jetstream.closing import TRANSIENT, Interrupted
from mesh.jetstream.cluster import is_clustered
from mesh.jetstream.direct_answers import entries_of, raw_headers, sequence_of
from mesh.jetstream.link import Link
from mesh.jetstream.quick import HeadedMessage, take_with_headers
from mesh.wire import Entry, Pattern

BATCH = 1000
"""Entries that a reader asks for at a time."""

_BATCH_BYTES = 4 * 1024 * 1024
_SILENCE_S = 4.0
"""Seconds without an entry after which a reader asks again for what it has asked for."""

TAIL_SILENCE_S = 5.0
"""Seconds without an entry on the tail after which a follower looks whether it has missed one."""

_TAIL_KEPT = 10_000
"""Entries of the tail that wait for a slow follower; more are dropped, and got again."""

_LATE_TRIES, _LATE_S = 20, 0.1
"""How often a replica of a cluster is asked again that has no more entries though the log does, and seconds between."""


async def read_directly(
    link: Link, arena: str, stream: str, after: int, end: int | None, only: Sequence[Pattern]
) -> AsyncGenerator[list[Entry]]:
    """Yield the entries after `after` that match `only`, up to `end`; None follows the log.

    Raises:
        BusRefused: the server refuses it by a permission.
        BusUnavailable: no server answers within the link's patience.
    """
    reader = _Reader(link, arena, stream, only)
    failing_since: float | None = None
    while end is None or after < end:
        try:
            nc = await link.client()
            batches = reader.follow(nc, after) if end is None else reader.until(nc, after, end)
            async with aclosing(batches) as found:
                async for known, batch in found:
                    after, failing_since = known, None
                    if batch:
                        yield batch
        except (Interrupted, *TRANSIENT) as error:
            if denial := link.denial(f"$JS.API.DIRECT.GET.{stream}"):
                raise denial from None
            failing_since = failing_since or anyio.current_time()
            if anyio.current_time() - failing_since > link.patience_s:
                raise link.unavailable(f"a question for entries of arena {arena}", str(error)) from None
            await anyio.sleep(0.2)


async def get_one(link: Link, stream: str, request: dict[str, Any]) -> Entry | None:
    """Return the entry that a request of direct get asks for; None if there is none.

    In a cluster a replica may be behind. So an entry that is asked for by its sequence is asked for again for a while.

    Raises:
        BusRefused: the server refuses it by a permission.
        BusUnavailable: no server answers within the link's patience.
    """
    subject = f"$JS.API.DIRECT.GET.{stream}"
    give_up = anyio.current_time() + link.patience_s
    again = _LATE_TRIES if link.is_clustered and "seq" in request else 0
    while True:
        try:
            msg = await link.request(subject, msgspec.json.encode(request))
        except TRANSIENT as error:
            if denial := link.denial(subject):
                raise denial from None
            why = str(error)
        else:
            status = (msg.headers or {}).get("Status")
            if status == "404" and not again:
                return None
            if status == "404":
                again -= 1
            elif status is None:
                return entries_of([(msg.subject, raw_headers(msg.headers), msg.data)])[0]
            why = f"status {status}"
        if anyio.current_time() > give_up:
            raise link.unavailable(subject, why)
        await anyio.sleep(0.2)


class _Reader:
    """What a reader wants of a stream: the entries that match its patterns, or all."""

    def __init__(self, link: Link, arena: str, stream: str, only: Sequence[Pattern]) -> None:
        self._link, self._arena, self._stream, self._only = link, arena, stream, only
        self._filters = list(dict.fromkeys(f for pattern in only for f in wire.pattern_filters(arena, pattern)))

    async def follow(self, nc: Client, after: int) -> AsyncGenerator[tuple[int, list[Entry]]]:
        """Yield entries as they come, each batch with the sequence up to which nothing is missing."""
        tail = _Tail(nc, self._arena)
        try:
            await tail.open()
            end = await self._head()
            while True:
                if after < end:
                    async with aclosing(self.until(nc, after, end)) as found:
                        async for after, batch in found:
                            yield after, batch
                batch, messages = [], await tail.messages()
                for number, message in enumerate(messages):
                    seq = sequence_of(message[1])
                    if seq > after + 1:
                        end = seq - 1
                        tail.put_back(messages[number:])
                        break
                    if seq == after + 1:
                        batch += entries_of([message], prefix=wire.TAIL_PREFIX)
                        after = seq
                if not messages:
                    end = await self._head()
                yield after, self._wanted(batch)
                if nc is not self._link.nc:
                    raise Interrupted("the link has a new client")
        finally:
            await tail.close()

    async def _head(self) -> int:
        answer = await self._link.call(f"$JS.API.STREAM.INFO.{self._stream}", {})
        if "error" in answer:
            raise Interrupted(str(answer["error"].get("description")))
        return int(answer["state"]["last_seq"])

    async def until(self, nc: Client, after: int, end: int) -> AsyncGenerator[tuple[int, list[Entry]]]:
        """Yield the entries after `after` up to `end`, each batch with the sequence up to which nothing is missing."""
        # A replica may lack the latest entries. Who reads all of them sees that; of some of them, nobody can.
        is_whole = not self._filters or is_clustered(nc)
        filters = [wire.arena_filter(self._arena)] if is_whole else self._filters
        questions = _Questions(nc, self._stream)
        try:
            await questions.open()
            sources = [_Source(questions, subjects, after, end, is_whole=is_whole) for subjects in filters]
            for source in sources:
                await source.ask()
            while after < end:
                await min(sources, key=lambda source: source.known).fill()
                if (known := min(end, *(source.known for source in sources))) > after:
                    after = known
                    found = [entry for source in sources for entry in source.take(known)]
                    if len(sources) > 1:
                        found.sort(key=lambda entry: entry.seq)
                    yield after, self._wanted(found) if is_whole else found
        finally:
            await questions.close()

    def _wanted(self, entries: list[Entry]) -> list[Entry]:
        return [e for e in entries if wire.is_wanted(e.subject, self._only)] if self._only else entries


class _Source:
    """The entries of one filter, in order; all of them up to `known` have come."""

    def __init__(self, questions: "_Questions", subjects: str, after: int, end: int, *, is_whole: bool) -> None:
        self.known = after
        self._questions, self._filter, self._end, self._is_whole = questions, subjects, end, is_whole
        self._entries: list[Entry] = []
        self._asked = deque[tuple[int, _Answer]]()
        self._hole = self._late = 0

    async def ask(self) -> None:
        """Ask for the next entries, which come while the reader is at work; of all entries for two batches at a time.

        Which entry begins the second batch is a guess: the first one may be cut off by its bytes.
        """
        while len(self._asked) < (2 if self._is_whole else 1):
            start = self._asked[-1][0] + BATCH if self._asked else self.known + 1
            if start > self._end:
                return
            wanted = min(BATCH, self._end - start + 1) if self._is_whole else BATCH
            request = {"seq": start, "batch": wanted, "max_bytes": _BATCH_BYTES, "next_by_subj": self._filter}
            self._asked.append((start, await self._questions.ask(request)))

    async def fill(self) -> None:
        """Wait for the next entries, and ask for those after them."""
        assert self._asked, "ask comes first"
        found, is_last = await self._asked.popleft()[1].complete()
        first = sequence_of(found[0][1]) if found else 0
        if self._is_whole and found and first not in (self.known + 1, self._hole):
            self._hole, found = first, []  # only where a second answer says so does the store lack those before
            is_last = False
        elif found:
            self.known, self._late = sequence_of(found[-1][1]), 0
        if is_last and self.known < self._end and not (self._is_whole and found):
            await self._end_early()
        if self._asked and self._asked[0][0] != self.known + 1:
            self._asked.clear()
        await self.ask()  # before the entries are decoded: meanwhile the server gets the next ones
        self._entries += entries_of(found, is_batch=True)

    async def _end_early(self) -> None:
        """Believe that there are no more entries, but of a cluster only after a while: a replica may be behind."""
        self._late += 1
        if self._questions.is_clustered and self._late <= _LATE_TRIES:
            await anyio.sleep(_LATE_S)
        else:
            self.known = self._end

    def take(self, known: int) -> list[Entry]:
        """Return the entries up to a sequence, and forget them."""
        if self.known <= known:
            taken, self._entries = self._entries, []
        else:
            taken = [entry for entry in self._entries if entry.seq <= known]
            self._entries = self._entries[len(taken) :]
        return taken


class _Answer:
    """The messages that came for one question, and the status that ended them."""

    def __init__(self) -> None:
        self.messages: list[HeadedMessage] = []
        self.status = ""
        self.pending = -1
        self.changed = asyncio.Event()

    async def complete(self) -> tuple[list[HeadedMessage], bool]:
        """Return the messages once all have come, and whether there are no more.

        Raises:
            Interrupted: the server has no answer now.
        """
        while not self.status:
            self.changed.clear()
            try:
                with anyio.fail_after(_SILENCE_S):
                    await self.changed.wait()
            except TimeoutError:
                raise Interrupted("the server does not answer") from None
        if self.status not in ("204", "404"):
            raise Interrupted(f"the server answered with status {self.status}")
        return self.messages, self.status == "404" or self.pending == 0


class _Questions:
    """The questions for entries that a client has asked, over one inbox."""

    def __init__(self, nc: Client, stream: str) -> None:
        self._nc, self._subject = nc, f"$JS.API.DIRECT.GET.{stream}"
        self.is_clustered = is_clustered(nc)
        self._inbox = nc.new_inbox()
        self._numbers = itertools.count()
        self._answers: dict[str, _Answer] = {}
        self._sub: Subscription | None = None

    async def open(self) -> None:
        self._sub = await self._nc.subscribe(
            f"{self._inbox}.*", cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )
        take_with_headers(self._nc, self._sub, self._on_messages)

    async def close(self) -> None:
        if self._sub is not None:
            await _end(self._nc, self._sub)

    async def ask(self, request: dict[str, Any]) -> _Answer:
        number, answer = str(next(self._numbers)), _Answer()
        self._answers[number] = answer
        await self._nc.publish(self._subject, msgspec.json.encode(request), reply=f"{self._inbox}.{number}")
        return answer

    def _on_messages(self, messages: list[HeadedMessage]) -> None:
        for message in messages:
            if answer := self._answers.get(message[0].rpartition(".")[2]):
                answer.messages.append(message)
                answer.changed.set()

    async def _on_message(self, msg: Msg) -> None:
        headers = msg.headers or {}
        if (status := headers.get("Status")) is None:
            self._on_messages([(msg.subject, raw_headers(headers), msg.data)])
        elif answer := self._answers.pop(msg.subject.rpartition(".")[2], None):
            answer.status, answer.pending = status, int(headers.get("Nats-Num-Pending", "-1"))
            answer.changed.set()


class _Tail:
    """The entries that the server repeats as it stores them."""

    def __init__(self, nc: Client, arena: str) -> None:
        self._nc, self._subject = nc, wire.TAIL_PREFIX + wire.arena_filter(arena)
        self._waiting: list[HeadedMessage] = []
        self._arrived = asyncio.Event()
        self._sub: Subscription | None = None

    async def open(self) -> None:
        self._sub = await self._nc.subscribe(
            self._subject, cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )
        take_with_headers(self._nc, self._sub, self._on_messages)
        await self._nc.flush()  # from here on nothing is missed

    async def close(self) -> None:
        if self._sub is not None:
            await _end(self._nc, self._sub)

    async def messages(self) -> list[HeadedMessage]:
        """Return what has come; none after a while of silence."""
        with anyio.move_on_after(TAIL_SILENCE_S):
            await self._arrived.wait()
        self._arrived.clear()
        taken, self._waiting = self._waiting, []
        return taken

    def put_back(self, messages: list[HeadedMessage]) -> None:
        """Return messages again, before those that came after them."""
        self._waiting = messages + self._waiting
        self._arrived.set()

    def _on_messages(self, messages: list[HeadedMessage]) -> None:
        if len(self._waiting) > _TAIL_KEPT:
            self._waiting.clear()
        self._waiting += messages
        self._arrived.set()

    async def _on_message(self, msg: Msg) -> None:
        self._on_messages([(msg.subject, raw_headers(msg.headers), msg.data)])


async def _end(nc: Client, subscription: Subscription) -> None:
    take_with_headers(nc, subscription, None)
    with anyio.move_on_after(2, shield=True), suppress(*TRANSIENT):
        await subscription.unsubscribe()
