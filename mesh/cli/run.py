"""How a command runs and ends: signals and expected errors."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable

import anyio

from mesh.cli.codes import ExitCode
from mesh.errors import MeshError, leaf


def run(work: Callable[[], Awaitable[None]], *, endless: bool = False) -> int:
    """Run a command until it ends or a signal ends it, which is how an `endless` one is meant to end."""
    interrupted = False

    async def until_told() -> None:
        nonlocal interrupted
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_signal, tasks.cancel_scope)
            interrupted = True
            await work()
            interrupted = False
            tasks.cancel_scope.cancel()

    try:
        anyio.run(until_told)
        sys.stdout.flush()
    except BaseException as error:
        cause = leaf(error)
        if isinstance(cause, MeshError):
            print(f"mesh: {cause}", file=sys.stderr)
            return cause.exit_code
        if isinstance(cause, BrokenPipeError):
            # `| head` has enough; what is left goes nowhere, so that the interpreter does not complain when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.OK
        raise
    return ExitCode.INTERRUPTED if interrupted and not endless else ExitCode.OK


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
