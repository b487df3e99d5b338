"""How fast facts are appended: `bus.post` and `post_all`, compared with raw nats-py publishes of the same bytes.

All sides write to streams of the same configuration on the same server, over one connection each, with the same number
of posts in flight, in turns. Every figure names the server's sync setting: `always` is the embedded server's default,
`2m` is nats-server's. There are two raw sides. `raw` publishes without headers, so nothing refuses a second fact of the
same key or recognises a repetition; `raw_cas` sends the headers that `post` sends. The goals compare with `raw`, which
does less than `post`. Both raw sides get their bytes and subjects ready-made; `post` encodes its own.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import nats
from nats.js.client import JetStreamContext

from benchmarks.parts.harness import Figures, Goal, a_hub, ratio, say
from benchmarks.parts.mix import posts
from mesh import wire
from mesh.bus import Bus
from mesh.jetstream.link import WINDOW
from mesh.wire import Post

SYNCS = ("always", "2m")
GOALS: dict[str, Goal] = {
    f"sync_{sync}.{figure}": goal
    for sync in SYNCS
    for figure, goal in (("pipelined_ratio", (">=", 0.7)), ("latency_ratio", ("<=", 1.3)))
}

Publish = tuple[str, bytes, dict[str, str] | None]
Sides = Mapping[str, Callable[[list[Post]], Callable[[], Awaitable[None]]]]
"""By name of the side: a function that prepares some posts and returns the function that is timed."""


async def measure(quick: bool) -> Figures:
    """Return posts per second in flight, milliseconds per post one by one, and ratios, for both sync settings."""
    figures: Figures = {}
    for sync in SYNCS:
        say(f"sync {sync}")
        async with a_hub(sync) as (hub, server, _):
            bus, raw, cas = [await hub.arena(name, create=True) for name in ("ours", "raw", "cas")]
            client = await nats.connect(server.url, pending_size=16 * 1024 * 1024)
            js = client.jetstream(publish_async_max_pending=WINDOW, timeout=60)
            try:
                found = await _compare(bus, js, raw.arena, cas.arena, quick)
            finally:
                await client.close()
        figures |= {f"sync_{sync}.{name}": value for name, value in found.items()}
    return figures


async def _compare(bus: Bus, js: JetStreamContext, raw: str, cas: str, quick: bool) -> Figures:
    in_flight: Sides = {
        "post": lambda batch: partial(_post_all, bus, batch),
        "raw": lambda batch: partial(_publish_all, js, [_bare(raw, p) for p in batch]),
        "raw_cas": lambda batch: partial(_publish_all, js, [_guarded(cas, p) for p in batch]),
    }
    one_by_one: Sides = {
        "post": lambda batch: partial(_post_each, bus, batch),
        "raw": lambda batch: partial(_publish_each, js, [_bare(raw, p) for p in batch]),
        "raw_cas": lambda batch: partial(_publish_each, js, [_guarded(cas, p) for p in batch]),
    }
    rounds, many, few = (9, 2000, 100) if quick else (21, 6000, 400)
    times = await _in_turns("many-", in_flight, rounds, many)
    figures = {f"{name}_per_s": many / statistics.median(seconds) for name, seconds in times.items()}
    figures["pipelined_ratio"] = ratio(times["raw"], times["post"])
    figures["pipelined_ratio_to_raw_cas"] = ratio(times["raw_cas"], times["post"])
    times = await _in_turns("few-", one_by_one, rounds, few)
    figures |= {f"{name}_ms": statistics.median(seconds) / few * 1000 for name, seconds in times.items()}
    figures["latency_ratio"] = ratio(times["post"], times["raw"])
    figures["latency_ratio_to_raw_cas"] = ratio(times["post"], times["raw_cas"])
    return figures


async def _in_turns(name: str, sides: Sides, rounds: int, count: int) -> dict[str, list[float]]:
    """Return the seconds of every side in every round; every other round goes through them backwards."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(-1, rounds):  # the first round warms up and does not count
        for side in list(sides)[:: -1 if number % 2 else 1]:
            run = sides[side](list(posts(f"{name}{side}-{number}-", count)))
            gc.collect()
            began = time.perf_counter()
            await run()
            if number >= 0:
                times[side].append(time.perf_counter() - began)
    return times


def _bare(arena: str, post: Post) -> Publish:
    return wire.subject_of(arena, post), wire.encode(post), None


def _guarded(arena: str, post: Post) -> Publish:
    headers = {
        "Nats-Msg-Id": post.id,
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Nats-Expected-Last-Subject-Sequence-Subject": wire.key_filter(arena, post),
    }
    return wire.subject_of(arena, post), wire.encode(post), headers


async def _post_all(bus: Bus, batch: Sequence[Post]) -> None:
    results = await bus.post_all(batch)
    assert all(isinstance(result, int) for result in results)


async def _post_each(bus: Bus, batch: Sequence[Post]) -> None:
    for post in batch:
        await bus.post(post)


async def _publish_all(js: JetStreamContext, batch: Sequence[Publish]) -> None:
    acks = [await js.publish_async(subject, data, headers=headers) for subject, data, headers in batch]
    assert len({ack.seq for ack in await asyncio.gather(*acks)}) == len(batch)  # noqa: TID251  # they are futures


async def _publish_each(js: JetStreamContext, batch: Sequence[Publish]) -> None:
    for subject, data, headers in batch:
        await js.publish(subject, data, headers=headers)
