"""A subscription that outlives the client of a connection that repairs itself."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh.jetstream.closing import TRANSIENT

OnMessage = Callable[[Msg], Awaitable[None]]


class StandingSubscription:
    """A subscription that is made again for each new client of a link."""

    def __init__(self, subject: str, queue: str, on_message: OnMessage) -> None:
        self._subject, self._queue, self._on_message = subject, queue, on_message
        self._subscription: Subscription | None = None

    async def begin(self, nc: Client) -> None:
        self._subscription = await nc.subscribe(self._subject, queue=self._queue, cb=self._on_message)

    async def end(self) -> None:
        if self._subscription is not None:
            with anyio.move_on_after(2, shield=True), suppress(*TRANSIENT):
                await self._subscription.unsubscribe()
