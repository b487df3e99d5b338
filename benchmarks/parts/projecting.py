"""A projector in a process of its own, and a steady stream of posts for it to fold."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process

from benchmarks.parts.mix import posts
from mesh.jetstream import JetStreamBus

WRITE_EVERY_S = 0.1
WRITES = 50
"""Posts that `keep_writing` writes every `WRITE_EVERY_S` seconds."""


@asynccontextmanager
async def projecting(url: str, path: Path, within_s: float = 300) -> AsyncIterator[Process]:
    """Run the projector as a process of its own, which is up to date when the block begins."""
    async with await anyio.open_process(
        [sys.executable, "-m", "analytics", "--nats", url, "--db", str(path)]
    ) as process:
        assert process.stderr
        printed = b""
        with anyio.fail_after(within_s):
            while b"is up to date" not in printed:
                printed += await process.stderr.receive()
        try:
            yield process
        finally:
            process.terminate()


async def keep_writing(bus: JetStreamBus) -> None:
    """Post a steady stream of facts until cancelled."""
    written = posts(f"beside-{time.time_ns():x}-", sys.maxsize)
    while True:
        await bus.post_all([next(written) for _ in range(WRITES)])
        await anyio.sleep(WRITE_EVERY_S)
