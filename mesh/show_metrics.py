"""Serves a process's metrics and health beside its work, on request (`--metrics`)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import anyio

from mesh.bus import Bus
from mesh.errors import BadInput, BusError, leaf
from mesh.metric import ShownMetric

METRICS_OPTION = "Serve Prometheus metrics (/metrics) and health (/healthz) on this port, or HOST:PORT."
"""What the option says of itself."""

_ANSWERS_WITHIN_S = 2.0


@asynccontextmanager
async def showing_metrics(
    where: str,
    collect: Callable[[], Awaitable[Sequence[ShownMetric]]],
    trouble: Callable[[], Awaitable[str]],
    say: Callable[[str], None],
) -> AsyncIterator[None]:
    """Serve metrics and health while the block runs; nothing where `where` is "".

    Args:
        where: a port of loopback, or an address and a port.
        collect: returns the metrics as of now.
        trouble: returns why the process cannot work now, "" if it can.
        say: told the address.

    Raises:
        BadInput: nothing can listen there, or the extra `metrics` is not installed.
    """
    if not where:
        yield
        return
    try:
        from mesh.web.access import LOOPBACK, Guard, is_loopback
        from mesh.web.listening import listen, serve_app
        from mesh.web.metrics import metrics_address, metrics_app
    except ModuleNotFoundError as missing:
        raise BadInput(
            f"--metrics needs {missing.name}, which is not installed: pip install 'mesh-swarm[metrics]'"
        ) from None
    host, port = metrics_address(where)
    app = metrics_app(collect, trouble)
    if is_loopback(host):  # elsewhere any name may lead here, such as that of a service
        app = Guard(app, (*LOOPBACK, host), command="--metrics")
    try:
        with listen(host, port) as listening:
            shown = f"[{host}]" if ":" in host else host
            say(f"metrics at http://{shown}:{listening.getsockname()[1]}/metrics")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve_app, app, listening)
                yield
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None


async def server_trouble(bus: Bus) -> str:
    """Return the sentence that the server of the log does not answer, "" if it does."""
    with anyio.move_on_after(_ANSWERS_WITHIN_S), suppress(BusError):
        await bus.head()
        return ""
    return "the server of the log does not answer"
