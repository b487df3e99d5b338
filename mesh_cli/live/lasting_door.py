"""A door for a process that lasts: it is opened when it is wanted, and again when it was lost."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import anyio

from mesh.errors import MeshError, leaf

if TYPE_CHECKING:
    from gateway.door import Door


class LastingDoor:
    """Keeps a door open; another task must run `keep`. What is wrong is said to whoever asks for the door."""

    def __init__(self, open_door: Callable[[], AbstractAsyncContextManager["Door"]]) -> None:
        self._open = open_door
        self._door: Door | None = None
        self._trouble: MeshError | None = None
        self._wanted, self._settled = anyio.Event(), anyio.Event()

    async def door(self) -> "Door":
        """Return the door, opened.

        Raises:
            MeshError: It cannot be opened; asking again tries again.
        """
        if self._door is None and self._settled.is_set():
            self._settled = anyio.Event()
        self._wanted.set()
        await self._settled.wait()
        if self._door is None:
            assert self._trouble is not None
            raise self._trouble
        return self._door

    async def keep(self) -> None:
        """Open the door when it is asked for, and again after it was lost, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            if self._settled.is_set():
                self._settled = anyio.Event()
            try:
                async with self._open() as door:
                    self._door = door
                    self._settled.set()
                    await anyio.sleep_forever()
            except Exception as error:
                cause = leaf(error)
                if not isinstance(cause, MeshError):
                    raise
                self._trouble = cause
            finally:
                self._door = None
            self._settled.set()
