"""Money at the command line: a budget is shown and granted, and nothing is spent that nobody agreed to."""

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from mesh.events import BudgetGranted, WorkerJoined
from mesh.follow import Follower
from mesh.grants import grant
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.money import limit_usd
from mesh.open_arena import open_arena
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from tests.support.arenas import ARENA, write_arena
from tests.support.terminal import Terminal
from tests.test_cli import Mesh, mesh, serving

__all__ = ["mesh"]

BUDGET = ARENA + "\n[stop]\nusd = 20.0\n"
"""An arena whose first grant is 20 dollars."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "home") as url:
        yield url


async def open_with_worker(url: str, folder: Path, home: Path, price: float | None = 2.69) -> None:
    async with connect(url) as hub:
        bus, _ = await open_arena(hub, folder, home=home)
        joined = WorkerJoined(boot="b1", worker_class="cpu", device="cpu", slots=1, price_per_hour_usd=price)
        await bus.post(Post.new("gpu1", joined))


async def grants(url: str) -> list[float | None]:
    async with connect(url) as hub:
        bus = await hub.arena("tiny")
        entries = [entry async for batch in bus.read(0, until=await bus.head()) for entry in batch]
    events = [entry.post.event for entry in entries if entry.post]
    return [event.usd for event in events if isinstance(event, BudgetGranted)]


def test_the_budget_is_shown_and_granted(url: str, tmp_path: Path, mesh: Mesh) -> None:
    anyio.run(open_with_worker, url, write_arena(tmp_path / "arena", arena=BUDGET), tmp_path / "home")
    done = mesh("budget")
    assert done.code == 0
    assert done.out.startswith("arena tiny: about $2.69/h; spent $0.00 of $20.00\n")
    assert json.loads(mesh("budget", "--json").out)["limit_usd"] == 20.0
    done = mesh("budget", "grant", "5", "--yes")
    assert (done.code, done.out) == (0, "arena tiny: spent $0.00 of $25.00\n")
    assert "$5.00 more for arena tiny: about $2.69/h; spent $0.00 of $20.00" in done.err
    assert anyio.run(grants, url) == [20.0, 5.0]


def test_without_a_terminal_nothing_is_granted_that_nobody_agreed_to(url: str, tmp_path: Path, mesh: Mesh) -> None:
    anyio.run(open_with_worker, url, write_arena(tmp_path / "arena", arena=BUDGET), tmp_path / "home")
    done = mesh("budget", "grant", "5")
    assert (done.code, done.out) == (ExitCode.BAD_INPUT, "")
    assert done.err.endswith("mesh: this costs money, and nobody is at a terminal to agree: give --yes\n")
    assert anyio.run(grants, url) == [20.0]


def test_at_a_terminal_one_is_asked_and_may_say_no(url: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    anyio.run(open_with_worker, url, write_arena(tmp_path / "arena", arena=BUDGET), home)
    for answer, code, granted in (("n\r", ExitCode.BAD_INPUT, [20.0]), ("\r", ExitCode.OK, [20.0, 5.0])):
        with Terminal("budget", "grant", "5", columns=200, MESH_HOME=str(home)) as terminal:
            terminal.until(r"about \$2.69/h; spent \$0.00 of \$20.00\nGo on\? \[Y/n\]")
            terminal.press(answer)
            assert terminal.end()[0] == code
        assert anyio.run(grants, url) == granted


def test_an_unpriced_worker_is_named(url: str, tmp_path: Path, mesh: Mesh) -> None:
    anyio.run(open_with_worker, url, write_arena(tmp_path / "arena"), tmp_path / "home", None)
    assert mesh("budget").out.splitlines()[2:] == [
        "no budget: `mesh budget grant USD` sets one",
        "the price of worker gpu1 is not known: give it --price-per-hour USD, 0 if it costs nothing",
    ]
    done = mesh("budget", "grant", "1", "--yes")
    assert "worker gpu1 has no price, so it gets no more runs: start it with --price-per-hour USD" in done.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "worker worker has no price, but arena tiny has a budget of $20.00: give --price-per-hour USD"),
        (("--price", "100000"), "the budget of arena tiny pays for no further run (about $100,000.00/h; spent $0.00 of $20.00)"),
        (("--price", "2.69"), "this costs money, and nobody is at a terminal to agree: give --yes"),
        (("--instance", "secure"), "--instance secure needs --provider"),
    ],
)
def test_up_starts_no_worker_that_costs_what_nobody_agreed_to(
    words: tuple[str, ...], sentence: str, tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    done = mesh("up", write_arena(tmp_path / "arena", arena=BUDGET), *words)
    assert done.code == ExitCode.BAD_INPUT
    assert sentence in done.err.splitlines()[-1]


async def test_the_first_grant_is_the_budget_of_arena_toml_and_a_greater_one_grants_the_difference(tmp_path: Path) -> None:
    hub = MemoryHub()

    async def limit(usd: float) -> float | None:
        folder = write_arena(tmp_path / "arena", arena=f"{ARENA}\n[stop]\nusd = {usd}\n")
        bus, _ = await open_arena(hub, folder, home=tmp_path / "home")
        follower = Follower(bus)
        await follower.catch_up()
        if usd == 30:
            await grant(bus, follower, 7.0, author="operator")
        return limit_usd(follower.board)

    assert [await limit(usd) for usd in (20, 20, 30, 35, 40)] == [20, 20, 37, 37, 40]
