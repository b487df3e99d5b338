"""A worker leaves after so long without a run: a machine that is paid for need not wait for nothing."""

from pathlib import Path

import anyio
import pytest

from gpu_worker.idleness import PRICED_S, Idleness, idle_stop_s
from gpu_worker.worker import run_worker
from mesh.errors import BadInput
from mesh.events import RunFinished, Scored, WorkerJoined, WorkerLeft
from mesh.memory import MemoryHub
from tests.test_leases import a_gate
from tests.test_worker import GOOD, Arena

IDLE_S = 1.0


async def test_a_worker_without_a_run_leaves_and_says_why(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    began = anyio.current_time()
    with anyio.fail_after(150):
        why = await run_worker(
            arena.bus, name="w", slots=1, device="cpu", home=arena.home, sandbox="none", idle_stop_s=IDLE_S
        )
    assert anyio.current_time() - began >= IDLE_S
    assert why == "had no run for 1.0 seconds (--idle-stop)"
    [joined], [left] = await arena.all(WorkerJoined), await arena.all(WorkerLeft)
    assert left == WorkerLeft(boot=joined.boot, reason="idle")


async def test_a_run_that_takes_longer_than_the_time_is_no_idleness(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    for idle_s in (IDLE_S, 4 * IDLE_S, 12 * IDLE_S):  # on a busy machine a worker may take longer to begin a run
        run = f"r{idle_s:g}"
        await arena.request(f"time.sleep({idle_s + 2})\n# {run}\n{GOOD}", run)
        with anyio.fail_after(100):
            await run_worker(
                arena.bus, name="w", slots=2, device="cpu", home=arena.home, sandbox="none", idle_stop_s=idle_s
            )
        if found := [finish for finish in await arena.all(RunFinished) if finish.run == run]:
            break
    [finish], [*_, left] = found, await arena.all(WorkerLeft)
    assert (type(finish.outcome), left.reason) == (Scored, "idle")


async def test_the_process_takes_what_comes_in_time_and_ends_with_success(home: Path) -> None:
    async with a_gate(home) as gate:
        gate.open()
        await gate.worker("spare", "--idle-stop", "6s")
        await gate.ask("r")
        await gate.finished("r")
        assert await gate.left("spare") == 0
        await gate.says("spare: had no run for 6.0 seconds (--idle-stop)")
        assert [left.reason for left in gate.facts(WorkerLeft) if isinstance(left, WorkerLeft)] == ["idle"]


async def test_the_time_counts_from_the_end_of_the_last_run() -> None:
    idleness = Idleness()
    with idleness.run():
        with anyio.move_on_after(0.2) as waited:
            await idleness.until_idle(0.05)
        assert waited.cancelled_caught
    began = anyio.current_time()
    await idleness.until_idle(0.1)
    assert anyio.current_time() - began >= 0.1


@pytest.mark.parametrize(
    ("given", "price", "seconds"),
    [
        (None, None, None),
        (None, 0.0, None),
        (None, 2.69, PRICED_S),
        ("0", 2.69, None),
        ("90s", None, 90),
        ("1h30m", 2.69, 5400),
    ],
)
def test_only_a_machine_with_a_price_leaves_unless_it_is_told_to(
    given: str | None, price: float | None, seconds: float | None
) -> None:
    assert idle_stop_s(given, is_priced=bool(price)) == seconds


@pytest.mark.parametrize("given", ["soon", "-5m", "", "10 minutes"])
def test_what_is_not_a_duration_is_refused_with_the_option(given: str) -> None:
    with pytest.raises(BadInput, match=r"--idle-stop: .* is not a duration; write 30s, 5m, 2h or 1d, or 0 for never"):
        idle_stop_s(given, is_priced=False)
