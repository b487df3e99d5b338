"""Shared work: one durable consumer per queue and kind, earlier kinds first, a lease per delivery.

The lease is JetStream's ack deadline. If a member dies, its lease ends and another member gets the entry.

What is published wakes one idle member, whatever their number: those without work are a queue group of NATS. A woken
member that finds work wakes the next one, because there may be more; one that finds none wakes nobody.

Members of a hub have no right to make consumers: whoever opens an arena makes those of its workers (`make_queue`). What
others publish they hear on the tail of the log.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh import wire
from mesh.bus import REQUESTS, HandedOut
from mesh.errors import BusRefused, BusUnavailable
from mesh.jetstream.closing import TRANSIENT
from mesh.jetstream.cluster import CLUSTER_LEASE_S
from mesh.jetstream.delivered import message_info
from mesh.jetstream.link import Link
from mesh.jetstream.streams import stream_of

LATE_S = 0.5
"""Seconds that a member that leaves waits for the answer to its last question: it may be an entry, for another member.
"""

IDLE_POLL_S = 1.0
"""Seconds after which a member asks for a kind again that had no entry, and so notices a lease that has ended."""

_NOT_THERE = (10014, 10059)
"""What the server answers where there is no such consumer, or no such stream."""

STORED_WITHIN_S = 0.2
"""Seconds within which the server has stored what it has published: until then, no answer proves that there is none."""

_PAUSES_S = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Pauses of a woken member between its questions; the last one comes after `STORED_WITHIN_S`, however the rest fell."""


class JetStreamDelivery:
    """One delivery of an entry."""

    def __init__(self, link: Link, msg: Msg) -> None:
        sent = message_info(msg.reply)
        self.attempt = sent.attempt
        self.entry = wire.entry(sent.seq, sent.time, msg.subject, msg.data)
        self._link, self._reply = link, msg.reply

    async def done(self) -> None:
        tries, give_up = 3, anyio.current_time() + CLUSTER_LEASE_S
        while tries or (self._link.is_clustered and anyio.current_time() < give_up):
            with suppress(*TRANSIENT):
                await self._link.request(self._reply, b"+ACK", timeout_s=3)
                return
            tries = max(0, tries - 1)
            await anyio.sleep(0.2 if self._link.is_clustered else 0)
        raise BusUnavailable(f"no server confirmed that entry {self.entry.seq} is done: it may be delivered again")

    async def extend(self) -> None:
        with suppress(*TRANSIENT):
            await self._link.nc.publish(self._reply, b"+WPI")

    async def hand_back(self, delay_s: float = 0.0) -> None:
        body = f'-NAK {{"delay": {int(delay_s * 1e9)}}}'.encode() if delay_s else b"-NAK"
        with suppress(*TRANSIENT):
            # The server answers after it has queued the entry again, so the next request may get it.
            await self._link.request(self._reply, body, timeout_s=2)


async def work(
    link: Link,
    arena: str,
    queue: str,
    kinds: Sequence[str],
    lease_s: float,
    first: Callable[[], str] | None = None,
) -> AsyncGenerator[JetStreamDelivery]:
    """Yield deliveries until cancelled; see `mesh.bus.Bus.work`."""
    wire.check_token("queue", queue)
    asked = _kinds(arena, queue, kinds)
    member = _Member(link, arena, queue, asked, lease_s)
    try:
        while True:
            if member.is_stale:
                try:
                    await member.open()
                except TRANSIENT:
                    await anyio.sleep(0.2)
                    continue
            member.woken.clear()
            msg = await member.take(first() if first else "")
            pauses = iter(_PAUSES_S)
            if msg is None and not member.is_stale:
                # Only from now on will a publish wake this member: so it has to ask once more.
                await member.listen()
                msg = await member.take(first() if first else "")
            while msg is None and not member.is_stale:
                if not member.woken.is_set():
                    with anyio.move_on_after(IDLE_POLL_S):
                        await member.woken.wait()
                elif pause := next(pauses, None):
                    # The publish that woke this member may not be stored yet.
                    await anyio.sleep(pause)
                else:
                    break
                msg = await member.take(first() if first else "")
            if msg is not None:
                await member.stop_listening()
                yield JetStreamDelivery(link, msg)
    finally:
        await member.close()


async def make_queue(link: Link, arena: str, queue: str, kinds: Sequence[str], lease_s: float) -> None:
    """Make the consumers of a queue, for members who may not.

    Raises:
        BusRefused: the server refuses it.
    """
    for kind in _kinds(arena, queue, kinds):
        await _create(link, arena, kind.consumer, kind.subject, lease_s)


def _kinds(arena: str, queue: str, kinds: Sequence[str]) -> list["_Kind"]:
    return [_Kind(kind, _consumer(queue, kind), wire.kind_filter(arena, kind)) for kind in kinds]


async def handed_out(link: Link, arena: str, queue: str, kinds: Sequence[str]) -> dict[str, HandedOut]:
    """Return how far a queue is; see `mesh.bus.Bus.handed_out`."""
    found: dict[str, HandedOut] = {}
    for kind in kinds:
        consumer = _consumer(queue, kind)
        answer = await link.call(f"$JS.API.CONSUMER.INFO.{stream_of(arena)}.{consumer}", {})
        error = answer.get("error") or {}
        if error and error.get("err_code") not in _NOT_THERE:
            raise BusRefused(f"queue {consumer} of arena {arena}: {msgspec.json.encode(error).decode()}")
        if not error:
            found[kind] = HandedOut(int(answer["ack_floor"]["stream_seq"]), int(answer["config"]["ack_wait"]) / 1e9)
    return found


def _consumer(queue: str, kind: str) -> str:
    return f"{queue}_{kind.replace('.', '-')}"


class _Kind:
    """What a member knows of one kind of entries: each question costs a round trip, and most kinds have none."""

    def __init__(self, name: str, consumer: str, subject: str) -> None:
        self.name, self.consumer, self.subject = name, consumer, subject
        self.lacking_since: float | None = None
        self._published = self._empty = -math.inf

    def publish(self) -> None:
        """Note that an entry was published now."""
        self._published = anyio.current_time()

    def answer(self, asked: float, *, empty: bool) -> None:
        """Note the answer to a question that was sent at the time `asked`."""
        self._empty = asked if empty else -math.inf

    def may_have_some(self) -> bool:
        """Tell whether it is worth a question: there was no "none" lately, or something was published since."""
        return self._empty < self._published + STORED_WITHIN_S or anyio.current_time() - self._empty >= IDLE_POLL_S


def _published(arena: str, kinds: Sequence[_Kind], prefix: str) -> list[str]:
    """Return the subjects on which a member hears what is published: few, for a server allows it only so many."""
    names = {kind.name for kind in kinds}
    rest = [kind.subject for kind in kinds if not (names >= {*REQUESTS} and kind.name in REQUESTS)]
    together = [wire.kind_filter(arena, "run.requested")] if len(rest) < len(kinds) else []
    return [f"{prefix}{subject}" for subject in (*together, *rest)]


class _Member:
    """One member of a queue: its inbox, and the consumers from which it requests messages, in order."""

    def __init__(self, link: Link, arena: str, queue: str, kinds: Sequence[_Kind], lease_s: float) -> None:
        self.woken = asyncio.Event()
        self._link, self._arena, self._queue, self._lease_s = link, arena, queue, lease_s
        self._kinds = kinds
        self._published = _published(arena, kinds, wire.TAIL_PREFIX if link.member else "")
        self._nc: Client | None = None
        self._inbox = ""
        self._subscriptions: list[Subscription] = []
        self._idle: list[Subscription] = []
        self._is_asking = self._is_listening = False

    @property
    def is_stale(self) -> bool:
        """Whether it has no inbox, a request failed, or the link has a new client."""
        return self._nc is not self._link.nc

    async def open(self) -> None:
        """Subscribe to a new inbox, so that late answers to older requests are ignored."""
        await self.close()
        nc = await self._link.client()
        self._inbox = nc.new_inbox()
        self._answers = await nc.subscribe(self._inbox)
        self._subscriptions.append(self._answers)
        for subject in self._published:
            self._subscriptions.append(await nc.subscribe(subject, cb=self._note))
        for kind in self._kinds:
            await self._make(kind)
            kind.publish()  # what was published before is not known
        self._nc = nc

    async def _make(self, kind: _Kind) -> None:
        """Make the consumer of a kind, or where a member of a hub may not, give the hub some time to do it.

        Raises:
            BusRefused: the hub has not made it, or the server refuses it.
        """
        if self._link.member is None:
            await _create(self._link, self._arena, kind.consumer, kind.subject, self._lease_s)
        elif kind.lacking_since is not None and anyio.current_time() - kind.lacking_since > self._link.patience_s:
            cure = f"let the owner of the hub run `mesh open` for arena {self._arena} again"
            raise BusRefused(f"the queue {kind.consumer} of arena {self._arena} is missing: {cure}")

    async def _note(self, msg: Msg) -> None:
        subject = msg.subject.removeprefix(wire.TAIL_PREFIX)
        for kind in self._kinds:
            if subject.startswith(kind.subject.removesuffix(">")):
                kind.publish()

    async def listen(self) -> None:
        """Let a publish wake this member, or another one without work. It is only a hint: the member then asks.

        What was published before wakes nobody, so every kind may have some again.
        """
        if self._nc is None or self._is_listening:
            return
        self._is_listening = True
        with suppress(*TRANSIENT):
            for subject in (*self._published, self._baton):
                self._idle.append(await self._nc.subscribe(subject, queue=self._queue, cb=self._wake))
        for kind in self._kinds:
            kind.publish()

    async def stop_listening(self) -> None:
        """Let publishes wake others, and wake one of them now: what was on its way to this member is lost to it."""
        idle, self._idle, self._is_listening = self._idle, [], False
        for subscription in idle:
            with suppress(*TRANSIENT):
                await subscription.unsubscribe()
        if idle:
            await self._wake_another()

    async def _wake(self, msg: Msg) -> None:
        if not self._is_listening:  # it was on its way when this member found work
            await self._wake_another()
            return
        for kind in self._kinds:
            if msg.subject == self._baton:
                kind.publish()
        self.woken.set()

    @property
    def _baton(self) -> str:
        return wire.live_subject(self._arena, f"work.{self._queue}")

    async def _wake_another(self) -> None:
        if (nc := self._nc) is not None:
            with suppress(*TRANSIENT):
                await nc.publish(self._baton)

    async def close(self) -> None:
        with anyio.move_on_after(2, shield=True):
            await self.stop_listening()
        nc, self._nc = self._nc, None
        subscriptions, self._subscriptions = self._subscriptions, []
        with anyio.move_on_after(2, shield=True):
            if self._is_asking and nc is self._link.nc:
                await self._pass_on()
            for subscription in subscriptions:
                with suppress(*TRANSIENT):
                    await subscription.unsubscribe()

    async def _pass_on(self) -> None:
        """Hand back what the server answers to a question that was cancelled: it would wait until its lease ends."""
        self._is_asking = False
        with suppress(*TRANSIENT):
            msg = await self._answers.next_msg(timeout=LATE_S)
            if msg.reply.startswith("$JS.ACK."):
                await self._link.request(msg.reply, b"-NAK", timeout_s=1)

    async def take(self, first: str) -> Msg | None:
        """Ask each consumer that may have a message, that of the kind `first` before the others; None if none has."""
        for kind in filter(_Kind.may_have_some, sorted(self._kinds, key=lambda kind: kind.name != first)):
            asked = anyio.current_time()
            try:
                assert self._nc is not None, "take comes after open"
                next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream_of(self._arena)}.{kind.consumer}"
                self._is_asking = True
                await self._nc.publish(next_subject, b'{"batch":1,"no_wait":true}', reply=self._inbox)
                msg = await self._answers.next_msg(timeout=2)
                self._is_asking = False
            except TRANSIENT:
                self._nc, self._is_asking = None, False
                await anyio.sleep(0.1)
                return None
            given = msg.reply.startswith("$JS.ACK.")
            kind.answer(asked, empty=not given)
            is_lacking = (msg.headers or {}).get("Status") == "503"
            kind.lacking_since = (kind.lacking_since or asked) if is_lacking else None
            if given:
                return msg
            if is_lacking:
                await self._make(kind)
                if self._link.member is None:
                    kind.publish()
        return None


async def _create(link: Link, arena: str, name: str, subject: str, lease_s: float) -> None:
    stream = stream_of(arena)
    config: dict[str, Any] = {
        "durable_name": name,
        "name": name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(max(lease_s, CLUSTER_LEASE_S if link.is_clustered else 0) * 1e9),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "filter_subject": subject,
        "replay_policy": "instant",
    }
    request = {"stream_name": stream, "config": config}
    answer = await link.call(f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject}", request)
    if "error" in answer:
        raise BusRefused(f"queue {name} of arena {arena}: {msgspec.json.encode(answer['error']).decode()}")
