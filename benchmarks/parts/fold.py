"""`python -m benchmarks.parts.fold HOW URL ARENA COUNT FILE`: read a log once in a new process, for `replay`.

`project` is the projector, folding all `COUNT` entries of the arena into a new DuckDB file; `fetch` is the raw limit:
nats-py's pull consumer fetches the same entries and acknowledges each. It prints, as JSON, the seconds of the reading,
the seconds of opening the DuckDB file before it, the CPU seconds and the peak memory of the process (MB). `late_cpu`
and `late_time` are CPU time and wall time of the last quarter of the entries, divided by those of the second quarter:
a reading that is flat has 1. The first quarter has the start in it, and is left out.
"""

import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import anyio
import duckdb
import msgspec
import nats
from nats.js.api import AckPolicy, ConsumerConfig

from analytics.projector import Projection, project
from benchmarks.parts.harness import Figures, memory_mb
from mesh import wire
from mesh.bus import ArenaBus, Hub
from mesh.jetstream import connect
from mesh.jetstream.log import PULL
from mesh.jetstream.streams import stream_of
from mesh.wire import Entry


class Quarters:
    """Notes the times at which a reading gets past quarters of its entries."""

    def __init__(self, count: int) -> None:
        self._past = [count // 4, count // 2, count * 3 // 4, count]
        self._times: list[tuple[float, float]] = []

    def note(self, seq: int) -> None:
        """Note that entries up to this one have been read."""
        while len(self._times) < len(self._past) and seq >= self._past[len(self._times)]:
            self._times.append((time.perf_counter(), time.process_time()))

    def figures(self) -> Figures:
        """Return how much longer the last quarter took than the second one."""
        first, second, third, fourth = self._times
        early, late = _differences(first, second), _differences(third, fourth)
        return {"late_time": late[0] / early[0], "late_cpu": late[1] / early[1]}


def _differences(before: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    return after[0] - before[0], after[1] - before[1]


async def fold(url: str, arena: str, count: int, path: Path) -> Figures:
    """Run the projector over one arena until it is up to date, into a new file at `path`."""
    began = opened = ended = time.perf_counter()
    quarters = Quarters(count)

    async def begin(_: Projection, __: ArenaBus) -> None:
        nonlocal opened
        opened = time.perf_counter()

    def end() -> None:
        nonlocal ended
        ended = time.perf_counter()
        scope.cancel()

    async with connect(url) as hub:
        began = time.perf_counter()
        with anyio.CancelScope() as scope:
            await project(_OneArena(hub, arena, quarters), path, on_ready=end, beside=begin)
    with duckdb.connect(str(path)) as db:
        assert db.execute("SELECT count(*), max(seq) FROM events").fetchall() == [(count, count)]
    return {"seconds": ended - opened, "opening_s": opened - began, "cpu_s": time.process_time()} | quarters.figures()


class _OneArena:
    """A hub that shows only one of its arenas, and notes how far that is read."""

    def __init__(self, hub: Hub, name: str, quarters: Quarters) -> None:
        self._hub, self._name, self._quarters = hub, name, quarters

    async def arenas(self) -> list[str]:
        return [self._name]

    async def arena(self, name: str, *, create: bool = False) -> ArenaBus:
        return cast(ArenaBus, _Noted(await self._hub.arena(name, create=create), self._quarters))


class _Noted:
    """The bus of an arena; what is read of it is noted."""

    def __init__(self, bus: ArenaBus, quarters: Quarters) -> None:
        self._bus, self._quarters = bus, quarters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def read(self, *args: Any, **options: Any) -> AsyncGenerator[list[Entry]]:
        """Yield what the bus yields."""
        async with aclosing(self._bus.read(*args, **options)) as batches:
            async for batch in batches:
                self._quarters.note(batch[-1].seq)
                yield batch


async def fetch(url: str, arena: str, count: int, _: Path) -> Figures:
    """Fetch and acknowledge `count` entries without decoding them."""
    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=-1, mem_storage=True)
    js = client.jetstream()
    subscription = await js.pull_subscribe(wire.arena_filter(arena), stream=stream_of(arena), config=config)
    began, left, quarters = time.perf_counter(), count, Quarters(count)
    while left:
        for msg in await subscription.fetch(min(PULL, left), timeout=30):
            await msg.ack()
            left -= 1
        quarters.note(count - left)
    await client.flush()
    took = time.perf_counter() - began
    await client.close()
    return {"seconds": took, "cpu_s": time.process_time()} | quarters.figures()


def main() -> None:
    """Read the log once and print the figures."""
    how, url, arena, count, path = sys.argv[1:]
    figures = anyio.run({"project": fold, "fetch": fetch}[how], url, arena, int(count), Path(path))
    print(msgspec.json.encode({**figures, "peak_mb": memory_mb()[1]}).decode())


if __name__ == "__main__":
    main()
