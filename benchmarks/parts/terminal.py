"""How long commands take on a large log, from their cold start to their end, where a projector runs.

`NAME_command_ms` is the median wall time, `NAME_command_cpu_ms` that of the CPU time of the command alone; the
projector works beside it. `version_command_ms` is the same of a command that asks nobody: what Python and its imports
take. `report_first_line_ms` is the median time until `mesh report` says its first line on a terminal, `report_ms` the
time until its file is there.
"""

import os
import pty
import resource
import statistics
import subprocess
import sys
import time

import anyio
from anyio.to_thread import run_sync

from benchmarks.parts.cold import with_bytecode
from benchmarks.parts.harness import Figures, Goal

COMMANDS = {
    "version": ("version",),
    "leaderboard": ("leaderboard",),
    "status": ("status",),
    "show": ("show", "#2"),
    "show_proposal": ("show",),
    "lineage": ("lineage",),
}
WITHIN_MS = 1000
GOALS: dict[str, Goal] = {
    **{f"{name}_command_ms": ("<=", WITHIN_MS) for name in ("leaderboard", "status")},
    "report_first_line_ms": ("<=", WITHIN_MS),
}
WARM_UP = 1


async def measure_commands(url: str, arena: str, proposal: str, rounds: int) -> Figures:
    """Return the times of the commands (ms), in turns.

    Args:
        url: The server.
        arena: The arena of the log.
        proposal: A proposal of it, which is shown.
        rounds: How often each is started.
    """
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for number in range(rounds + WARM_UP):
        for name, words in COMMANDS.items():
            more = () if name == "version" else ("--arena", arena, "--nats", url)
            about = (proposal,) if name in ("show_proposal", "lineage") else ()
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            await anyio.run_process([sys.executable, "-m", "mesh_cli", *words, *about, *more], env=with_bytecode())
            wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            if number >= WARM_UP:
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                took[name].append((wall * 1000, cpu * 1000))
    figures: Figures = {}
    for name, pairs in took.items():
        figures[f"{name}_command_ms"] = statistics.median(wall for wall, _ in pairs)
        figures[f"{name}_command_cpu_ms"] = statistics.median(cpu for _, cpu in pairs)
    reports = [await run_sync(_report_s, url, arena) for _ in range(rounds)]
    figures["report_first_line_ms"] = statistics.median(first for first, _ in reports) * 1000
    figures["report_ms"] = statistics.median(whole for _, whole in reports) * 1000
    return figures


def _report_s(url: str, arena: str) -> tuple[float, float]:
    """Return the seconds until a report says something on its terminal, and until it is written."""
    ours, theirs = pty.openpty()
    words = ["report", "-o", "-", "--arena", arena, "--nats", url]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "mesh_cli", *words], stdout=subprocess.DEVNULL, stderr=theirs, env=with_bytecode()
    ) as process:
        os.close(theirs)
        assert os.read(ours, 1)
        first = time.perf_counter() - began
        while _more(ours):
            pass
    assert process.returncode == 0
    os.close(ours)
    return first, time.perf_counter() - began


def _more(terminal: int) -> bytes:
    """Return what comes next on a terminal; nothing at its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when all others have closed it
        return b""
