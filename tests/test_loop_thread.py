"""The event loop in a thread that the Python client runs in."""

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio.to_thread

from mesh_client.loop_thread import LoopThread


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


async def slow() -> None:
    await anyio.to_thread.run_sync(time.sleep, 0.7, abandon_on_cancel=True)


def test_closing_waits_for_the_threads_that_did_its_blocking_work() -> None:
    before = set(threading.enumerate())
    opened = LoopThread(nothing)
    call = opened.start(slow)
    time.sleep(0.2)  # it sleeps by now, in a thread of its own
    assert len(set(threading.enumerate()) - before) == 2
    opened.close()
    assert set(threading.enumerate()) <= before
    with suppress(BaseException):
        call.result(timeout=0)
