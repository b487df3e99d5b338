"""The roll call: who is there now, over real processes that are killed and frozen."""

import math
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from mesh.board import Board
from mesh.events import AgentJoined, AgentLeft, RunStarted, WorkerJoined, WorkerLeft
from mesh.fleet import present, slots, under_way, waiting
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.roll_call import GONE_S, Watchman, answer_roll_call, expected, names_to_ask, roll_call
from mesh.server import EmbeddedServer
from mesh.testing import Log
from tests.support.folding import folded, rows
from tests.support.history import T1, Fact, opened, request

ANSWER = """
import sys, anyio
from mesh.jetstream import connect
from mesh.roll_call import answer_roll_call
async def here(question):
    return b"here"
async def main():
    url, boot, name = sys.argv[1:]
    async with connect(url) as hub:
        bus = await hub.arena("a")
        await (answer_roll_call(bus, boot, name) if name else bus.answer(f"here.{boot}", here))
anyio.run(main)
"""
"""A process that answers for a life; without a name one of an earlier version."""


def facts() -> list[Fact]:
    """Two workers, `b1` whose run `r1` is under way and `b2` that left; `old` of the same name as `b1`, never left."""
    history: list[Fact] = [
        ("op", opened()),
        ("v", WorkerJoined(boot="killed", worker_class="gpu", device="gpu", slots=1)),
        ("w", WorkerJoined(boot="old", worker_class="cpu", device="cpu", slots=4)),
        ("w", WorkerJoined(boot="b1", worker_class="cpu", device="cpu", slots=2, answers_by_name=True)),
        ("v", WorkerJoined(boot="b2", worker_class="gpu", device="gpu", slots=1)),
        ("v", WorkerLeft(boot="b2")),
        ("cur", AgentJoined(boot="a0", role="curator")),
        ("cur", AgentJoined(boot="a1", role="curator")),
        ("cur", AgentLeft(boot="a1")),
    ]
    for run, worker in (("r1", "b1"), ("r2", "old"), ("r3", "b2"), ("r4", "stranger"), ("r5", "")):
        history.append(("cur", request(run, T1)))
        if worker:
            history.append(("w", RunStarted(run=run, attempt=1, worker=worker)))
    return history


def a_board() -> Board:
    """The board of these facts."""
    log = Log()
    for author, fact in facts():
        log.add(author, fact)
    return log.board


async def test_sql_and_the_board_have_one_rule(tmp_path: Path) -> None:
    board = a_board()
    async with folded(tmp_path / "a.duckdb", facts()) as queries:
        running = await rows(queries, "SELECT run FROM runs WHERE state = 'running' ORDER BY seq")
        workers = await rows(queries, "SELECT worker FROM workers WHERE state = 'here'")
        agents = await rows(queries, "SELECT agent, state FROM agents WHERE agent = 'cur'")
    assert [run for (run,) in running] == under_way(board) == ["r1", "r4"]
    assert [name for (name,) in workers] == [member.name for member in present(board.workers).values()] == ["w"]
    assert (agents, present(board.agents)) == ([["cur", "left"]], {})


def test_without_a_roll_call_the_log_says_who_is_there() -> None:
    board = a_board()
    assert list(present(board.workers)) == ["b1"]
    assert slots(board) == {"cpu": 2}
    assert under_way(board) == ["r1", "r4"]
    assert waiting(board) == ["r2", "r3", "r5"]


@pytest.mark.parametrize(
    ("answering", "busy", "count"),
    [((), [], 0), (("b1",), ["r1"], 2), (("b1", "old"), ["r1", "r2"], 6), (("stranger",), ["r4"], 0)],
)
def test_with_a_roll_call_whoever_answers_is_there(answering: tuple[str, ...], busy: list[str], count: int) -> None:
    board = a_board()
    assert expected(board) == {"killed", "old", "b1", "a0", "stranger"}
    assert under_way(board, answering) == busy
    assert waiting(board, answering) == [run for run in board.runs if run not in busy]
    assert slots(board, answering).total() == count


async def test_versions_that_ask_and_answer_in_the_old_way_and_in_the_new_understand_each_other() -> None:
    bus = await MemoryHub().arena("a", create=True)

    async def old_answer(question: bytes) -> bytes:
        return b"here"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer_roll_call, bus, "new", "w")
        tasks.start_soon(bus.answer, "here.old", old_answer)
        with anyio.fail_after(60):
            while await roll_call(bus, ["new", "old", "none"], {"new": "w", "none": "w"}) != {"new", "old"}:
                await anyio.sleep(0.01)
        assert await roll_call(bus, ["new"], {}) == {"new"}  # asked by an earlier version
        assert await bus.ask("here.new", b"") == b"here"
        tasks.cancel_scope.cancel()


async def test_who_answers_by_name_is_asked_in_no_other_way_and_must_repeat_the_word() -> None:
    bus = await MemoryHub().arena("a", create=True)

    async def old_answer(question: bytes) -> bytes:
        return b"here"

    async def both(boot: str) -> frozenset[str]:
        return await roll_call(bus, [boot], {boot: "w"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.answer, "here.b1", old_answer)
        tasks.start_soon(bus.answer, "roll.b2.w", old_answer)
        with anyio.fail_after(60):
            while await roll_call(bus, ["b1"], {}) != {"b1"}:
                await anyio.sleep(0.01)
            while await bus.ask("roll.b2.w", b"x") != b"here":
                await anyio.sleep(0.01)
        assert (await both("b1"), await both("b2")) == (frozenset(), frozenset())
        tasks.cancel_scope.cancel()


@pytest.mark.serial
async def test_the_killed_and_the_frozen_do_not_answer(server: EmbeddedServer) -> None:
    async with connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        words = [sys.executable, "-c", ANSWER, server.url]
        names = names_to_ask(a_board())
        assert names == {"b1": "w"}
        living = {boot: await anyio.open_process([*words, boot, names.get(boot, "")]) for boot in ("b1", "old")}
        try:
            watchman = Watchman(bus, a_board)
            changes: list[frozenset[str] | None] = []
            async with anyio.create_task_group() as tasks:
                with anyio.fail_after(60):
                    while await roll_call(bus, living, names) != {"b1", "old"}:
                        await anyio.sleep(0.1)
                tasks.start_soon(watchman.keep, lambda: changes.append(watchman.answering))
                living["b1"].kill()
                await living["b1"].wait()
                with anyio.fail_after(60):
                    took_s = math.inf
                    while took_s > 1:  # the server says at once that nobody listens, when it knows
                        began = anyio.current_time()
                        assert await roll_call(bus, ["b1"], names) == frozenset()
                        took_s = anyio.current_time() - began
                os.kill(living["old"].pid, signal.SIGSTOP)
                assert await roll_call(bus, living, names, 0.5) == frozenset()
                os.kill(living["old"].pid, signal.SIGCONT)
                with anyio.fail_after(60):
                    while await roll_call(bus, living, names) != {"old"} or watchman.answering != frozenset({"old"}):
                        await anyio.sleep(0.1)
                os.kill(server.address.pid, signal.SIGSTOP)
                with anyio.fail_after(60):
                    while watchman.silent_since is None:
                        await anyio.sleep(0.1)
                assert watchman.answering == frozenset({"old"})  # that the server is silent says nothing about workers
                silent_from = anyio.current_time()
                while anyio.current_time() < silent_from + GONE_S:  # longer than whoever is silent counts as there
                    await anyio.sleep(0.1)
                changes.clear()
                os.kill(server.address.pid, signal.SIGCONT)
                with anyio.fail_after(60):
                    while not changes:
                        await anyio.sleep(0.1)
                assert changes[0] == frozenset({"old"})
                tasks.cancel_scope.cancel()
        finally:
            os.kill(server.address.pid, signal.SIGCONT)
            for process in living.values():
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
