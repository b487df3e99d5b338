"""How fast and how surely a process tree dies at its deadline, whatever it does to escape.

Each tree double-forks, leaves its session, ignores signals and has a process that replaces itself every 2 ms. All is
measured from outside of the supervisor: every process of a tree keeps a pipe open, and the kernel reports when the last
one is gone; then /proc is searched for survivors. Times are milliseconds after the deadline. The deadline counts from
the request, so the time that the supervisor needs to start the tree is part of them.
"""

import os
import selectors
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import anyio
import anyio.to_thread
import psutil

from benchmarks.parts.harness import Figures, Goal, percentile
from gpu_worker.supervisor.client import Supervisor, start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request

GOALS: dict[str, Goal] = {"survivors": ("==", 0), "p99_ms": ("<=", 250)}
DEADLINE_S = 0.4
GIVE_UP_S = 30.0

ESCAPING = """
import os, signal, sys, time
END = time.time() + 60
pipe = os.open(sys.argv[1], os.O_WRONLY)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)

def forked():
    pid = os.fork()
    if pid == 0:
        os.write(pipe, b".")
    return pid

def daemon(depth):
    if forked() == 0:
        os.setsid()
        if forked() == 0:
            if depth:
                daemon(depth - 1)
            for fd in range(3):
                os.close(fd)
            while time.time() < END:
                time.sleep(1)
        os._exit(0)
    os.wait()

for _ in range(3):
    daemon(2)
if forked() == 0:
    os.setsid()
    while time.time() < END:
        if forked():
            os._exit(0)
        time.sleep(0.002)
    os._exit(0)
time.sleep(60)
"""


async def measure(quick: bool) -> Figures:
    """Return survivors, how long after the deadline the last process of a tree died, and how many were born."""
    times, born, survivors = list[float](), list[float](), 0
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as name:
        async with start_supervisor() as supervisor:
            await supervisor.run(Request(Launch(("true",), dict(os.environ), "/"), Limits(60)))  # until it is there
            for number in range(20 if quick else 200):
                path = Path(name) / f"tree-{number}-{uuid.uuid4().hex}"
                ended_ms, births = await _kill(supervisor, path)
                survivors += _survivors(str(path))
                times.append(ended_ms)
                born.append(births)
    return {
        "trees": len(times),
        "born_per_tree": statistics.median(born),
        "survivors": survivors,
        "p50_ms": statistics.median(times),
        "p99_ms": percentile(times, 99),
        "max_ms": max(times),
    }


async def _kill(supervisor: Supervisor, path: Path) -> tuple[float, int]:
    """Let one tree run into its deadline; return when its last process was gone (ms), and how many were born."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    env = {"PATH": os.environ["PATH"], "MESH_RUN_TOKEN": supervisor.token}
    launch = Launch((sys.executable, "-I", "-S", "-c", ESCAPING, str(path)), env, "/")
    found: list[tuple[float, int]] = []
    try:
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                found.append(await anyio.to_thread.run_sync(_last_gone, reader))

            tasks.start_soon(watch)
            began = time.monotonic()
            ended = await supervisor.run(Request(launch, Limits(DEADLINE_S, memory_mb=4096)))
        assert ended.why == "deadline", ended
    finally:
        os.close(reader)
    [(gone, births)] = found
    return (gone - began - DEADLINE_S) * 1000, births


def _last_gone(reader: int) -> tuple[float, int]:
    """Read until no process has the pipe open; return when, and how many bytes came."""
    count, give_up = 0, time.monotonic() + GIVE_UP_S
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while time.monotonic() < give_up:
            for _ in selector.select(1):
                data = os.read(reader, 65536)
                if not data:
                    return time.monotonic(), count
                count += len(data)
    return time.monotonic(), count


def _survivors(tag: str) -> int:
    """Count the living processes with the tag in their command line, and end them."""
    everyone = psutil.process_iter(["cmdline", "status"])
    found = [p for p in everyone if tag in (p.info["cmdline"] or ()) and p.info["status"] != psutil.STATUS_ZOMBIE]
    for process in found:
        process.kill()
    return len(found)
