"""How soon `mesh tail` shows its first line of a long log, and how much memory it needs to read many.

`tail.first_line_ratio` is the time from the start of `mesh tail --no-follow -n 50` to its first line on the large log,
divided by that on a small one, in turns. `tail.rare_ratio` is the same for `--kind arena.opened -n 1`, which matches
only the very first entry. `tail.peak_ratio` is the peak resident memory of reading a fifth of the large log (200,000 of
a million), divided by that of reading 1,000 entries. `tail.consumers_left` is how many consumers of readers all this
left on the server.
"""

import statistics
import subprocess
import sys
import time

import anyio
from anyio.to_thread import run_sync

from benchmarks.parts.cold import with_bytecode
from benchmarks.parts.harness import Figures, Goal, memory_mb, ratio
from mesh.jetstream import JetStreamHub
from mesh.jetstream.streams import stream_of

GOALS: dict[str, Goal] = {
    "tail.first_line_ratio": ("<=", 2.0),
    "tail.peak_ratio": ("<=", 1.5),
    "tail.consumers_left": ("==", 0),
}
FEW = 1000


async def measure_tail(hub: JetStreamHub, url: str, small: str, large: str, rounds: int) -> Figures:
    """Return ratios of the large to the small log, milliseconds and MB."""
    took: dict[tuple[str, str], list[float]] = {}
    options = {"first_line": ("-n", "50"), "rare": ("-n", "1", "--kind", "arena.opened")}
    for _ in range(rounds):
        for name, words in options.items():
            for arena in (small, large):
                seconds = await run_sync(_first_line_s, url, arena, words)
                took.setdefault((name, arena), []).append(seconds)
    figures = {f"tail.{name}_{arena}_ms": statistics.median(s) * 1000 for (name, arena), s in took.items()}
    figures |= {f"tail.{name}_ratio": ratio(took[name, large], took[name, small]) for name in options}
    count = await (await hub.arena(large)).head() // 5
    few, many = [await run_sync(_peak_mb, url, large, n) for n in (FEW, count)]
    figures |= {"tail.read_entries": count, "tail.peak_mb": many, "tail.peak_ratio": many / few}
    with anyio.fail_after(10):
        while left := await _consumers(hub, (small, large)):
            await anyio.sleep(0.5)
    return figures | {"tail.consumers_left": left}


def _first_line_s(url: str, arena: str, words: tuple[str, ...]) -> float:
    began = time.perf_counter()
    with subprocess.Popen(_tail(url, arena, *words), stdout=subprocess.PIPE, env=with_bytecode()) as process:
        assert process.stdout
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        assert line
        process.stdout.read()
    assert process.returncode == 0
    return seconds


def _peak_mb(url: str, arena: str, count: int) -> float:
    """Read the last `count` entries and return the peak resident memory (MB), measured before it ends."""
    with subprocess.Popen(_tail(url, arena, "-n", str(count)), stdout=subprocess.PIPE, env=with_bytecode()) as process:
        assert process.stdout
        lines, peak = 0, 0.0
        for _ in process.stdout:
            lines += 1
            if lines % FEW == 0:
                peak = max(peak, memory_mb(process.pid)[1])
    assert lines == count
    return peak


def _tail(url: str, arena: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "mesh_cli", "tail", "--no-follow", "--arena", arena, "--nats", url, *words]


async def _consumers(hub: JetStreamHub, arenas: tuple[str, ...]) -> int:
    answers = [await hub.link.call(f"$JS.API.CONSUMER.NAMES.{stream_of(name)}", {"offset": 0}) for name in arenas]
    return sum(name.startswith("read-") for answer in answers for name in answer.get("consumers") or [])
