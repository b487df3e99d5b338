"""A worker that was killed tells nobody: another one asks, and tells the log. One that was only cut off joins again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from gpu_worker.triage import MAX_ATTEMPTS, End, Execute, Taker, triage
from mesh import silent
from mesh.errors import BusUnavailable
from mesh.events import Failed, RunFinished, RunStarted, WorkerJoined, WorkerLeft
from mesh.fleet import slots
from mesh.follow import Follower
from mesh.memory import MemoryHub
from mesh.roll_call import answer_roll_call
from mesh.testing import Log
from mesh.wire import Post
from tests.support.history import T1, opened, request
from tests.test_worker import GOOD, Arena


@pytest.fixture
async def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arena:
    monkeypatch.setattr(silent, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(silent, "GONE_AFTER_S", 0.5)
    made = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await made.open()
    return made


def joined(boot: str, worker_class: str = "gpu") -> WorkerJoined:
    return WorkerJoined(boot=boot, worker_class=worker_class, device="d", slots=8)


@asynccontextmanager
async def answering(arena: Arena, boot: str, name: str) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer_roll_call, arena.bus, boot, name)
        yield
        tasks.cancel_scope.cancel()


async def until_left(arena: Arena, boot: str) -> WorkerLeft:
    with anyio.fail_after(60):
        while True:
            for left in await arena.all(WorkerLeft):
                if left.boot == boot:
                    return left
            await anyio.sleep(0.05)


async def test_whoever_does_not_answer_has_left_and_whoever_answers_has_not(arena: Arena) -> None:
    for name, boot in (("v", "dead"), ("x", "alive"), ("y", "dead-too")):
        await arena.bus.post(Post.new(name, joined(boot)))
    async with answering(arena, "alive", "x"), arena.worker(sandbox="none"):
        for boot in ("dead", "dead-too"):
            assert await until_left(arena, boot) == WorkerLeft(boot=boot, reason="does not answer", silent=True)
        follower = Follower(arena.bus)
        await follower.catch_up()
        board = follower.board
        assert not board.workers["alive"].left
        assert slots(board)["gpu"] == 8


async def test_where_the_server_is_silent_nobody_counts_as_gone(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = anyio.Event()

    async def no_answer() -> int:
        asked.set()
        raise BusUnavailable("the server does not answer")

    await arena.bus.post(Post.new("v", joined("dead")))
    async with arena.worker(sandbox="none"):
        monkeypatch.setattr(arena.bus, "head", no_answer)
        with anyio.fail_after(60):
            await asked.wait()
        monkeypatch.undo()
        assert [left.boot for left in await arena.all(WorkerLeft)] == []


async def test_a_worker_that_was_counted_as_gone_joins_again_and_works_on(arena: Arena) -> None:
    async with arena.worker(sandbox="none"):
        with anyio.fail_after(60):
            while not (lives := await arena.all(WorkerJoined)):
                await anyio.sleep(0.05)
            await arena.bus.post(
                Post.new("other", WorkerLeft(boot=lives[0].boot, reason="does not answer", silent=True))
            )
            while len(lives := await arena.all(WorkerJoined)) < 2:
                await anyio.sleep(0.05)
        await arena.request(GOOD, "r1")
        await arena.finished("r1")
    assert [finish.worker for finish in await arena.all(RunFinished)] == [lives[1].boot]


def test_a_worker_that_others_found_gone_may_have_died_of_its_run() -> None:
    taker = Taker("me", "w9", "cpu", is_fit=True, has_others=False, declines=0, handed_back=0, delivered=9)
    for is_silent, decision in ((True, End), (False, Execute)):
        log = Log()
        log.add("op", opened())
        log.add("cur", request("r1", T1))
        seq = log.board.seq
        for number in range(MAX_ATTEMPTS):
            log.add(f"w{number}", joined(f"b{number}"))
            log.add(f"w{number}", RunStarted(run="r1", attempt=number + 1, worker=f"b{number}"))
            log.add("other", WorkerLeft(boot=f"b{number}", silent=is_silent))
        found = triage(log.board, log.board.runs["r1"].requested, seq, taker)
        assert isinstance(found, decision)
        assert not isinstance(found, End) or isinstance(found.outcome, Failed)
