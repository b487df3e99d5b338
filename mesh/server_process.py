"""Starts a nats-server as a child that never outlives us, and ends it."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import anyio

from mesh import settings
from mesh.errors import BusUnavailable, leaf
from mesh.parent_death import die_with_parent
from mesh.store_lock import StoreLock

STOP_WITHIN_S = 10.0
REAP_WITHIN_S = 5.0


class Watched(Protocol):
    """A server that has started."""

    async def watch(self) -> None:
        """Start it again whenever it ends, until cancelled."""

    async def stop(self) -> None:
        """End it."""


def start_process(command: list[str], lock: StoreLock, log: Path) -> "subprocess.Popen[bytes]":
    """Start the server with the lock, in a new session so that Ctrl-C in a terminal does not reach it.

    Args:
        command: the program and its options.
        lock: the lock on its store, which it keeps until it ends.
        log: the file that gets what it prints.

    Raises:
        BusUnavailable: the program cannot be started.
    """
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=settings.without_secrets(os.environ),
                start_new_session=True,
                pass_fds=lock.descriptors,
                preexec_fn=functools.partial(die_with_parent, signal.SIGTERM) if sys.platform == "linux" else None,
            )
    except OSError as error:
        raise BusUnavailable(f"nats-server ({command[0]}) did not start: {error.strerror}") from None


@asynccontextmanager
async def kept_running(server: Watched) -> AsyncIterator[None]:
    """Watch a server while the block runs, and end it then."""
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.watch)
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    finally:
        with anyio.CancelScope(shield=True):
            await server.stop()


async def end_process(process: "subprocess.Popen[bytes]", *, at_once: bool = False) -> None:
    """End a server of ours and wait for it, but not for ever: the kernel may hold a process on a broken disk."""
    with anyio.CancelScope(shield=True):
        if not at_once:
            process.terminate()
            await _poll(process, STOP_WITHIN_S)
        if process.poll() is None:
            process.kill()
            await _poll(process, REAP_WITHIN_S)


def last_trouble(log: Path) -> str:
    """Return the last line of a server's log that tells of trouble, else its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    bad = [line for line in lines if "[FTL]" in line or "[ERR]" in line]
    return (bad or lines or ["its log is empty"])[-1]


async def _poll(process: "subprocess.Popen[bytes]", within_s: float) -> None:
    with anyio.move_on_after(within_s):
        while process.poll() is None:
            await anyio.sleep(0.02)
