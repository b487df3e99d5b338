"""How long a worker has had no run: a machine that is paid for by the hour need not wait for nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from mesh import times
from mesh.errors import BadInput

PRICED_S = 600.0
"""Seconds without a run after which a worker with a price leaves, unless it is told otherwise."""


class Idleness:
    """Counts the runs that a worker has; made when it joins."""

    def __init__(self) -> None:
        self._runs, self._since = 0, anyio.current_time()

    @property
    def runs(self) -> int:
        """The runs that the worker has now."""
        return self._runs

    @property
    def seconds(self) -> float:
        """Seconds since the worker had a run, 0 while it has one."""
        return 0.0 if self._runs else anyio.current_time() - self._since

    @contextmanager
    def run(self) -> Iterator[None]:
        """Note that the worker has a run while the block goes on."""
        self._runs += 1
        try:
            yield
        finally:
            self._runs -= 1
            self._since = anyio.current_time()

    async def until_idle(self, for_s: float) -> None:
        """Wait until the worker has had no run for so many seconds."""
        while (left := for_s if self._runs else self._since + for_s - anyio.current_time()) > 0:
            await anyio.sleep(left)


def idle_stop_s(given: str | None, *, is_priced: bool) -> float | None:
    """Return the seconds without a run after which a worker leaves, None for never.

    Args:
        given: the option `--idle-stop`, such as `10m`, `0` for never; None where it was not given.
        is_priced: whether somebody is paid for the machine.

    Raises:
        BadInput: the option is not a duration.
    """
    if given is None:
        return PRICED_S if is_priced else None
    try:
        return times.seconds(given) or None
    except BadInput as error:
        raise BadInput(f"--idle-stop: {error}, or 0 for never") from None
