"""Fixtures: a home of the test's own, the real nats-server, and a bus of either kind."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mesh.bus import ArenaBus
from mesh.config import KEYS, variable
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.server import EmbeddedServer

LONGEST = (
    "mixed_swarm", "gateway_git", "queries", "sql_page", "sql", "howto", "up", "snapshot",
    "hostile_client", "never_silent", "projected_commands", "web_page", "search",
    "budget", "web_night", "explorer", "blind_model", "check", "chaos", "code_damage", "search_arena", "extremes",
    "results_tsv", "worker_ends", "fuzz", "model_refused", "critique_model_swarm", "prompt", "leases", "analytics",
    "deploy", "cluster", "report", "web_ends", "web_pictures", "nanolm", "healing", "llm_client", "race", "cli",
    "leaderboard_contract", "web", "up_end", "foreign_tasks", "views", "asked_continuously", "foreign_scores",
    "own_search", "model_calls", "walk", "new", "tail", "broken_baseline", "tutorial", "leak_audit", "own_packages",
    "invoices", "staged_runs", "safe_path", "server_trouble", "doctor", "worker", "roles", "wheel", "hidden", "top",
    "taken_keys", "hidden_files", "take_part", "budget_runs", "tables",
)  # fmt: skip
"""Files of tests that begin first, the longest first: side by side, nobody waits for one of them in the end."""

ARENAS = Path(__file__).parents[1] / "arenas"
PROGRAMS = {program.stem for program in ARENAS.glob("*/*.py")}

OpenBus = Callable[[], AbstractAsyncContextManager[ArenaBus]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the files that take longest to the front."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(autouse=True, scope="session")
def nobodys_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give tests the settings of nobody: neither those of the person who runs them, nor what another test chose."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        for name in KEYS:
            patch.delenv(variable(name), raising=False)
        patch.delenv("MESH_CONTEXT", raising=False)
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        yield folder / "mesh"


@pytest.fixture(autouse=True)
def leave_no_settings(nobodys_settings: Path) -> Iterator[None]:
    """End with an error if a test leaves a setting, a variable or a current folder to the tests after it."""
    before = _surroundings()
    yield
    assert _surroundings() == before
    assert not nobodys_settings.exists(), "a test wrote settings: give it an XDG_CONFIG_HOME of its own"


def _surroundings() -> tuple[str, dict[str, str]]:
    return os.getcwd(), {name: value for name, value in os.environ.items() if name.startswith(("MESH_", "XDG_"))}


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
