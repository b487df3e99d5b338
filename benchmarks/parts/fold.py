"""`python -m benchmarks.parts.fold HOW URL ARENA COUNT FILE`: read a log once in a new process, for `replay`.

`project` is the projector, folding all `COUNT` entries of the arena into a new DuckDB file; `fetch` is the raw limit:
nats-py's pull consumer fetches the same entries and acknowledges each. It prints, as JSON, the seconds of the reading,
the seconds of opening the DuckDB file before it, the CPU seconds and the peak memory of the process (MB).
"""

import sys
import time
from pathlib import Path

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


async def fold(url: str, arena: str, count: int, path: Path) -> Figures:
    """Run the projector over one arena until it is up to date, into a new file at `path`."""
    began = opened = ended = time.perf_counter()

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
            await project(_OneArena(hub, arena), path, on_ready=end, beside=begin)
    with duckdb.connect(str(path)) as db:
        assert db.execute("SELECT count(*), max(seq) FROM events").fetchall() == [(count, count)]
    return {"seconds": ended - opened, "opening_s": opened - began, "cpu_s": time.process_time()}


class _OneArena:
    """A hub that shows only one of its arenas."""

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub, self._name = hub, name

    async def arenas(self) -> list[str]:
        return [self._name]

    async def arena(self, name: str, *, create: bool = False) -> ArenaBus:
        return await self._hub.arena(name, create=create)


async def fetch(url: str, arena: str, count: int, _: Path) -> Figures:
    """Fetch and acknowledge `count` entries without decoding them."""
    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=-1, mem_storage=True)
    js = client.jetstream()
    subscription = await js.pull_subscribe(wire.arena_filter(arena), stream=stream_of(arena), config=config)
    began, left = time.perf_counter(), count
    while left:
        for msg in await subscription.fetch(min(PULL, left), timeout=30):
            await msg.ack()
            left -= 1
    await client.flush()
    took = time.perf_counter() - began
    await client.close()
    return {"seconds": took, "cpu_s": time.process_time()}


def main() -> None:
    """Read the log once and print the figures."""
    how, url, arena, count, path = sys.argv[1:]
    figures = anyio.run({"project": fold, "fetch": fetch}[how], url, arena, int(count), Path(path))
    print(msgspec.json.encode({**figures, "peak_mb": memory_mb()[1]}).decode())


if __name__ == "__main__":
    main()
