"""Code is fetched ahead for the runs that are next, and then not fetched again."""

from pathlib import Path

import msgspec
import pytest

from gpu_worker.prefetch import Prefetch, next_runs
from mesh.board import Board
from mesh.errors import ObjectMissing
from mesh.events import RunKilled, RunRequested, RunStarted
from mesh.follow import Follower
from mesh.memory import MemoryBus, MemoryHub
from tests.test_worker import Arena

CLASS = "cpu"


async def board_of(arena: Arena) -> Board:
    follower = Follower(arena.bus)
    await follower.catch_up()
    return follower.board


async def test_next_are_waiting_runs_for_this_worker_by_lane_and_then_by_age(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    for run in ("begun", "killed", "old", "young"):
        await arena.request("pass", run)
    await arena.request("pass", "elsewhere", worker_class="h100")
    await arena.request("pass", "confirm", lane="confirm")
    await arena.post(RunStarted(run="begun", attempt=1, worker="w"))
    await arena.post(RunKilled(run="killed", by="operator"))
    board = await board_of(arena)
    assert [request.run for request in next_runs(board, CLASS, 9)] == ["confirm", "old", "young"]
    assert [request.run for request in next_runs(board, "h100", 2)] == ["confirm", "old"]


async def test_challengers_and_champion_of_a_race_run_in_turns_and_before_search(tmp_path: Path) -> None:
    """A machine that grows slower while they run must harm all of them alike."""
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    await arena.request("pass", "search")
    for seed in (1, 2, 3):
        for run, lane in ((f"claim{seed}", "confirm"), (f"other{seed}", "confirm"), (f"champion{seed}", "control")):
            await arena.request("pass", run, lane=lane)
    async with arena.worker():
        await arena.finished("search")
    begun = [event.run for event in await arena.all(RunStarted)]
    assert begun == [f"{who}{seed}" for seed in (1, 2, 3) for who in ("claim", "other", "champion")] + ["search"]


async def test_code_that_was_fetched_ahead_is_not_fetched_again_and_missing_code_is_an_error_in_its_turn(
    tmp_path: Path,
) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    await arena.request("x = 1", "r1")
    await arena.request("x = 2", "r2")
    unknown = msgspec.structs.replace((await arena.all(RunRequested))[0], run="r0", lane="confirm", commit="0" * 40)
    await arena.post(unknown)
    board = await board_of(arena)
    prefetch = Prefetch(arena.bus, arena.home, lambda: board)
    await prefetch.fetch_ahead(CLASS, 2)
    assert isinstance(arena.bus, MemoryBus)
    arena.bus._objects.clear()
    first, second = board.runs["r1"].requested, board.runs["r2"].requested
    inputs = await prefetch.inputs(first)
    assert (inputs.request, inputs.proposal["train.py"][-5:]) == (first, b"x = 1")
    assert inputs.base["train.py"] == b""
    for request in (unknown, second):
        with pytest.raises(ObjectMissing):
            await prefetch.inputs(request)
