"""Whatever is killed, every requested run has one counted finish, and the projection can be had again from the log."""

import datetime as dt
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import psutil
import pytest

from analytics.projector import replay
from mesh import settings
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.events import RunFinished, RunRequested, RunStarted
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer, embedded
from mesh.sql_protocol import Query, ask
from mesh.wire import Entry
from tests.chaos.invariants import broken, rows
from tests.chaos.rounds import run_round
from tests.support.arenas import TRAIN, write_arena
from tests.support.small_disk import mounted
from tests.support.swarm import Swarm, swarm_of

PATIENCE_S = 200


class Stage:
    """An open arena on a server that is restarted when it dies, a board that follows it, and its processes."""

    def __init__(self, server: EmbeddedServer, bus: ArenaBus, follower: Follower, swarm: Swarm) -> None:
        self.server, self.bus, self.follower, self.swarm = server, bus, follower, swarm
        self.entries: list[Entry] = []

    async def until(self, holds: Callable[[Board], bool]) -> None:
        with anyio.fail_after(PATIENCE_S):
            await self.follower.until(holds)

    async def more_finishes(self, count: int) -> None:
        """Wait until so many more runs are finished than now."""
        wanted = finished(self.follower.board) + count
        await self.until(lambda board: finished(board) >= wanted)

    def take(self, entry: Entry, counts: bool) -> None:
        self.entries.append(entry)


def finished(board: Board) -> int:
    return len(board.runs) - len(board.unfinished)


def kill_server(server: EmbeddedServer) -> None:
    os.kill(server.address.pid, signal.SIGKILL)


@asynccontextmanager
async def stage(folder: Path, home: Path, train: str = TRAIN, **files: str) -> AsyncIterator[Stage]:
    """Open the tiny arena on a server and a board of the test's own."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(embedded(settings.server_dir(home)))
        hub = await stack.enter_async_context(connect(server.url, name="test", outage_s=PATIENCE_S))
        bus, _ = await open_arena(hub, write_arena(folder / "arena", train=train, **files), home=home)
        swarm = await stack.enter_async_context(swarm_of(home, server.url))
        follower = Follower(bus)
        on = Stage(server, bus, follower, swarm)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow, on.take)
            yield on
            tasks.cancel_scope.cancel()


@pytest.mark.timeout(600)
async def test_whatever_is_killed_every_run_is_finished_once_and_the_projection_can_be_had_again(
    tmp_path: Path, home: Path
) -> None:
    async with stage(tmp_path, home) as on:
        await live_through_kills(on)
        entries = await everything(on.bus)
        await on.until(lambda board: board.seq >= entries[-1].seq)
        # then nothing is missing of what was seen while it went on
        assert on.entries == entries
        asked = Counter(e.post.event.run for e in entries if e.post and isinstance(e.post.event, RunRequested))
        ended = Counter(e.post.event.run for e in entries if e.post and isinstance(e.post.event, RunFinished))
        # then every run was asked for once and finished once, and no seed of a proposal under two names
        assert set(asked.values()) == {1}
        assert ended == asked
        runs = on.follower.board.runs
        assert len({(run.requested.proposal, run.requested.seed) for run in runs.values()}) == len(asked) >= 16
        assert on.follower.board.champion
        # then the projection that lived through it equals one that is folded from nothing, row for row
        assert isinstance(on.bus, JetStreamBus)
        with anyio.fail_after(PATIENCE_S):
            while (await ask(on.bus, Query(sql="SELECT 1"))).as_of["tiny"] < entries[-1].seq:
                pass
        await on.swarm.end("projector")
        await replay(on.bus, tmp_path / "again.duckdb", until=entries[-1].seq)
        lived, again = rows(settings.database(home)), rows(tmp_path / "again.duckdb")
        assert lived == again
        assert len(lived["runs"]) == len(asked)


async def live_through_kills(on: Stage) -> None:
    """Kill each process in turn, the worker in the middle of a trial, then all at once; then let the queue run dry."""
    await on.swarm.start()
    await on.more_finishes(2)
    await on.until(lambda board: any(board.runs[run].attempts for run in board.unfinished))
    for name in ("worker", "explorer", "curator", "critic", "projector"):
        await on.swarm.kill(name)
        await on.swarm.start(name)
        await on.more_finishes(2)
    kill_server(on.server)
    await on.more_finishes(2)
    kill_server(on.server)
    await on.swarm.kill()
    await on.swarm.start()
    await on.more_finishes(4)
    await on.swarm.kill("explorer", "curator", "critic")
    await on.until(lambda board: not board.unfinished)
    assert await on.swarm.end("worker") == 0


@pytest.mark.serial
async def test_a_worker_that_is_killed_is_made_good_within_ten_seconds_and_leaves_no_process(
    tmp_path: Path, home: Path
) -> None:
    # given a trial that never ends when it is tried first
    marker = tmp_path / "first"
    train = (
        TRAIN
        + f"""
first = pathlib.Path({str(marker)!r})
if not first.exists():
    first.touch()
    time.sleep(1000)
"""
    )
    async with stage(tmp_path, home, train) as on:
        on.swarm.commands["worker"].append("--no-sandbox")  # the marker is outside of a trial's folders
        await on.swarm.start("curator", "explorer", "worker")
        with anyio.fail_after(PATIENCE_S):
            while not marker.exists():
                await anyio.sleep(0.01)
        below = psutil.Process(on.swarm.running["worker"].pid).children(recursive=True)
        [trial] = [process for process in below if "train.py" in " ".join(process.cmdline())]
        # when its worker is killed while another one waits for work
        on.swarm.commands["second"] = [*on.swarm.commands["worker"], "--name", "second"]
        await on.swarm.start("second")
        await on.until(lambda board: any(member.name == "second" for member in board.workers.values()))
        killed_at = dt.datetime.now(dt.UTC)
        await on.swarm.kill("worker")
        await on.until(lambda board: any(run.attempts == 2 for run in board.runs.values()))
        # then the other one begins it within ten seconds, and finishes it
        starts = [(e.time, e.post.event) for e in on.entries if e.post and isinstance(e.post.event, RunStarted)]
        time, again = next((time, event) for time, event in starts if event.attempt == 2)
        assert (time - killed_at).total_seconds() < 10
        await on.until(lambda board: board.runs[again.run].finished is not None)
        # then nothing is left of the first one's trial
        with anyio.fail_after(60):
            while trial.is_running():
                await anyio.sleep(0.01)


@pytest.mark.timeout(900)
async def test_a_swarm_lives_through_random_trouble_and_what_it_acknowledged_is_there_once(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 200) as disk:
        report = await run_round(1, tmp_path, random.Random("2026-1"), disk, seconds=8)
    assert report.wrong == [], report.happened
    assert report.troubles > 0
    assert report.runs > 0
    assert report.notes > 0


ASKED = {"id": "a", "author": "ann", "event": {"kind": "run.requested", "run": "r"}}
ENDED = {"id": "b", "author": "bob", "event": {"kind": "run.finished", "run": "r", "outcome": {"kind": "scored"}}}
CRASH = {"kind": "failed", "reason": "crash", "message": "No space left on device"}


def test_the_look_at_a_log_finds_what_is_wrong_with_it() -> None:
    def log(*posts: dict[str, Any]) -> list[tuple[int, str, bytes]]:
        found = [(p["event"]["kind"], p["event"]["run"], p["author"], json.dumps(p).encode()) for p in posts]
        return [(n, f"mesh.a.{kind}.{key}.{who}", data) for n, (kind, key, who, data) in enumerate(found, 1)]

    assert broken(log(ASKED, ENDED), {"a": 1}) == []
    assert broken([*log(ASKED, ENDED), (3, "mesh.a.note.posted.x.y", b"\xff")], {"b": 2}) == []
    assert broken(log(ASKED, ENDED)[1:], {}) == ["the log has a gap"]
    assert broken(log(ASKED), {"c": 2}) == [
        "run r was finished 0 times",
        "post c was acknowledged as 2 and is at None",
    ]
    assert broken(log(ASKED, ENDED, ENDED | {"id": "c", "author": "cid"}), {}) == [
        "mesh.a.run.finished.r was posted 2 times",
        "run r was finished 2 times",
    ]
    failed = ENDED | {"event": ENDED["event"] | {"outcome": CRASH}}  # type: ignore[operator]
    assert broken(log(ASKED, failed), {}) == ["run r failed: crash: No space left on device (bob)"]


async def everything(bus: ArenaBus) -> list[Entry]:
    async with aclosing(bus.read()) as batches:
        return [entry async for batch in batches for entry in batch]
