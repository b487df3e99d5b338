"""Deletes the folders of a slot's runs: beside the run that follows where its trial cannot look into them."""

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from gpu_worker.folders import close
from gpu_worker.sandbox.tiers import Sandbox
from mesh.file_trees import delete


class Clearing:
    """Closes and deletes the folders of runs.

    What a run left outside of its folder is deleted before the next trial begins, and never while one goes on: it could
    be the other one's.

    Args:
        tasks: where it deletes; one folder at a time, so that what is left does not pile up. Where the slot has
            trouble, they may be cancelled.
        folders: folders that are not deleted yet.
        sandbox: the sandbox of the slot.
    """

    def __init__(self, tasks: anyio.abc.TaskGroup, folders: set[Path], sandbox: Sandbox) -> None:
        self._tasks, self.folders, self._sandbox = tasks, folders, sandbox
        self._free = anyio.Semaphore(1)
        self._left: _Left | None = None

    async def clear(self, folder: Path) -> None:
        """Delete what a run left outside of its folder, and have its folder deleted; then the next run may begin."""
        await self.close_left()  # it is deleted only then, and this one after it
        await anyio.to_thread.run_sync(close, folder, self._sandbox)
        await self._free.acquire()
        if self._sandbox.tier in "DE":
            await self._delete(folder)
        else:
            self._tasks.start_soon(self._delete, folder)

    async def begin_to_leave(self) -> None:
        """Wait until a folder may be left; `leave` or `rather_not` has to follow."""
        await self._free.acquire()

    def rather_not(self) -> None:
        """Take `begin_to_leave` back."""
        self._free.release()

    def leave(self, folder: Path) -> anyio.Event:
        """Leave it to the next run, or to `close_left`, to close a folder; it is deleted once it is also judged.

        Returns:
            The event to set when the folder is judged.
        """
        self._left = left = _Left(folder)
        self._tasks.start_soon(self._delete_left, left)
        return left.judged

    async def in_thread(self, work: Callable[[], None]) -> None:
        """Run in a thread what makes a folder ready for a trial, after what the run before left is closed."""
        left, self._left = self._left, None

        def closed() -> None:
            if left:
                close(left.folder, self._sandbox)
            work()

        await anyio.to_thread.run_sync(closed)
        if left:
            left.closed.set()

    async def close_left(self) -> None:
        """Close the folder that was left, if it is not closed yet."""
        if self._left:
            await self.in_thread(lambda: None)

    async def _delete_left(self, left: "_Left") -> None:
        await left.closed.wait()
        await left.judged.wait()
        await self._delete(left.folder)

    async def _delete(self, folder: Path) -> None:
        try:
            await anyio.to_thread.run_sync(delete, folder)
            self.folders.discard(folder)
        finally:
            self._free.release()


class _Left:
    """A folder that is still open and not judged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.closed, self.judged = folder, anyio.Event(), anyio.Event()
