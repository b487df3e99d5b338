"""A member that floods a hub, and honest ones beside it: how long their posts take, and when the flood ends."""

import json
import time
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
import nats
import nats.errors
from nats.aio.client import Client

from mesh import wire
from mesh.events import NotePosted
from mesh.jetstream.credentials import proof
from mesh.wire import Post

HONEST, BURST, AROUND = 6, 200, 20
"""Honest posters at a time, messages of the flood between two looks at the clock, and posts before and after it."""


class FloodResult(msgspec.Struct, frozen=True):
    """What came of a flood.

    Attributes:
        lasted_s: seconds until the server took no more of it.
        sent: messages that it sent.
        took_s: seconds of each honest post, until it was stored.
        stored: sequences of the honest posts.
    """

    lasted_s: float
    sent: int
    took_s: list[float]
    stored: set[int]


async def member_client(url: str, credentials: Path, name: str) -> Client:
    """Return a plain client with the credentials of a member."""
    inbox = f"_INBOX_{name}".encode()
    return await nats.connect(url, inbox_prefix=inbox, allow_reconnect=False, connect_timeout=30, **proof(credentials))


async def flood_beside_honest(arena: str, honest: Client, flooding: Client, flood_s: float) -> FloodResult:
    """Publish without waiting for answers, as member `mallory`, while `ann` posts; return what came of it.

    Args:
        arena: the arena.
        honest: the client of `ann`.
        flooding: the client of `mallory`.
        flood_s: seconds for which the flood tries to go on.
    """
    took: list[float] = []
    stored: set[int] = set()
    stop = anyio.Event()

    async def post_notes() -> None:
        while not stop.is_set():
            post = Post.new("ann", NotePosted(channel="g", text="me"))
            began = time.monotonic()
            stored.add(await _post(honest, wire.subject_of(arena, post), wire.encode(post)))
            took.append(time.monotonic() - began)
            await anyio.sleep(0.01)

    async def some_more() -> None:
        enough = len(took) + AROUND
        while len(took) < enough:
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        for _ in range(HONEST):
            tasks.start_soon(post_notes)
        await some_more()
        began, sent = time.monotonic(), 0
        while not flooding.is_closed and time.monotonic() - began < flood_s:
            with suppress(nats.errors.Error, OSError):
                for number in range(sent, sent + BURST):
                    await flooding.publish(f"mesh.{arena}.note.posted.f{number}.mallory", b"x" * 100)
                sent += BURST
                await flooding.flush(timeout=1)
        lasted_s = time.monotonic() - began
        await some_more()
        stop.set()
    return FloodResult(lasted_s, sent, took, stored)


async def _post(nc: Client, subject: str, data: bytes) -> int:
    """Post as the product does: the same message again until the server has stored it; return its sequence."""
    began, headers = time.monotonic(), {"Nats-Msg-Id": subject}
    while True:
        try:
            answer = json.loads((await nc.request(subject, data, timeout=2, headers=headers)).data)
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
            answer = {}
        if "error" not in answer and "seq" in answer:
            return int(answer["seq"])
        if time.monotonic() - began > 30:
            raise TimeoutError(f"{subject} was not stored: {answer}")
        await anyio.sleep(0.02)
