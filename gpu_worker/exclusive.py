"""Gives a trial the machine for itself, where the metric is a time (`trial.exclusive`).

All workers of a user on one machine stand in one line. Each run draws a ticket, which is a locked byte of one file, and
has its turn when the tickets before it are given back: all of them where it wants to be alone, else those of runs that
do. So who came first goes first, whatever arena it is of, and nobody waits for ever. The kernel takes back the tickets
of a process that was killed.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from gpu_worker.machine import Slot
from mesh.byte_locks import HAS_BYTE_LOCKS, are_free, lock_byte, unlock_byte
from mesh.errors import HostTrouble

LOCK_FOLDER = Path("/tmp")
TRY_LOCK_EVERY_S = 0.02

_DRAWING, _FIRST = 0, 1
"""The byte that is locked while a ticket is drawn, and the byte of the first ticket."""
_COUNTER_BYTES = 8
_MAX_TICKET = 2**62


@asynccontextmanager
async def turn(*, alone: bool, gives_up: Callable[[], bool], folder: Path | None = None) -> AsyncIterator[bool]:
    """Hold the machine for one run: alone, or beside other runs that share it.

    Args:
        alone: whether no other run of this user's workers may go on meanwhile.
        gives_up: asked while it waits; once it is true, the block is entered without the machine.
        folder: where the line is; default: `LOCK_FOLDER`.

    Yields:
        Whether the machine is held.

    Raises:
        HostTrouble: a run that wants to be alone cannot stand in the line; other runs go on without it.
    """
    path, line = (folder or LOCK_FOLDER) / f"mesh-turns-{os.geteuid()}", -1
    try:
        try:
            line = _opened(path)
            is_mine = await _wait(line, alone, gives_up)
        except OSError as error:
            if alone:
                why = error.strerror
                raise HostTrouble(f"the lock {path} of exclusive runs cannot be opened: {why}") from None
            is_mine = not gives_up()
        yield is_mine
    finally:
        if line >= 0:
            os.close(line)


def pinned_cores(slot: Slot) -> tuple[int, ...]:
    """Return the cores on which an exclusive run stays: as many as the slot has threads, the last of the machine.

    Empty where this system cannot pin.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0))[-slot.threads :])


def _opened(path: Path) -> int:
    if not HAS_BYTE_LOCKS:
        raise OSError(0, "this system cannot lock bytes of files")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


async def _wait(line: int, alone: bool, gives_up: Callable[[], bool]) -> bool:
    """Draw a ticket and wait for its turn; return whether that has come.

    Raises:
        OSError: the file cannot be used.
    """
    ticket = 0
    while not gives_up():
        ticket = ticket or _draw(line, shared=not alone)
        if ticket and are_free(line, _FIRST, ticket, shared=not alone):
            return True
        await anyio.sleep(TRY_LOCK_EVERY_S)
    return False


def _draw(line: int, *, shared: bool) -> int:
    """Return the next ticket, 0 while somebody else draws one; a file that is damaged begins a new count."""
    if not lock_byte(line, _DRAWING):
        return 0
    try:
        last = int.from_bytes(os.pread(line, _COUNTER_BYTES, 0))
        ticket = last + 1 if _FIRST <= last < _MAX_TICKET else _FIRST
        while not lock_byte(line, ticket, shared=shared):
            ticket += 1
        os.pwrite(line, ticket.to_bytes(_COUNTER_BYTES), 0)
        return ticket
    finally:
        unlock_byte(line, _DRAWING)
