"""How a long-lived process of the mesh begins and ends.

It ends in good order on SIGINT or SIGTERM (one that drains: on the second of them), and when whoever started it is
gone: a parent that sets `MESH_PARENT=stdin` holds the other end of standard input, which closes however it dies.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from mesh.errors import MeshError, leaf


def run_daemon(main: Callable[[], Awaitable[None]], *, name: str, draining: anyio.Event | None = None) -> int:
    """Run `main` until it ends or the process is told to; return the exit code.

    An expected error becomes one sentence on standard error. Being told to end is success. With `draining` the first
    signal only sets it, so that `main` can finish what it has begun, and the second one ends it.
    """
    try:
        anyio.run(_until_stopped, main, name, draining)
    except BaseException as error:
        cause = leaf(error)
        if isinstance(cause, MeshError):
            print(f"{name}: {cause}", file=sys.stderr)
            return cause.exit_code
        if isinstance(cause, KeyboardInterrupt):
            return 0
        raise
    return 0


async def until_signal(
    main: Callable[[], Awaitable[None]], *, name: str = "", draining: anyio.Event | None = None
) -> bool:
    """Run `main` until it ends or a signal ends it; tell whether it ended by itself. Arguments as in `run_daemon`."""
    ended = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_heed_signals, tasks.cancel_scope, name, draining)
        await main()
        ended = True
        tasks.cancel_scope.cancel()
    return ended


async def _until_stopped(main: Callable[[], Awaitable[None]], name: str, draining: anyio.Event | None) -> None:
    async def with_parent() -> None:
        async with anyio.create_task_group() as tasks:
            if os.environ.get("MESH_PARENT") == "stdin":
                tasks.start_soon(_cancel_without_parent, tasks.cancel_scope)
            await main()
            tasks.cancel_scope.cancel()

    await until_signal(with_parent, name=name, draining=draining)


async def _heed_signals(scope: anyio.CancelScope, name: str, draining: anyio.Event | None) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if draining is None or draining.is_set():
                scope.cancel()
            else:
                print(f"{name}: finishing what has begun; a second signal ends it at once", file=sys.stderr)
                draining.set()


async def _cancel_without_parent(scope: anyio.CancelScope) -> None:
    os.set_blocking(0, False)
    while True:
        await anyio.wait_readable(0)
        try:
            if not os.read(0, 4096):
                break
        except BlockingIOError:
            continue
        except OSError:
            break
    scope.cancel()
