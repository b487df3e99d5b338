"""Gives a trial the machine for itself, where the metric is a time (`trial.exclusive`).

All workers of a user on one machine share two locks. A trial that wants to be alone holds the gate while it waits for
the room. All others pass the gate before they share the room, so they cannot keep it waiting for ever. The kernel
opens the locks of a process that was killed.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from gpu_worker.machine import Slot
from mesh.errors import HostTrouble

LOCK_FOLDER = Path("/tmp")
TRY_LOCK_EVERY_S = 0.02


@asynccontextmanager
async def turn(*, alone: bool, gives_up: Callable[[], bool], folder: Path | None = None) -> AsyncIterator[bool]:
    """Hold the machine for one run: alone, or beside other runs that share it.

    Args:
        alone: whether no other run of this user's workers may go on meanwhile.
        gives_up: asked while it waits; once it is true, the block is entered without the machine.
        folder: where the locks are; default: `LOCK_FOLDER`.

    Yields:
        Whether the machine is held.

    Raises:
        HostTrouble: the locks of a run that wants to be alone cannot be opened; other runs go on without them.
    """
    kind, folder = fcntl.LOCK_EX if alone else fcntl.LOCK_SH, folder or LOCK_FOLDER
    async with AsyncExitStack() as held:
        async with AsyncExitStack() as passing:
            is_mine = await _lock(folder, "gate", kind, held if alone else passing, gives_up)
            is_mine = is_mine and await _lock(folder, "room", kind, held, gives_up)
        yield is_mine


def pinned_cores(slot: Slot) -> tuple[int, ...]:
    """Return the cores on which an exclusive run stays: as many as the slot has threads, the last of the machine.

    Empty where this system cannot pin.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0))[-slot.threads :])


async def _lock(folder: Path, name: str, kind: int, stack: AsyncExitStack, gives_up: Callable[[], bool]) -> bool:
    path = folder / f"mesh-{name}-{os.geteuid()}"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if kind == fcntl.LOCK_SH:
            return not gives_up()
        raise HostTrouble(f"the lock {path} of exclusive runs cannot be opened: {error.strerror}") from None
    stack.callback(os.close, lock)
    while not gives_up():
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except OSError:
            await anyio.sleep(TRY_LOCK_EVERY_S)
        else:
            return True
    return False
