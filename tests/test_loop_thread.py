"""The event loop in a thread that the Python client runs in."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio.to_thread

from mesh_client.loop_thread import LoopThread


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


def test_closing_waits_for_the_threads_that_did_its_blocking_work() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        go_on.wait(100)

    async def slow() -> None:
        await anyio.to_thread.run_sync(block, abandon_on_cancel=True)

    before = set(threading.enumerate())
    opened = LoopThread(nothing)
    call = opened.start(slow)
    assert begun.wait(100)  # in a thread of its own
    assert len(set(threading.enumerate()) - before) == 2
    releasing = threading.Timer(0.5, go_on.set)
    releasing.start()
    opened.close()
    assert set(threading.enumerate()) <= {*before, releasing}
    releasing.join()
    with suppress(BaseException):
        call.result(timeout=0)
