"""Shared work: one durable consumer per queue and kind, earlier kinds first, a lease per delivery.

The lease is JetStream's ack deadline. A member that dies says nothing, and the entry comes to another one.
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
from mesh.jetstream.link import TRANSIENT, Link
from mesh.jetstream.log import message_info, stream_of

IDLE_POLL_S = 1.0
"""A lease that ended is noticed this late by an idle member, at the most."""


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
        raise BusUnavailable(f"entry {self.entry.seq} was finished, but no server confirmed it: it may come again")

    async def extend(self) -> None:
        with suppress(*TRANSIENT):
            await self._link.nc.publish(self._reply, b"+WPI")

    async def hand_back(self, delay_s: float = 0.0) -> None:
        body = f'-NAK {{"delay": {int(delay_s * 1e9)}}}'.encode() if delay_s else b"-NAK"
        with suppress(*TRANSIENT):
            # Answered once it has taken effect: whoever asks next may be given the entry.
            await self._link.request(self._reply, body, timeout_s=2)


async def work(
    link: Link, arena: str, queue: str, kinds: Sequence[str], lease_s: float
) -> AsyncGenerator[JetStreamDelivery]:
    """Yield deliveries for ever; see `mesh.bus.Bus.work`."""
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
                    # Who was woken by a publish may ask before the server has stored it.
                    await anyio.sleep(pause)
                else:
                    break
                msg = await member.take()
            if msg is not None:
                yield JetStreamDelivery(link, msg)
    finally:
        await member.close()


class _Member:
    """One member of a queue: its inbox, and the consumers that it asks in order."""

    def __init__(self, link: Link, arena: str, filters: dict[str, str], lease_s: float) -> None:
        self.woken = asyncio.Event()
        self._link, self._arena, self._filters, self._lease_s = link, arena, filters, lease_s
        self._nc: Client | None = None
        self._inbox = ""
        self._subscriptions: list[Subscription] = []

    @property
    def is_stale(self) -> bool:
        """Whether it has no inbox yet, must not trust it any more, or the link has another client by now."""
        return self._nc is not self._link.nc

    async def open(self) -> None:
        """Begin with a new inbox, so that late answers to older questions are nobody's."""

        async def wake(_: Msg) -> None:
            self.woken.set()

        await self.close()
        nc = await self._link.client()
        self._inbox = nc.new_inbox()
        self._answers = await nc.subscribe(self._inbox)
        self._subscriptions.append(self._answers)
        for name, subject in self._filters.items():
            await _create(self._link, self._arena, name, subject, self._lease_s)
            # The publish itself wakes an idle member: it costs nothing until it happens, and it is only a hint.
            self._subscriptions.append(await nc.subscribe(subject, cb=wake))
        self._nc = nc

    async def close(self) -> None:
        self._nc, subscriptions, self._subscriptions = None, self._subscriptions, []
        with anyio.move_on_after(2, shield=True):
            for subscription in subscriptions:
                with suppress(*TRANSIENT):
                    await subscription.unsubscribe()

    async def take(self) -> Msg | None:
        """Ask each consumer once and return the first message."""
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
