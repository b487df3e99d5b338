"""A slot asks for its next run while the last one is cleared away; trouble in between costs neither of them."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from gpu_worker.clearing import Clearing
from gpu_worker.slot_loop import SlotLoop
from gpu_worker.supervisor.client import Supervisor, SupervisorDied
from mesh.bus import LEASE_S, Delivery
from mesh.errors import HostTrouble
from mesh.events import RunStarted, Scored
from tests.test_worker import Arena, arena  # noqa: F401

TRAIN = "import json\n(out / 'score.json').write_text(json.dumps({'loss': 1.5}))\n"


@pytest.mark.parametrize("trouble", [HostTrouble("the disk is full"), None])
async def test_trouble_after_a_run_was_measured_hands_the_next_one_back_and_loses_nothing(
    arena: Arena,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    trouble: HostTrouble | None,
) -> None:
    await arena.open()
    runs = ("r1", "r2", "r3")
    for number, run in enumerate(runs):
        await arena.request(f"{TRAIN}# {number}\n", run)
    clear, asked, cleared = Clearing.clear, anyio.Event(), list[Path]()
    find = SlotLoop._next

    async def told(self: SlotLoop, *words: object) -> object:
        found = await find(self, *words)  # type: ignore[arg-type]
        if cleared:
            asked.set()
        return found

    async def clear_late(self: Clearing, folder: Path) -> None:
        cleared.append(folder)
        if len(cleared) == 1:
            await asked.wait()  # the next run is here while this one is not cleared away
            if trouble:
                raise trouble
        await clear(self, folder)

    monkeypatch.setattr(Clearing, "clear", clear_late)
    monkeypatch.setattr(SlotLoop, "_next", told)
    monkeypatch.setattr(SlotLoop, "_until_healthy", lambda self, slot: anyio.lowlevel.checkpoint())
    async with arena.worker():
        with anyio.fail_after(150):
            ends = [await arena.finished(run) for run in runs]
    assert [isinstance(end.outcome, Scored) and end.attempt for end in ends] == [1, 1, 1]
    assert Counter(started.run for started in await arena.all(RunStarted)) == dict.fromkeys(runs, 1)


async def test_the_lease_of_the_next_run_is_kept_while_the_last_one_is_cleared_away(
    arena: Arena,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await arena.open()
    for run in ("r1", "r2"):
        await arena.request(f"{TRAIN}# {run}\n", run)
    clear = Clearing.clear

    async def clear_slowly(self: Clearing, folder: Path) -> None:
        await anyio.sleep(1.3 * LEASE_S)
        await clear(self, folder)

    monkeypatch.setattr(Clearing, "clear", clear_slowly)
    async with arena.worker():
        await arena.finished("r1")
        await anyio.sleep(1.15 * LEASE_S)  # longer than a lease
        others = arena.bus.work("workers", ["run.requested.explore"])
        taken = None
        with anyio.move_on_after(0.3):
            taken = await anext(others)
        await others.aclose()
        assert taken is None
        assert isinstance((await arena.finished("r2")).outcome, Scored)


async def test_a_run_that_comes_at_the_moment_when_the_supervisor_dies_does_not_wait_for_the_end_of_its_lease(
    arena: Arena,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await arena.open()
    work, given, deaths = arena.bus.work, anyio.Event(), list[str]()
    waits = anyio.Event()
    died = Supervisor.died

    async def die_once(self: Supervisor) -> None:
        if not deaths:
            waits.set()
            await given.wait()
            deaths.append(self.token)
            raise SupervisorDied("the supervisor died")
        await died(self)

    async def for_long(
        queue: str, kinds: Sequence[str], *, lease_s: float, first: Callable[[], str]
    ) -> AsyncGenerator[Delivery]:
        async with aclosing(work(queue, kinds, lease_s=100 * lease_s, first=first)) as deliveries:
            async for delivery in deliveries:
                given.set()
                yield delivery

    monkeypatch.setattr(arena.bus, "work", for_long)
    monkeypatch.setattr(Supervisor, "died", die_once)
    async with arena.worker():
        with anyio.fail_after(150):
            await waits.wait()
            await arena.request(TRAIN)
            assert isinstance((await arena.finished()).outcome, Scored)
    assert len(deaths) == 1
