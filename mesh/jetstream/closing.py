"""Closes a client of nats-py so that nothing of it is left: no task, and no socket."""

import asyncio
from contextlib import suppress
from typing import Any

import anyio
import nats.errors
from nats.aio.client import Client

from mesh.errors import BusError

TRANSIENT = (nats.errors.Error, asyncio.TimeoutError, TimeoutError, OSError)
"""Errors of a broken connection, after which an operation may be retried."""


class Interrupted(BusError):
    """A reader must start again: something was lost on its way, or the server has no answer now."""


async def close_client(nc: Client) -> None:
    """Close a client, also one that has closed itself, within a few seconds."""
    with anyio.move_on_after(2, shield=True), suppress(*TRANSIENT):
        try:
            with suppress(*TRANSIENT):  # of what could no longer be sent
                await nc.close()
            # nats-py leaves the socket of an interrupted first connection open.
            transport: Any = nc._transport
            if transport is not None:
                transport.close()
                await transport.wait_closed()
        except asyncio.CancelledError:
            # All who wait for the end of a stream share one future: who was cut off before us has cancelled it.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
    # An error while nats-py closes leaves its tasks running, and a later close does nothing.
    inner: Any = nc
    tasks = [inner._reading_task, inner._ping_interval_task, inner._flusher_task, inner._reconnection_task]
    tasks += [subscription._wait_for_msgs_task for subscription in inner._subs.values()]
    left = [task for task in tasks if task is not None and not task.done() and task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    if left:
        with anyio.CancelScope(shield=True):
            await asyncio.wait(left, timeout=1)
