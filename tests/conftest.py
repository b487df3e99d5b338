"""Fixtures: a home of the test's own, the real nats-server, and a bus of either kind."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mesh.bus import ArenaBus
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.server import EmbeddedServer

LONGEST = (
    "hostile_client", "up", "sql", "chaos", "leaderboard_contract", "nanolm", "budget", "fuzz", "web_page", "check",
    "asked_continuously", "analytics", "new", "staged_chaos", "built_environment", "web_ends", "researcher",
    "critique_model", "wheel", "scores", "sandbox", "unstuck", "tutorial", "leases", "healing", "foreign_tasks",
    "foreign_scores", "code_damage", "explorer", "broken_baseline", "up_trouble", "blind_model", "never_silent",
    "critique_model_swarm", "item_swarm", "cli", "invoices_export", "own_packages", "web", "up_model", "safe_path",
    "researcher_swarm", "samplers", "worker_ends", "hidden", "budget_runs", "top", "tail", "left_behind", "take_part",
    "extremes", "no_confirm", "examples", "doctor", "report", "worker",
)  # fmt: skip
"""Files of tests that begin first, the longest first: side by side, nobody waits for one of them in the end."""

ARENAS = Path(__file__).parents[1] / "arenas"
PROGRAMS = {program.stem for program in ARENAS.glob("*/*.py")}

OpenBus = Callable[[], AbstractAsyncContextManager[ArenaBus]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the files that take longest to the front."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(autouse=True)
def forget_arenas() -> Iterator[None]:
    """Forget the programs of an arena that a test has imported: those of the next arena have the same names."""
    yield
    for name in PROGRAMS & sys.modules.keys():
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(ARENAS)):
            del sys.modules[name]


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
