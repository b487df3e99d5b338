"""Money at the command line: a budget is shown and granted, and nothing is spent that nobody agreed to."""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mesh.arena import load_arena
from mesh.errors import BadArena, BadInput
from mesh.events import BudgetGranted
from mesh.follow import Follower
from mesh.grants import grant
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.money import limit_usd
from mesh.open_arena import open_arena
from mesh_cli.exit import ExitCode
from tests.support.arenas import ARENA, write_arena
from tests.support.swarm import swarm_of
from tests.support.terminal import Terminal
from tests.test_cli import Mesh, mesh, refused, serving

__all__ = ["mesh"]

BUDGET = ARENA + "\n[stop]\nusd = 20.0\n"
"""An arena whose first grant is 20 dollars."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "home") as url:
        yield url


@asynccontextmanager
async def worker_here(url: str, folder: Path, *price: str) -> AsyncIterator[None]:
    """Open the arena in a folder, and have a worker there while the block runs."""
    home = folder.parent / "home"
    async with connect(url) as hub:
        bus, _ = await open_arena(hub, folder, home=home)
        async with swarm_of(home, url) as swarm:
            swarm.commands["worker"] += ["--no-sandbox", *price]
            await swarm.start("worker")
            follower = Follower(bus)
            with anyio.fail_after(200):
                while not follower.board.workers:
                    await follower.catch_up()
                    await anyio.sleep(0.05)
            yield


async def grants(url: str) -> list[float | None]:
    async with connect(url) as hub:
        bus = await hub.arena("tiny")
        entries = [entry async for batch in bus.read(0, until=await bus.head()) for entry in batch]
    events = [entry.post.event for entry in entries if entry.post]
    return [event.usd for event in events if isinstance(event, BudgetGranted)]


async def said(*words: str) -> tuple[int, str, str]:
    """Return the exit code of a command without a terminal, and what it said on stdout and stderr."""
    done = await anyio.run_process([sys.executable, "-m", "mesh_cli", *words], check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_budget_is_shown_and_granted_and_nothing_without_a_yes(url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker_here(url, write_arena(tmp_path / "arena", arena=BUDGET), "--price", "2.69"):
            code, out, _ = await said("budget")
            assert code == 0
            assert re.match(r"arena tiny: about \$2\.69/h; spent \$0\.\d\d of \$20\.00\n", out)
            assert json.loads((await said("budget", "--json"))[1])["limit_usd"] == 20.0
            code, out, err = await said("budget", "grant", "5")
            assert (code, out) == (ExitCode.BAD_INPUT, "")
            assert err.endswith("mesh: this costs money, and nobody is at a terminal to agree: give --yes\n")
            assert await grants(url) == [20.0]
            code, out, err = await said("budget", "grant", "5", "--yes")
            assert code == 0
            assert re.fullmatch(r"arena tiny may spend \$25\.00, and has spent \$0\.\d\d\n", out)
            assert re.search(r"\$5\.00 more for arena tiny: about \$2\.69/h; spent \$0\.\d\d of \$20\.00\n", err)
            assert await grants(url) == [20.0, 5.0]

    anyio.run(scenario)


def test_at_a_terminal_one_is_asked_and_may_say_no(url: str, tmp_path: Path) -> None:
    async def open_it() -> None:
        async with connect(url) as hub:
            await open_arena(hub, write_arena(tmp_path / "arena", arena=BUDGET), home=tmp_path / "home")

    anyio.run(open_it)
    for answer, code, granted in (("n\r", ExitCode.BAD_INPUT, [20.0]), ("\r", ExitCode.OK, [20.0, 5.0])):
        with Terminal("budget", "grant", "5", columns=200) as terminal:
            terminal.until(r"about \$0.00/h; spent \$0.00 of \$20.00\nGo on\? \[Y/n\]")
            terminal.press(answer)
            assert terminal.end()[0] == code
        assert anyio.run(grants, url) == granted


def test_an_unpriced_worker_is_named_and_gets_no_more_once_there_is_a_budget(url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker_here(url, write_arena(tmp_path / "arena")):
            assert (await said("budget"))[1].splitlines()[2:] == [
                "no budget: `mesh budget grant USD` sets one",
                "the price of worker worker is not known: give it --price-per-hour USD, 0 if it costs nothing",
            ]
            _, out, _ = await said("budget", "grant", "1", "--yes")
            assert "worker worker has no price, so it gets no more runs: start it with --price-per-hour USD" in out

    anyio.run(scenario)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "worker worker has no price, but arena tiny has a budget of $20.00: give --price-per-hour USD"),
        (
            ("--price", "100000"),
            "does not pay for one more run, which may keep the workers for 7.6 minutes ($12,638.89)",
        ),
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


async def test_the_first_grant_is_the_budget_of_arena_toml_and_a_greater_one_grants_the_difference(
    tmp_path: Path,
) -> None:
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


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf"), 1e308, 2e9])
async def test_a_grant_and_a_first_grant_are_amounts_that_somebody_may_mean(usd: float, tmp_path: Path) -> None:
    bus = await MemoryHub().arena("a", create=True)
    follower = Follower(bus)
    with pytest.raises(BadInput, match=re.escape(f"the grant is {usd:g} dollars; use a number above 0")):
        await grant(bus, follower, usd, author="operator")
    assert await bus.head() == 0
    with pytest.raises(BadArena, match=r"stop\.usd"):
        load_arena(write_arena(tmp_path / "arena", arena=f"{ARENA}\n[stop]\nusd = {usd}\n"))


@pytest.mark.parametrize("words", ["-1", "nan", "inf", "1e308", "1,5", "$5", "1000000001"])
def test_no_grant_is_asked_for_that_cannot_be_made(words: str, mesh: Mesh) -> None:
    refused(mesh("budget", "grant", "--", words), ExitCode.BAD_INPUT, "USD")
