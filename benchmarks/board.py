"""What a board of up to a million facts takes: memory, CPU seconds to fold it, and to start from a snapshot.

A log holds proposals of ten facts, two runs each, all of them decided (`benchmarks.parts.mix`). Each reading happens in
a new process. `fold_s` is the CPU time of a process that folds the log from its first entry, and `fetching_s`,
`decoding_s` and `folding_s` are its parts, from another process. `read_s` is the CPU time of starting from a snapshot,
`write_s` that of writing one, and `write_pause_ms` how long other work in that process waited at most. `memory_mb` is
all memory of the process, `board_mb` what the board added.
"""

import tempfile
from itertools import chain
from pathlib import Path

from benchmarks.parts.harness import Figures, Goal, a_hub, in_a_process, say, told
from benchmarks.parts.mix import opening, posts
from benchmarks.parts.virtual_workers import opening_runs

SIZES = (10_000, 100_000, 1_000_000)
GOALS: dict[str, Goal] = {
    "1000000.memory_mb": ("<=", 300),
    "1000000.fold_s": ("<=", 15),
    "1000000.read_s": ("<=", 2),
}


async def measure(quick: bool) -> Figures:
    """Return memory (MB) and CPU seconds of a board, by the number of facts."""
    figures: Figures = {}
    async with a_hub(sync="2m") as (hub, server, _):
        for size in SIZES[:1] if quick else SIZES:
            say(f"writing a log of {size:,} facts")
            name, first = f"facts-{size}", opening(f"facts-{size}")
            bus, before = await hub.arena(name, create=True), [first, *opening_runs(first)]
            await bus.post_all(chain(before, posts(f"{name}-", size - len(before), settled=True)))
            found = await of_log(server.url, name)
            say(f"{size:,} facts: {told(found)}")
            figures |= {f"{size}.{key}": value for key, value in found.items()}
    return figures


async def of_log(url: str, arena: str) -> Figures:
    """Return the figures of one log."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as folder:
        for how in ("fold", "split", "read"):
            path = Path(folder) / "snapshot"
            figures |= await in_a_process("benchmarks.parts.board_start", how, url, arena, str(path))
    return figures
