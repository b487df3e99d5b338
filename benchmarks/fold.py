"""`python -m benchmarks.fold HOW URL ARENA COUNT FILE`: read a log once in a process of its own, for `replay`.

`project` folds the first `COUNT` entries into the DuckDB file `FILE` as the projector does; `fetch` is the raw limit:
nats-py's pull consumer fetches the same entries and acknowledges each, and looks at none. Prints the seconds between
the first request and the last entry, and the peak of the process's memory (MB); the connection is there before.
"""

import sys
import time
from pathlib import Path

import anyio
import msgspec
import nats
from nats.js.api import AckPolicy, ConsumerConfig

from analytics.projector import replay
from benchmarks.harness import memory_mb
from mesh import wire
from mesh.jetstream import connect
from mesh.jetstream.log import PULL, stream_of


async def project(url: str, arena: str, count: int, path: Path) -> float:
    """Return the seconds that folding the first `count` entries into `path` took, opening the file included."""
    async with connect(url) as hub:
        bus = await hub.arena(arena)
        began = time.perf_counter()
        assert await replay(bus, path, until=count) == count
        return time.perf_counter() - began


async def fetch(url: str, arena: str, count: int, _: Path) -> float:
    """Return the seconds that fetching and acknowledging the first `count` entries took, without looking at them."""
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
    return took


def main() -> None:
    """Read the log once, and print what it took."""
    how, url, arena, count, path = sys.argv[1:]
    seconds = anyio.run({"project": project, "fetch": fetch}[how], url, arena, int(count), Path(path))
    figures = {"seconds": seconds, "peak_mb": memory_mb()[1]}
    print(msgspec.json.encode(figures).decode())


if __name__ == "__main__":
    main()
