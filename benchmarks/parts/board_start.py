"""`python -m benchmarks.parts.board_start HOW URL ARENA FILE`: get a board once in a new process, for `board`.

`fold` folds the log from its first entry, as every process does that has no snapshot, and then writes one to `FILE`.
`split` folds it too, decodes each batch once more, and says how many CPU seconds are fetching, decoding and folding.
`read` starts from the snapshot in `FILE`. Memory is what the process has when its board is there (MB), and
`board_mb` what it has more than before.
"""

import gc
import sys
import time
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec

from benchmarks.parts.harness import Figures, memory_mb
from mesh import wire
from mesh.board import Board
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, connect


async def fold(bus: JetStreamBus, path: Path) -> Figures:
    """Fold the log, then write a snapshot; the longest turn is how long others waited meanwhile."""
    follower = Follower(bus)
    before, began, wall = memory_mb()[0], time.process_time(), time.perf_counter()
    await follower.catch_up()
    figures = {"fold_s": time.process_time() - began, "fold_wall_s": time.perf_counter() - wall}
    gc.collect()
    figures |= {"memory_mb": memory_mb()[0], "board_mb": memory_mb()[0] - before}
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            at = time.perf_counter()
            await anyio.lowlevel.checkpoint()
            longest = max(longest, time.perf_counter() - at)

    again = Follower(bus, snapshot=path)
    again.board = follower.board
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        began = time.process_time()
        await again.catch_up()
        figures["write_s"] = time.process_time() - began
        tasks.cancel_scope.cancel()
    figures |= {"write_pause_ms": longest * 1000, "snapshot_mb": path.stat().st_size / 1e6}
    return figures | {"peak_mb": memory_mb()[1]}


async def split(bus: JetStreamBus, _: Path) -> Figures:
    """Fold the log, and tell its parts from each other."""
    board, decoding, folding, began = Board(arena=bus.arena), 0.0, 0.0, time.process_time()
    async with aclosing(bus.read(until=await bus.head())) as batches:
        async for batch in batches:
            places = [each.subject for each in batch]
            subjects = [f"mesh.{where.arena}.{where.kind}.{where.key}.{where.author}" for where in places]
            seqs, times, data = zip(*((each.seq, each.time, each.raw) for each in batch), strict=True)
            at = time.process_time()
            wire.log_entries(seqs, times, subjects, data)
            decoded = time.process_time()
            for each in batch:
                board.fold(each)
            decoding, folding = decoding + decoded - at, folding + time.process_time() - decoded
    total = time.process_time() - began
    return {"fetching_s": total - 2 * decoding - folding, "decoding_s": decoding, "folding_s": folding}


async def read(bus: JetStreamBus, path: Path) -> Figures:
    """Start from a snapshot."""
    follower = Follower(bus, snapshot=path)
    before, began, wall = memory_mb()[0], time.process_time(), time.perf_counter()
    await follower.catch_up()
    figures = {"read_s": time.process_time() - began, "read_wall_s": time.perf_counter() - wall}
    assert follower.board.seq == await bus.head()
    gc.collect()
    return figures | {"read_memory_mb": memory_mb()[0], "read_board_mb": memory_mb()[0] - before}


async def _once(how: str, url: str, arena: str, path: str) -> Figures:
    async with connect(url, patience_s=60) as hub:
        return await {"fold": fold, "split": split, "read": read}[how](await hub.arena(arena), Path(path))


def main() -> None:
    """Get a board once and print the figures."""
    how, url, arena, path = sys.argv[1:]
    print(msgspec.json.encode(anyio.run(_once, how, url, arena, path)).decode())


if __name__ == "__main__":
    main()
