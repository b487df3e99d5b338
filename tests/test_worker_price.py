"""A worker that knows its price says so when it joins; its runs carry dollars, which the view `cost` adds up."""

import contextlib
import math
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from analytics.projection import Projection
from analytics.projector import replay
from analytics.sql_server import SqlServer
from gpu_worker.worker import run_worker
from mesh.errors import BadInput
from mesh.events import BudgetGranted, Cost, ModelAsked, RunFinished, RunStarted, Scored, WorkerJoined, WorkerLeft
from mesh.machine_price import SAID, MachinePrice, from_table, price_words
from mesh.memory import MemoryHub
from tests.support.folding import rows
from tests.test_worker import GOOD, Arena


async def test_dollars_of_a_worker_are_in_its_runs_and_in_the_views(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    for number in range(2):
        await arena.request(GOOD + f"# {number}", f"r{number}")
    async with arena.worker(slots=2, sandbox="none", price_per_hour_usd=7200):  # a dollar per second of each slot
        for number in range(2):
            await arena.finished(f"r{number}")
    [joined], finishes = await arena.all(WorkerJoined), await arena.all(RunFinished)
    assert joined.price_per_hour_usd == 7200
    seconds = [finish.cost.seconds or 0 for finish in finishes if finish.cost]
    assert [finish.cost for finish in finishes] == [Cost(usd=s, seconds=s) for s in seconds]
    await replay(arena.bus, tmp_path / "a.duckdb")
    with contextlib.closing(Projection.open(tmp_path / "a.duckdb")) as projection:
        queries = SqlServer(projection)
        assert await rows(queries, "SELECT worker, price_per_hour_usd FROM workers") == [["w", 7200]]
        [[who, count, usd, unknown]] = await rows(
            queries, "SELECT who, count, usd, usd_unknown FROM cost WHERE what = 'run'"
        )
    assert (who, count, unknown) == ("w", 2, 0)
    assert usd == pytest.approx(sum(seconds))


async def test_a_run_costs_all_the_time_that_it_took_a_slot(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    await arena.request(GOOD)
    async with arena.worker(sandbox="none", price_per_hour_usd=3600):
        done = await arena.finished()
    assert done.cost is not None
    assert done.cost.seconds is not None
    assert done.cost.seconds > done.trial_s + done.score_s  # its code was fetched and laid out, too
    assert done.cost.usd == done.cost.seconds


async def test_with_a_budget_a_worker_needs_a_price(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    await arena.post(BudgetGranted(n=1, usd=20.0))
    with (
        anyio.fail_after(200),
        pytest.raises(BadInput, match=r"worker w has no price, but arena a has a budget of \$20.00"),
    ):
        await run_worker(arena.bus, name="w", home=tmp_path / "home", sandbox="none")
    assert await arena.all(WorkerJoined) == []
    await arena.request(GOOD)
    async with arena.worker(sandbox="none", price_per_hour_usd=0.0):
        assert isinstance((await arena.finished()).outcome, Scored)


async def test_a_worker_that_the_budget_cannot_pay_for_takes_nothing_until_more_is_granted(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    await arena.post(BudgetGranted(n=1, usd=1.0))
    await arena.request(GOOD, "r1")
    async with arena.worker(sandbox="none", price_per_hour_usd=7200):  # two dollars a second
        await arena.post(BudgetGranted(n=2, usd=5000.0))
        await arena.finished("r1")
    async with aclosing(arena.bus.read()) as batches:
        kinds = [e.subject.kind async for batch in batches for e in batch]
    assert (
        kinds.index("worker.joined") < len(kinds) - kinds[::-1].index("budget.granted") < kinds.index("run.started") + 1
    )


async def test_without_a_price_the_cost_is_unknown_and_not_zero(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    done = await arena.run(GOOD, sandbox="none")
    assert done.cost is not None
    assert (done.cost.usd, (done.cost.seconds or 0) > 0) == (None, True)
    assert [joined.price_per_hour_usd for joined in await arena.all(WorkerJoined)] == [None]


@pytest.mark.parametrize("price", [-1.0, math.inf, math.nan, 1e308, 1_000_001.0])
def test_a_price_is_zero_or_more_and_a_million_at_most(price: float) -> None:
    with pytest.raises(BadInput, match=r"--price-per-hour is .*; use dollars per hour, 0 or more, a million at most"):
        price_words(price)
    assert repr(price_words(-0.0).per_hour_usd) == "0.0"
    assert [price_words(0.0), price_words(None)] == [MachinePrice(0.0, source=SAID), MachinePrice()]


def test_a_provider_and_an_instance_have_a_price_in_the_table_and_a_word_of_the_owner_wins(tmp_path: Path) -> None:
    h100 = {"device": "NVIDIA H100 80GB HBM3", "memory_mb": 81559, "gpus": 2}
    named = price_words(None, "runpod", "secure")
    found = from_table(named, tmp_path, **h100)  # type: ignore[arg-type]
    assert found.per_hour_usd is not None
    assert found.per_hour_usd > 2
    assert found.source.startswith("runpod secure")
    assert from_table(price_words(1.5, "runpod", "secure"), tmp_path, **h100).per_hour_usd == 1.5  # type: ignore[arg-type]
    assert found.flags() == ["--provider", "runpod", "--instance", "secure"]
    assert price_words(2.69).flags() == ["--price-per-hour", "2.69"]
    with pytest.raises(BadInput, match="--provider is nobody, of which no price is known"):
        from_table(price_words(None, "nobody"), tmp_path, **h100)  # type: ignore[arg-type]


def test_the_option_is_in_the_help() -> None:
    done = subprocess.run([sys.executable, "-m", "gpu_worker", "--help"], capture_output=True, text=True, check=True)
    assert "--price-per-hour USD" in done.stdout


async def test_a_worker_leaves_before_the_money_is_gone_and_hands_its_run_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.money.GHOSTS_S", 0.0)  # nobody was killed
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    await arena.post(BudgetGranted(n=1, usd=5000.0))
    await arena.request(GOOD + "time.sleep(300)", "r1", deadline_s=400)
    price = price_words(3600.0)  # a dollar a second
    said: list[str] = []

    async def work() -> None:
        said.append(await run_worker(arena.bus, name="w", home=tmp_path / "home", sandbox="none", price=price))

    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            while not await arena.all(RunStarted):
                await anyio.sleep(0.05)
            # an agent that asks nobody spends all but the last minute of the fleet
            await arena.post(ModelAsked(model="m", purpose="x", ok=True, cost=Cost(usd=4940.0)))
    assert said == ["the budget of arena a is used up"]
    assert [left.reason for left in await arena.all(WorkerLeft)] == ["budget"]
    assert await arena.all(RunFinished) == []
