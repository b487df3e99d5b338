"""Asks the samplers in another thread, so that a process answers the server while they calculate."""

from collections.abc import Sequence
from functools import partial
from random import Random

import anyio
import anyio.to_thread

from agents.search.history import Known
from agents.search.strategy import Choice, Strategy
from mesh.knobs import Knob


class Asking:
    """Asks the samplers for ideas, one question after the other: what they have learned serves all explorers."""

    def __init__(self, strategy: Strategy, lock: anyio.Lock) -> None:
        self._strategy, self._lock = strategy, lock

    async def ask(
        self, space: Sequence[Knob], known: Known, rng: Random, attempt: int, structural: Sequence[str]
    ) -> Choice:
        """Return an idea, as `Strategy.ask`, and let others work meanwhile."""
        ask = partial(self._strategy.ask, structural=structural)
        trials, pending = known.trials, known.pending
        async with self._lock:  # a read of the history would change the trials
            return await anyio.to_thread.run_sync(ask, space, trials, pending, rng, attempt)
