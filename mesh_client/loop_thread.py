"""An event loop in a thread, in which an asynchronous client is open, for callers without one."""

import asyncio
import atexit
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from mesh.errors import BadInput, BusUnavailable, leaf

_Opened = TypeVar("_Opened")
_Result = TypeVar("_Result")

_CLOSED_WITHIN_S = 20.0
"""Seconds in which closing ends; the thread ends with the process in any case."""
_WORKERS_END_WITHIN_S = 5.0
"""Seconds in which the threads that did blocking work for the event loop end."""


class LoopThread(Generic[_Opened]):
    """Opens something in a thread with an event loop of its own, and calls asynchronous functions there.

    A call that the caller leaves, as by Ctrl-C, is cancelled. If what was opened fails, every call ends with its error.

    Attributes:
        opened: what was opened.
    """

    def __init__(self, open_it: Callable[[], AbstractAsyncContextManager[_Opened]]) -> None:
        self._ready: Future[_Opened] = Future()
        self._ended: Future[None] = Future()
        self._portal: BlockingPortal | None = None
        self._closing: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, args=(open_it,), name="mesh-client", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # a thread that still works at the end of the interpreter may abort the process
        try:
            self.opened = self._ready.result()
        except BaseException:
            self.close()
            raise

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, or has failed."""
        return self._ended.done()

    def start(self, function: Callable[..., Awaitable[_Result]], *args: Any, **words: Any) -> "Future[_Result]":
        """Begin a call, and return its result to be.

        Raises:
            BadInput: it is closed.
        """
        if self._ended.done() or self._portal is None:
            self._ended.result()
            raise BadInput("the connection is closed; open another one with mesh.connect")
        return self._portal.start_task_soon(partial(function, *args, **words))

    def call(self, function: Callable[..., Awaitable[_Result]], *args: Any, **words: Any) -> _Result:
        """Return the result of a call.

        Raises:
            BadInput: it is closed.
        """
        future = self.start(function, *args, **words)
        try:
            both: list[Future[Any]] = [future, self._ended]
            wait(both, return_when=FIRST_COMPLETED)
            if not future.done():
                self._ended.result()
                raise BusUnavailable("the connection was closed during the call")
            return future.result()
        finally:
            future.cancel()

    def close(self) -> None:
        """Close what was opened and end the thread, within seconds."""
        self.let_go()
        self._thread.join(_CLOSED_WITHIN_S)

    def let_go(self) -> None:
        """Begin to close what was opened."""
        if (portal := self._portal) is not None:
            with suppress(RuntimeError):  # the loop has ended
                portal.start_task_soon(self._close)

    async def _close(self) -> None:
        if self._closing is not None:
            self._closing.set()
        elif self._scope is not None:
            self._scope.cancel()

    def _run(self, open_it: Callable[[], AbstractAsyncContextManager[_Opened]]) -> None:
        try:
            try:
                anyio.run(self._serve, open_it)
            finally:
                self._await_workers()
        except BaseException as group:  # everything is told to who waits for it
            error = leaf(group)
            if not self._ready.done():
                self._ready.set_exception(error)
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)
        atexit.unregister(self.close)

    def _await_workers(self) -> None:
        """Wait for anyio's threads of the ended loop: anyio tells them to stop and does not wait.

        What such a thread still holds, a connection to DuckDB say, is not freed at the interpreter's end, which DuckDB
        reports on the user's terminal.
        """
        until = time.monotonic() + _WORKERS_END_WITHIN_S
        for thread in threading.enumerate():
            if self._loop is not None and getattr(thread, "loop", None) is self._loop:
                thread.join(max(0.0, until - time.monotonic()))

    async def _serve(self, open_it: Callable[[], AbstractAsyncContextManager[_Opened]]) -> None:
        self._loop = asyncio.get_running_loop()
        async with BlockingPortal() as portal:
            self._portal = portal
            try:
                with anyio.CancelScope() as self._scope:
                    async with open_it() as opened:
                        self._closing = anyio.Event()
                        self._ready.set_result(opened)
                        await self._closing.wait()
                if self._scope.cancelled_caught and not self._ready.done():
                    raise BusUnavailable("the connection was interrupted before it was open")
            finally:
                await portal.stop(cancel_remaining=True)
