"""A projector rests between writes of few entries, and not while somebody asks."""

from pathlib import Path

import anyio
import pytest

from analytics import projector
from analytics.projection import Projection
from analytics.projector import project
from analytics.sql_server import SqlServer
from mesh.bus import ArenaBus
from mesh.events import NotePosted
from mesh.memory import MemoryHub
from mesh.wire import Post
from tests.support.folding import ask_until, bus_with


def note(text: str) -> Post:
    return Post.new("ann", NotePosted(channel="general", text=text))


async def test_a_rest_between_writes_lasts_until_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "_REST", 1e9)
    monkeypatch.setattr(projector, "_LONGEST_REST_S", 3600)
    hub, projections, is_ready = MemoryHub(), list[Projection](), anyio.Event()
    bus = await bus_with(hub)

    async def answer(projection: Projection, served: ArenaBus) -> None:
        projections.append(projection)
        await SqlServer(projection).serve(served)

    def folded() -> int:
        [(seq,)] = projections[0].cursor().execute("SELECT seq FROM internal.checkpoints").fetchall()
        return int(seq)

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await project(hub, tmp_path / "p.duckdb", on_ready=is_ready.set, beside=answer)

        tasks.start_soon(run)
        with anyio.fail_after(60):
            await is_ready.wait()
        before, seq = folded(), await bus.post(note("0"))
        await anyio.sleep(0.5)
        assert folded() == before
        await ask_until(bus, seq)
        for number in range(1, 4):
            await ask_until(bus, await bus.post(note(f"{number}")))
        tasks.cancel_scope.cancel()
