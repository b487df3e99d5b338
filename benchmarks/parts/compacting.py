"""`python -m benchmarks.parts.compacting PROPOSALS`: what `mesh compact` does to an arena of that many proposals.

Each proposal is a real commit that changes some constants of `arenas/nanolm/train.py`, and all but the last hundredth
are retired. It prints, as JSON, objects, bytes on disk and the server's memory after a restart, before and after; how
long it takes; what a commit then takes to fetch; and how many commits no longer have their files, which must be none.
"""

import datetime as dt
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import msgspec

from benchmarks.parts.harness import Figures, say, told
from benchmarks.parts.log_at_size import Server, disk_bytes
from benchmarks.parts.mix import opening
from mesh import events as e
from mesh.code import CodeStore, Commit
from mesh.errors import ObjectMissing
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, connect
from mesh.wire import Post
from mesh_cli.history.compaction import movable

_PROGRAM = Path(__file__).parents[2] / "arenas" / "nanolm" / "train.py"
_FETCHES = 300


async def measure(count: int) -> Figures:
    """Make the arena, compact it, and read every commit."""
    figures: Figures = {"proposals": count}

    def note(**found: float) -> None:
        figures.update(found)
        say(told(found))

    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = Server(folder / "server")
        try:
            server.start("2m")
            async with connect(server.url, patience_s=60) as hub:
                base, commits = await _fill(await hub.arena("a", create=True), folder, count)
            note(**await _state(server, "before"))
            async with connect(server.url, patience_s=60) as hub:
                bus = await hub.arena("a")
                note(before_fetch_ms=await _fetch_ms(bus, folder / "before.git", base, commits))
                follower = Follower(bus)
                await follower.catch_up()
                names = movable(follower.board)
                for deed, only_count in (("dry", True), ("move", False), ("again", False)):
                    began = time.perf_counter()
                    moved = await bus.group(names, only_count=only_count)
                    note(**{f"{deed}_s": time.perf_counter() - began, f"{deed}_objects": moved.objects})
                    if not only_count and moved.objects:
                        note(groups=moved.groups, bytes=moved.bytes, group_bytes=moved.group_bytes)
            note(**await _state(server, "after"))
            async with connect(server.url, patience_s=60) as hub:
                bus = await hub.arena("a")
                note(after_fetch_ms=await _fetch_ms(bus, folder / "after.git", base, commits))
                began = time.perf_counter()
                lost = await _lost(bus, folder / "all.git", base, commits)
                note(lost=lost, all_fetched_per_s=count / (time.perf_counter() - began))
        finally:
            server.end(signal.SIGKILL)
    return figures


async def _fill(bus: JetStreamBus, folder: Path, count: int) -> tuple[Commit, list[Commit]]:
    store, text, at = CodeStore(folder / "made.git", bus), _PROGRAM.read_text(), dt.datetime.now(dt.UTC)
    base = store.commit({"train.py": text.encode()}, message="base", author="ann", at=at)
    await store.push(base.commit)
    commits: list[Commit] = []
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        made = [_version(store, text, base, number, at) for number in numbers]
        await _push(store, iter(made), base)
        commits += made
    first = opening("a").event
    assert isinstance(first, e.ArenaOpened)
    opened = e.ArenaOpened(
        version=1, spec=first.spec, base_commit=base.commit, base_tree=base.tree, evaluator="", data=""
    )
    origin = e.Origin(how="sampler", name="mutate")
    facts: list[e.AnyEvent] = [
        opened,
        *(
            e.ProposalPosted(tree=c.tree, commit=c.commit, parents=(base.tree,), title="t", origin=origin)
            for c in commits
        ),
        *(e.ProposalRetired(proposal=c.tree, round=0, why="not_better") for c in commits[: count - count // 100]),
    ]
    await bus.post_all([Post.new("ann", fact) for fact in facts])
    return base, commits


async def _push(store: CodeStore, commits: Iterator[Commit], base: Commit) -> None:
    async def push() -> None:
        for each in commits:
            await store.push(each.commit, base=base.commit)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(push)


def _version(store: CodeStore, text: str, base: Commit, number: int, at: dt.datetime) -> Commit:
    rng, lines = random.Random(number), text.splitlines(keepends=True)
    for _ in range(3):
        lines[rng.randrange(len(lines))] = f"# {rng.random()}\n"
    files = {"train.py": f"# {number}\n{''.join(lines)}".encode()}
    return store.commit(files, parents=[base.commit], message=f"try {number}", author="ann", at=at)


async def _state(server: Server, when: str) -> Figures:
    """Start the server again, and return its objects, their bytes on disk, and its memory."""
    server.end(signal.SIGTERM)
    start_s = server.start("2m")
    async with connect(server.url, patience_s=60) as hub:
        objects = 0
        for stream in ("MESHOBJ_a", "MESHGRP_a"):
            answer = await hub.link.call(f"$JS.API.STREAM.INFO.{stream}", {})
            objects += int((answer.get("state") or {}).get("messages", 0))
    disk = sum(disk_bytes(place) for stream in ("OBJ", "GRP") for place in server.folder.rglob(f"MESH{stream}_a"))
    return {
        f"{when}_messages": objects,
        f"{when}_disk_bytes": disk,
        f"{when}_server_mb": server.memory_mb,
        f"{when}_start_s": start_s,
    }


async def _fetch_ms(bus: JetStreamBus, cache: Path, base: Commit, commits: Sequence[Commit]) -> float:
    """Return the median time to fetch one commit by chance into an empty cache."""
    store, took_ms = CodeStore(cache, bus), []
    await store.pull(base.commit)
    for made in random.Random(1).sample(commits, min(_FETCHES, len(commits))):
        began = time.perf_counter()
        await store.files(made.commit, base=base.commit)
        took_ms.append((time.perf_counter() - began) * 1000)
    return statistics.median(took_ms)


async def _lost(bus: JetStreamBus, cache: Path, base: Commit, commits: Sequence[Commit]) -> int:
    """Return how many commits cannot be read, or have other files; in the order in which `mesh git export` reads."""
    store, lost = CodeStore(cache, bus), 0
    for made in sorted(commits, key=lambda made: made.commit):
        try:
            files = await store.files(made.commit, base=base.commit)
        except ObjectMissing:
            lost += 1
            continue
        lost += store.tree_of(files) != made.tree
    return lost


def main() -> None:
    """Measure and print the figures."""
    print(msgspec.json.encode(anyio.run(measure, int(sys.argv[1]))).decode())


if __name__ == "__main__":
    main()
