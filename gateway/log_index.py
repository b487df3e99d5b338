"""What a gateway keeps of the log beside the board, folded from facts of a few kinds, and the task that folds it."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import ClassVar

import anyio

from mesh.bus import Bus
from mesh.errors import BusError
from mesh.wire import Entry, Pattern


class LogIndex:
    """A fold of the facts of some kinds; keep numbers in it, not texts: texts are fetched by sequence."""

    kinds: ClassVar[tuple[str, ...]] = ()

    def take(self, entry: Entry) -> None:
        """Fold the next entry of one of the kinds; its post may be None."""
        raise NotImplementedError


class IndexReader:
    """Folds one log into several indexes: call `catch_up` first, then run `follow`.

    Attributes:
        seq: sequence of the last entry that was folded; only entries of the kinds of the indexes count.
    """

    def __init__(self, bus: Bus, indexes: Sequence[LogIndex]) -> None:
        self.seq = 0
        self._bus, self._indexes = bus, tuple(indexes)
        self._wanted = [Pattern(kind=kind) for kind in dict.fromkeys(k for each in indexes for k in each.kinds)]
        self._changed = anyio.Event()

    async def catch_up(self) -> None:
        """Fold the entries that are in the log now.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        async with aclosing(self._bus.read(self.seq, until=await self._bus.head(), only=self._wanted)) as batches:
            async for batch in batches:
                self._fold(batch)

    async def follow(self) -> None:
        """Fold new entries until cancelled."""
        async with aclosing(self._bus.read(self.seq, follow=True, only=self._wanted)) as batches:
            async for batch in batches:
                self._fold(batch)

    async def reached(self, seq: int) -> None:
        """Wait until entry `seq`, which is of one of the kinds, is folded; another task must run `follow`."""
        while self.seq < seq:
            await self._changed.wait()

    async def reached_head(self, within_s: float = 2.0) -> None:
        """Wait until what is in the log now is folded, for a while at most.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        with anyio.move_on_after(within_s):
            await self.reached(await self._bus.head())

    def _fold(self, batch: Sequence[Entry]) -> None:
        for entry in batch:
            for index in self._indexes:
                if entry.subject.kind in index.kinds:
                    index.take(entry)
            self.seq = entry.seq
        self._changed.set()
        self._changed = anyio.Event()


async def patiently(work: Callable[[], Awaitable[None]]) -> None:
    """Do a work that goes on from where it was, again whenever the server was lost."""
    while True:
        with suppress(BusError):
            await work()
        await anyio.sleep(0.5)
