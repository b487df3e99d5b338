"""Live messages over plain NATS: topics, and questions to services with answers of any size. They are not facts."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

import anyio
from nats.aio.msg import Msg

from mesh import wire
from mesh.errors import BusUnavailable
from mesh.jetstream.closing import TRANSIENT
from mesh.jetstream.link import Link

CHUNK = 512 * 1024
_KEPT = 10_000
"""Messages that wait for a slow listener; after that it loses the oldest."""

MAX_ANSWERS = 4
"""Questions that one server answers at a time."""


class LiveTopics:
    """The live topics of one arena."""

    def __init__(self, link: Link, arena: str) -> None:
        self._link, self._arena = link, arena

    async def tell(self, topic: str, data: bytes) -> None:
        if self._link.nc.is_connected:
            with suppress(*TRANSIENT):
                await self._link.nc.publish(wire.live_subject(self._arena, topic), data)

    async def hear(self, topic: str) -> AsyncGenerator[tuple[str, bytes]]:
        prefix = len(wire.live_subject(self._arena, ""))
        waiting: deque[tuple[str, bytes]] = deque(maxlen=_KEPT)
        arrived = asyncio.Event()

        async def on_message(msg: Msg) -> None:
            waiting.append((msg.subject[prefix:], msg.data))
            arrived.set()

        async with self._link.hearing(wire.live_subject(self._arena, topic), on_message):
            while True:
                await arrived.wait()
                arrived.clear()
                while waiting:
                    yield waiting.popleft()

    async def ask(self, service: str, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        nc = await self._link.client()
        inbox = f"{nc.new_inbox()}.{uuid.uuid4().hex}"
        parts: list[bytes] = []
        ended = asyncio.Event()
        nobody, length = False, ""

        async def on_part(msg: Msg) -> None:
            nonlocal nobody, length
            headers = msg.headers or {}
            nobody = nobody or headers.get("Status") == "503"
            parts.append(msg.data)
            length = headers.get("Mesh-Length", "")
            if nobody or headers.get("Mesh-Last"):
                ended.set()

        subscription = await nc.subscribe(inbox, cb=on_part)
        try:
            with anyio.fail_after(timeout_s):
                await nc.publish(wire.live_subject(self._arena, service), data, reply=inbox)
                await ended.wait()
        except TRANSIENT:
            if denial := self._link.denial(wire.live_subject(self._arena, service)):
                raise denial from None
            raise BusUnavailable(f"{service!r} of arena {self._arena} did not answer within {timeout_s:g} s") from None
        finally:
            with anyio.move_on_after(2, shield=True), suppress(*TRANSIENT):
                await subscription.unsubscribe()
        if nobody:
            raise BusUnavailable(f"nobody answers {service!r} of arena {self._arena}: check that `mesh up` is running")
        answer = b"".join(parts)
        if length and int(length) != len(answer):  # a client that falls behind loses messages
            came = f"{len(answer):,} of the {length} bytes"
            raise BusUnavailable(f"only {came} of {service!r} of arena {self._arena} arrived: ask again")
        return answer

    async def answer(self, service: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        limit = anyio.Semaphore(MAX_ANSWERS)
        questions: deque[Msg] = deque()
        arrived = asyncio.Event()

        async def on_question(msg: Msg) -> None:
            questions.append(msg)
            arrived.set()

        async def serve(msg: Msg) -> None:
            try:
                data = await handler(msg.data)
                for start in range(0, max(len(data), 1), CHUNK):
                    last = {"Mesh-Last": "1", "Mesh-Length": str(len(data))} if start + CHUNK >= len(data) else None
                    await self._link.nc.publish(msg.reply, data[start : start + CHUNK], headers=last)
            except TRANSIENT:
                pass
            finally:
                limit.release()

        subject = wire.live_subject(self._arena, service)
        async with self._link.hearing(subject, on_question, queue="mesh"), anyio.create_task_group() as tasks:
            while True:
                await arrived.wait()
                arrived.clear()
                while questions:
                    await limit.acquire()
                    tasks.start_soon(serve, questions.popleft())
