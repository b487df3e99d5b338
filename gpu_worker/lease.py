"""The lease of a run that a slot has been given: extended while the run is here, and given back."""

from collections import Counter
from contextlib import suppress

import anyio

from gpu_worker.supervisor.client import SupervisorDied
from mesh.bus import Delivery
from mesh.errors import BusError, HostTrouble
from mesh.events import RunRequested

EXTEND_EVERY_S = 1.5
HAND_BACK_S = 2.0


class Tally:
    """How often this worker has declined runs, and handed back those that it had begun, by run."""

    def __init__(self) -> None:
        self.declined: Counter[str] = Counter()
        self.handed_back: Counter[str] = Counter()


async def keep_lease(delivery: Delivery, after_s: float = 0) -> None:
    """Extend the lease of a delivery until cancelled, for the first time after some seconds."""
    await anyio.sleep(after_s)
    while True:
        await delivery.extend()
        await anyio.sleep(EXTEND_EVERY_S)


async def hand_back(tally: Tally, delivery: Delivery, error: BaseException | None = None) -> None:
    """Give a run to another worker, after a pause where the trouble is this machine's."""
    is_trouble = isinstance(error, HostTrouble)
    event = delivery.entry.post.event if delivery.entry.post else None
    if is_trouble and not isinstance(error, SupervisorDied) and isinstance(event, RunRequested):
        tally.handed_back[event.run] += 1
    with anyio.move_on_after(2, shield=True), suppress(BusError):
        await delivery.hand_back(HAND_BACK_S if is_trouble else 0.0)
