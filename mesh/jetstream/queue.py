"""Shared work: one durable consumer per queue and kind, earlier kinds first, a lease per delivery.

The lease is JetStream's ack deadline. If a member dies, its lease ends and another member gets the entry.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

import anyio
import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh import wire
from mesh.errors import BusRefused, BusUnavailable
from mesh.jetstream.closing import TRANSIENT
from mesh.jetstream.link import Link
from mesh.jetstream.log import message_info, stream_of

IDLE_POLL_S = 1.0
"""Seconds after which an idle member asks again, and so notices a lease that has ended."""


class JetStreamDelivery:
    """One delivery of an entry."""

    def __init__(self, link: Link, msg: Msg) -> None:
        sent = message_info(msg.reply)
        self.attempt = sent.attempt
        self.entry = wire.entry(sent.seq, sent.time, msg.subject, msg.data)
        self._link, self._reply = link, msg.reply

    async def done(self) -> None:
        for _ in range(3):
            with suppress(*TRANSIENT):
                await self._link.request(self._reply, b"+ACK", timeout_s=3)
                return
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
    link: Link, arena: str, queue: str, kinds: Sequence[str], lease_s: float
) -> AsyncGenerator[JetStreamDelivery]:
    """Yield deliveries until cancelled; see `mesh.bus.Bus.work`."""
    wire.check_token("queue", queue)
    filters = {f"{queue}_{kind.replace('.', '-')}": wire.kind_filter(arena, kind) for kind in kinds}
    member = _Member(link, arena, filters, lease_s)
    try:
        while True:
            if member.is_stale:
                try:
                    await member.open()
                except TRANSIENT:
                    await anyio.sleep(0.2)
                    continue
            member.woken.clear()
            msg = await member.take()
            pauses = iter((0.003, 0.01, 0.03, 0.1))
            while msg is None and not member.is_stale:
                if not member.woken.is_set():
                    with anyio.move_on_after(IDLE_POLL_S):
                        await member.woken.wait()
                elif pause := next(pauses, None):
                    # The publish that woke this member may not be stored yet.
                    await anyio.sleep(pause)
                else:
                    break
                msg = await member.take()
            if msg is not None:
                yield JetStreamDelivery(link, msg)
    finally:
        await member.close()


class _Member:
    """One member of a queue: its inbox, and the consumers from which it requests messages, in order."""

    def __init__(self, link: Link, arena: str, filters: dict[str, str], lease_s: float) -> None:
        self.woken = asyncio.Event()
        self._link, self._arena, self._filters, self._lease_s = link, arena, filters, lease_s
        self._nc: Client | None = None
        self._inbox = ""
        self._subscriptions: list[Subscription] = []

    @property
    def is_stale(self) -> bool:
        """Whether it has no inbox, a request failed, or the link has a new client."""
        return self._nc is not self._link.nc

    async def open(self) -> None:
        """Subscribe to a new inbox, so that late answers to older requests are ignored."""

        async def wake(_: Msg) -> None:
            self.woken.set()

        await self.close()
        nc = await self._link.client()
        self._inbox = nc.new_inbox()
        self._answers = await nc.subscribe(self._inbox)
        self._subscriptions.append(self._answers)
        for name, subject in self._filters.items():
            await _create(self._link, self._arena, name, subject, self._lease_s)
            # A publish on the subject wakes an idle member. It is only a hint: the member then asks the consumer.
            self._subscriptions.append(await nc.subscribe(subject, cb=wake))
        self._nc = nc

    async def close(self) -> None:
        self._nc, subscriptions, self._subscriptions = None, self._subscriptions, []
        with anyio.move_on_after(2, shield=True):
            for subscription in subscriptions:
                with suppress(*TRANSIENT):
                    await subscription.unsubscribe()

    async def take(self) -> Msg | None:
        """Ask each consumer once; return the first message, None if there is none."""
        for name, subject in self._filters.items():
            try:
                assert self._nc is not None, "take comes after open"
                next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream_of(self._arena)}.{name}"
                await self._nc.publish(next_subject, b'{"batch":1,"no_wait":true}', reply=self._inbox)
                msg = await self._answers.next_msg(timeout=2)
            except TRANSIENT:
                self._nc = None
                await anyio.sleep(0.1)
                return None
            if msg.reply.startswith("$JS.ACK."):
                return msg
            if (msg.headers or {}).get("Status") == "503":
                await _create(self._link, self._arena, name, subject, self._lease_s)
        return None


async def _create(link: Link, arena: str, name: str, subject: str, lease_s: float) -> None:
    stream = stream_of(arena)
    config: dict[str, Any] = {
        "durable_name": name,
        "name": name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(lease_s * 1e9),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "filter_subject": subject,
        "replay_policy": "instant",
    }
    request = {"stream_name": stream, "config": config}
    answer = await link.call(f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject}", request)
    if "error" in answer:
        raise BusRefused(f"queue {name} of arena {arena}: {msgspec.json.encode(answer['error']).decode()}")
