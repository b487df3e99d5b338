"""Starts and ends a long-lived process of the mesh.

The process ends in good order on SIGINT or SIGTERM; one that drains ends on the second signal. It also ends when its
parent dies: a parent that sets `MESH_PARENT=stdin` keeps the other end of standard input, which closes at its death.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.lowlevel

from mesh.errors import MeshError, leaf
from mesh.log_lines import log_lines


def run_daemon(
    main: Callable[[], Awaitable[None]],
    *,
    name: str,
    draining: anyio.Event | None = None,
    preempted: anyio.Event | None = None,
    log_json: bool = False,
) -> int:
    """Run `main` until it returns or a signal ends it; return the exit code.

    A `MeshError` becomes one sentence on standard error. An end by a signal is a success.

    Args:
        main: the work of the process.
        name: name of the process, which begins each line on standard error.
        draining: an event that the first signal sets, so that `main` can finish what it has begun. The second signal
            then ends the process.
        preempted: an event that a first SIGTERM sets in place of `draining`: the machine is taken away.
        log_json: write JSON objects to standard error, also where no setting wants it (`mesh.log_lines`).
    """
    try:
        with log_lines(name, json=log_json):
            return _exit_code(partial(_until_stopped, main, name, draining, preempted), name)
    except MeshError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code


def _exit_code(work: Callable[[], Awaitable[None]], name: str) -> int:
    try:
        anyio.run(work)
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
    main: Callable[[], Awaitable[None]],
    *,
    name: str = "",
    draining: anyio.Event | None = None,
    preempted: anyio.Event | None = None,
) -> bool:
    """Run `main` until it returns or a signal ends it; tell whether it returned. Arguments as in `run_daemon`."""
    ended = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_heed_signals, tasks.cancel_scope, name, draining, preempted)
        await main()
        ended = True
        tasks.cancel_scope.cancel()
    return ended


async def while_parent_lives(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` until it returns, or until the parent dies if that set `MESH_PARENT=stdin`."""
    async with anyio.create_task_group() as tasks:
        if os.environ.get("MESH_PARENT") == "stdin":
            tasks.start_soon(_cancel_without_parent, tasks.cancel_scope)
        await main()
        tasks.cancel_scope.cancel()


async def _until_stopped(
    main: Callable[[], Awaitable[None]], name: str, draining: anyio.Event | None, preempted: anyio.Event | None
) -> None:
    await until_signal(partial(while_parent_lives, main), name=name, draining=draining, preempted=preempted)


async def _heed_signals(
    scope: anyio.CancelScope, name: str, draining: anyio.Event | None, preempted: anyio.Event | None
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if preempted is not None and not preempted.is_set() and number == signal.SIGTERM:
                preempted.set()
            elif draining is None or draining.is_set() or (preempted is not None and preempted.is_set()):
                scope.cancel()
            else:
                print(f"{name}: finishing its work; send a second signal to end it at once", file=sys.stderr)
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
