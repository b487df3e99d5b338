"""What the few rights of a member cost: reading without a consumer, and posting across the border of two accounts.

A hub with accounts runs as `mesh hub init` makes it. Its own connection, which may do everything, and that of a member
read the same log and post the same facts, in turns. `read_per_s` is how many entries a member reads in a second,
`read_to_hub` that rate divided by the hub's, which reads by a consumer, and `open.read_to_consumer` the same on a
server without accounts. `post_to_hub` is the time of a member's posts one by one, divided by that of the hub's, and
`posts_to_hub` the same for posts in flight, of which a member may have fewer.
"""

import gc
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import anyio

from benchmarks.parts.harness import Figures, Goal, a_hub, ratio, say
from benchmarks.parts.mix import opening, posts
from mesh.accounts.creds_file import write_creds
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import init_hub, write_configs
from mesh.accounts.issuing import issue
from mesh.accounts.nkey import new_nkey
from mesh.bus import Bus
from mesh.errors import BusUnavailable
from mesh.events import NotePosted
from mesh.jetstream import JetStreamHub, connect
from mesh.jetstream.member import MemberCredentials
from mesh.server import find_binary
from mesh.wire import Post

GOALS: dict[str, Goal] = {"read_per_s": (">=", 20_000), "post_to_hub": ("<=", 1.3)}

Sides = Mapping[str, Callable[[], Awaitable[None]]]


async def measure(quick: bool) -> Figures:
    """Return entries per second, milliseconds per post, and ratios."""
    count, rounds, few = (20_000, 5, 100) if quick else (100_000, 11, 400)
    say("a server without accounts")
    async with a_hub("2m") as (hub, server, _), connect(server.url, patience_s=60) as other:
        theirs = await _filled(hub, other, count)
        other.link.member = MemberCredentials("ann", ("a",))
        took = await _in_turns({"consumer": partial(_read, theirs[0]), "member": partial(_read, theirs[1])}, rounds)
    figures = {"open.read_to_consumer": ratio(took["consumer"], took["member"])}
    say("a hub with accounts")
    async with _a_hub_with_accounts() as (hub, other):
        own, members = await _filled(hub, other, count)
        took = await _in_turns({"hub": partial(_read, own), "member": partial(_read, members)}, rounds)
        figures |= {f"{name}_read_per_s": count / statistics.median(seconds) for name, seconds in took.items()}
        figures["read_per_s"] = figures.pop("member_read_per_s")
        figures["read_to_hub"] = ratio(took["hub"], took["member"])
        sides = {"hub": partial(_post_each, own, "op", few), "member": partial(_post_each, members, "ann", few)}
        took = await _in_turns(sides, 2 * rounds)
        figures |= {f"{name}_post_ms": statistics.median(seconds) / few * 1000 for name, seconds in took.items()}
        figures["post_to_hub"] = ratio(took["member"], took["hub"])
        many = 10 * few
        sides = {"hub": partial(_post_all, own, "op", many), "member": partial(_post_all, members, "ann", many)}
        took = await _in_turns(sides, rounds)
        figures |= {f"{name}_posts_per_s": many / statistics.median(seconds) for name, seconds in took.items()}
        figures["posts_to_hub"] = ratio(took["member"], took["hub"])
    return figures


async def _filled(hub: JetStreamHub, other: JetStreamHub, count: int) -> tuple[Bus, Bus]:
    """Write a log, and return the buses of both connections."""
    bus = await hub.arena("a", create=True)
    await bus.post_all(chain([opening("a")], posts("a-", count - 1)))
    return bus, await other.arena("a")


async def _in_turns(sides: Sides, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every side in every round; every other round goes through them backwards."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, rounds):  # the first round warms up and does not count
        for name in list(sides)[:: -1 if number % 2 else 1]:
            gc.collect()
            began = time.perf_counter()
            await sides[name]()
            if number >= 0:
                took[name].append(time.perf_counter() - began)
    return took


async def _read(bus: Bus) -> None:
    async with aclosing(bus.read()) as batches:
        async for _ in batches:
            pass


async def _post_each(bus: Bus, author: str, count: int) -> None:
    for post in _notes(author, count):
        await bus.post(post)


async def _post_all(bus: Bus, author: str, count: int) -> None:
    results = await bus.post_all(_notes(author, count))
    assert all(isinstance(result, int) for result in results)


def _notes(author: str, count: int) -> list[Post]:
    return [Post.new(author, NotePosted(channel="general", text=f"{number} {'x' * 300}")) for number in range(count)]


@asynccontextmanager
async def _a_hub_with_accounts() -> AsyncIterator[tuple[JetStreamHub, JetStreamHub]]:
    """Run a hub with accounts in a fresh folder; yield its own connection, and that of a member."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        hub, _ = init_hub(Path(name) / "hub", port=port, disk_bytes=8 << 30)
        write_configs(hub)
        member = _member(hub, Path(name) / "ann.creds")
        async with await anyio.open_process([find_binary(), "-c", str(hub.config_file())], stderr=None) as server:
            try:
                await _ready(hub)
                async with (
                    connect(hub.own_url, credentials=hub.hub_creds, patience_s=60) as own,
                    connect(hub.own_url, credentials=member, patience_s=60) as other,
                ):
                    yield own, other
            finally:
                server.terminate()


def _member(hub: HubFolder, path: Path) -> Path:
    key = new_nkey("user")
    write_creds(path, issue(hub, name="ann", role="agent", arenas=["a"], public=key.public), key, hub.ca)
    return path


async def _ready(hub: HubFolder) -> None:
    with anyio.fail_after(60):
        while True:
            try:
                async with connect(hub.own_url, credentials=hub.hub_creds, patience_s=2):
                    return
            except BusUnavailable:
                await anyio.sleep(0.1)
