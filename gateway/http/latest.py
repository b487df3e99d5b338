"""The latest entries of a log in memory, for all who wait for what comes next; who was away longer reads the log."""

from collections import deque
from collections.abc import Collection, Sequence
from contextlib import aclosing

import anyio

from mesh.bus import Bus
from mesh.follow import Follower
from mesh.wire import Entry, Pattern, is_wanted

RING_ENTRIES, RING_BYTES = 2000, 8 * 1024 * 1024
_MOST_ENTRIES, _MOST_BYTES = 200, 2 * 1024 * 1024
"""Entries, and bytes of them, in one answer."""


class Latest:
    """Follows one log for any number of readers; `follow` is to run in a task."""

    def __init__(self, bus: Bus, follower: Follower) -> None:
        self._bus, self._follower = bus, follower
        self._ring: deque[Entry] = deque()
        self._bytes = 0
        self._news = anyio.Event()
        self._begins = 0

    async def follow(self) -> None:
        """Fold the board and keep the latest entries until cancelled."""
        self._ring.clear()
        self._bytes, self._begins = 0, self._follower.board.seq + 1
        await self._follower.follow(self._take)

    def _take(self, entry: Entry, counts: bool) -> None:
        self._ring.append(entry)
        self._bytes += len(entry.raw)
        while self._ring and (len(self._ring) > RING_ENTRIES or self._bytes > RING_BYTES):
            gone = self._ring.popleft()
            self._bytes -= len(gone.raw)
            self._begins = gone.seq + 1
        self._news.set()
        self._news = anyio.Event()

    async def since(self, after: int, wait_s: float, wanted: Sequence[Pattern]) -> tuple[list[Entry], int]:
        """Return the entries after `after` that are wanted, and the entry up to which this answer looked.

        It waits until there is one, for a time at most.

        Args:
            after: sequence of the last entry that the reader knows.
            wait_s: the longest time to wait, in seconds.
            wanted: patterns of the wanted entries; none: all.

        Raises:
            BusUnavailable: older entries cannot be read.
        """
        end = anyio.current_time() + wait_s
        found: list[Entry] = []
        while not found:
            news = self._news
            if after + 1 < self._begins:
                found, after = await self._from_log(after, self._begins - 1, wanted)
            elif after < self._follower.board.seq:
                found, after = self._from_ring(after, wanted)
            elif anyio.current_time() >= end:
                break
            else:
                with anyio.move_on_after(end - anyio.current_time()):
                    await news.wait()
        return found, after

    async def entries(self, seqs: Collection[int]) -> list[Entry]:
        """Return the entries of these sequences, in their order; only those that are not in memory come from the log.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        first = min(seqs, default=0)
        found: dict[int, Entry] = {}
        for entry in reversed(self._ring):
            if entry.seq < first or len(found) == len(seqs):
                break
            if entry.seq in seqs:
                found[entry.seq] = entry
        rest = [seq for seq in seqs if seq not in found]
        found |= {entry.seq: entry for entry in (await self._bus.entries(rest) if rest else [])}
        return [found[seq] for seq in seqs if seq in found]

    async def _from_log(self, after: int, until: int, wanted: Sequence[Pattern]) -> tuple[list[Entry], int]:
        """Return wanted entries after `after`, a bounded number, and up to which entry these are all."""
        found: list[Entry] = []
        async with aclosing(self._bus.read(after, until=until, only=wanted)) as batches:
            async for batch in batches:
                found += batch
                if _is_enough(found):
                    return _cut(found)
        if not found or until + 1 < self._begins:  # the ring went on while the log was read
            return found, until
        more, reached = self._from_ring(until, wanted)
        return _cut([*found, *more]) if _is_enough([*found, *more]) else ([*found, *more], reached)

    def _from_ring(self, after: int, wanted: Sequence[Pattern]) -> tuple[list[Entry], int]:
        fresh: list[Entry] = []
        for entry in reversed(self._ring):  # who waits misses few of many
            if entry.seq <= after:
                break
            fresh.append(entry)
        found = [entry for entry in reversed(fresh) if not wanted or is_wanted(entry.subject, wanted)]
        return _cut(found) if _is_enough(found) else (found, self._follower.board.seq)


def _is_enough(found: Sequence[Entry]) -> bool:
    return len(found) > _MOST_ENTRIES or sum(len(entry.raw) for entry in found) > _MOST_BYTES


def _cut(found: list[Entry]) -> tuple[list[Entry], int]:
    """Return the first entries, as many as fit into one answer, and the last one of them."""
    size = 0
    for count, entry in enumerate(found[: _MOST_ENTRIES + 1]):
        size += len(entry.raw)
        if count and (count == _MOST_ENTRIES or size > _MOST_BYTES):
            return found[:count], found[count - 1].seq
    return found, found[-1].seq
