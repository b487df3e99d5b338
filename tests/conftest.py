"""Fixtures: a home of the test's own, the real nats-server, and a bus of either kind."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mesh.bus import ArenaBus
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.server import EmbeddedServer

OpenBus = Callable[[], AbstractAsyncContextManager[ArenaBus]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mesh home of this test's own."""
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A running nats-server that nobody watches."""
    running = EmbeddedServer(tmp_path / "server", "1s")
    await running.ensure()
    yield running
    with anyio.CancelScope(shield=True):
        await running.stop()


@pytest.fixture(params=["memory", "jetstream"])
def open_bus(request: pytest.FixtureRequest) -> OpenBus:
    """Open the bus of arena `a`, of either kind; every call of one test reaches the same log."""
    if request.param == "memory":
        hub = MemoryHub()

        @asynccontextmanager
        async def in_memory() -> AsyncIterator[ArenaBus]:
            yield await hub.arena("a", create=True)

        return in_memory
    running: EmbeddedServer = request.getfixturevalue("server")

    @asynccontextmanager
    async def over_nats() -> AsyncIterator[ArenaBus]:
        async with connect(running.url) as connected:
            yield await connected.arena("a", create=True)

    return over_nats
