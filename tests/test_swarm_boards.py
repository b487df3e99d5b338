"""A process without a snapshot starts from a board that the swarm hands on, if it is one that the log has made."""

import hashlib
import io
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

import anyio
import msgspec
import pytest

from benchmarks.parts.mix import opening, posts
from benchmarks.parts.virtual_workers import opening_runs
from mesh import follow, swarm_boards
from mesh.board import Board
from mesh.board_bytes import SHAPE, write_snapshot
from mesh.errors import ObjectMissing
from mesh.events import RunFinished, Scored
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, connect
from mesh.lean import FULL
from mesh.server import EmbeddedServer
from mesh.swarm_boards import hand_on, taken_from_swarm
from mesh.wire import Entry, Post

SOME, MORE = 2500, 1000
"""Facts of a log whose board is handed on, and facts after which the next quarter has begun."""

DYING = """
import os, signal, sys
from pathlib import Path
import anyio
from mesh import follow, swarm_boards
from mesh.follow import Follower
from mesh.jetstream import connect, objects

swarm_boards.HANDED_ON_FROM, objects.CHUNK = 2000, 10_000

async def main(url, path):
    async with connect(url) as hub:
        bus = await hub.arena("a")
        store = hub.link.append
        stored = []
        async def dying(subject, data, headers):
            stored.append(subject)
            if len(data) == 10_000 and len(stored) > 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return await store(subject, data, headers)
        hub.link.append = dying
        follower = Follower(bus, snapshot=path)
        await follower.catch_up()
        await swarm_boards.hand_on(bus, follower, path)

anyio.run(main, sys.argv[1], Path(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm_boards, "HANDED_ON_FROM", 2000)
    monkeypatch.setattr(follow, "SNAPSHOT_EVERY", 100)


@asynccontextmanager
async def a_log(server: EmbeddedServer) -> AsyncIterator[JetStreamBus]:
    """Yield a log with many decided proposals."""
    async with connect(server.url) as hub:
        bus, begin = await hub.arena("a", create=True), opening("a")
        before = [begin, *opening_runs(begin)]
        await bus.post_all(chain(before, posts("some", SOME - len(before), settled=True)))
        yield bus


async def folded(bus: JetStreamBus) -> Board:
    """Return the board that folding from the first entry gives."""
    follower = Follower(bus)
    await follower.catch_up()
    return follower.board


async def take(bus: JetStreamBus) -> Board | None:
    return await taken_from_swarm(bus, bus, await bus.identity(), await bus.head())


async def make(bus: JetStreamBus, path: Path) -> None:
    """Hand on a board, as a process with agents does."""
    follower = Follower(bus, snapshot=path)
    await follower.catch_up()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hand_on, bus, follower, path)
        while not await swarm_boards._is_there(bus, swarm_boards._name(0)):
            await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()


async def put(bus: JetStreamBus, data: bytes, name: str = "") -> None:
    """Store what somebody hands on."""
    name = name or hashlib.sha256(data).hexdigest()
    await bus.put(name, data)
    await bus.put(swarm_boards._name(0), msgspec.json.encode({"sha256": name, "seq": SOME}))


async def snapshot(bus: JetStreamBus, board: Board, identity: str = "") -> bytes:
    file = io.BytesIO()
    for _ in write_snapshot(file, board, identity or await bus.identity()):
        pass
    return file.getvalue()


async def test_whoever_has_no_snapshot_takes_the_board_of_the_swarm_and_folds_the_rest(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with a_log(server) as log:
        await make(log, tmp_path / "a")
        taken = await take(log)
        assert taken is not None
        assert (taken.seq, len(taken.full)) == (SOME, FULL)
        assert any(isinstance(each, bytes) for each in taken.proposals.known.values())
        assert taken == await folded(log)
        await log.post_all(posts("more", 30, settled=True))
        follower, heard = Follower(log, snapshot=tmp_path / "b", swarm=log), list[int]()
        await follower.catch_up(lambda at, _: heard.append(at))
        assert (heard[0] > SOME, heard[-1]) == (True, SOME + 30)
        assert follower.board == await folded(log)
        assert (tmp_path / "b").exists()
        alone = Follower(log)
        await alone.catch_up(lambda at, _: heard.append(at))
        assert len(heard) > 2


@pytest.mark.parametrize(
    "trouble",
    [
        "other bytes",
        "cut off",
        "of another log",
        "no object",
        "no pointer",
        "no hash",
        "no board",
        "a run without its pack",
    ],
)
async def test_what_is_damaged_or_of_another_log_is_folded(
    server: EmbeddedServer, tmp_path: Path, trouble: str
) -> None:
    async with a_log(server) as log:
        board = await folded(log)
        data = await snapshot(log, board)
        if trouble == "other bytes":
            await put(log, data.replace(b"train.py", b"train.pz"), hashlib.sha256(data).hexdigest())
        elif trouble == "cut off":
            await put(log, data[:-9])
        elif trouble == "of another log":
            await put(log, await snapshot(log, board, "x" * len(await log.identity())))
        elif trouble == "no object":
            pointer = msgspec.json.encode({"sha256": hashlib.sha256(data).hexdigest(), "seq": SOME})
            await log.put(swarm_boards._name(0), pointer)
        elif trouble == "no hash":
            await log.put(swarm_boards._name(0), msgspec.json.encode({"sha256": "a.b", "seq": SOME}))
        elif trouble == "a run without its pack":
            forged = await folded(log)
            packed = [tree for tree, each in forged.proposals.known.items() if isinstance(each, bytes)]
            run = forged.proposals[packed[0]].runs[0]
            forged.runs.known[run] = packed[1]
            await put(log, await snapshot(log, forged))
        elif trouble == "no pointer":
            await log.put(swarm_boards._name(0), b"[]")
        else:
            await put(log, b"\xff" * 1000)
        assert await take(log) is None
        follower = Follower(log, swarm=log)
        await follower.catch_up()
        assert follower.board == board


async def test_the_board_of_another_version_is_not_asked_for(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_log(server) as log:
        await make(log, tmp_path / "a")
        assert await take(log)
        monkeypatch.setattr(swarm_boards, "SHAPE", SHAPE[::-1])
        assert await take(log) is None


async def test_a_board_with_other_scores_than_the_log_is_not_believed(server: EmbeddedServer) -> None:
    async with a_log(server) as log:
        forged = Board(arena="a")
        async for batch in log.read():
            for entry in batch:
                forged.fold(better(entry))
        await put(log, await snapshot(log, forged))
        assert await take(log) is None


def better(entry: Entry) -> Entry:
    """Return an entry with a better score than it has in the log."""
    match entry.post:
        case Post(event=RunFinished(outcome=Scored(value=value)) as event) as post:
            event = msgspec.structs.replace(event, outcome=Scored(value=value - 1))
            return msgspec.structs.replace(entry, post=msgspec.structs.replace(post, event=event))
    return entry


async def test_one_that_dies_while_it_hands_on_keeps_others_from_it_for_a_quarter(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with a_log(server) as log:
        command = [sys.executable, "-c", DYING, server.url, str(tmp_path / "a")]
        died = await anyio.run_process(command, check=False, stderr=subprocess.PIPE)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-500:]
        assert await log.get(f"{swarm_boards._name(0)}-1")
        with pytest.raises(ObjectMissing):
            await log.get(swarm_boards._name(0))
        assert await take(log) is None
        follower = Follower(log, swarm=log, snapshot=tmp_path / "b")
        await follower.catch_up()
        assert follower.board == await folded(log)
        await swarm_boards._hand_on(log, tmp_path / "b", b"another", SOME, 0, 1)
        assert await take(log) is None
        await log.post_all(posts("more", MORE, settled=True))
        await make(log, tmp_path / "b")
        taken = await take(log)
        assert taken
        assert taken.seq >= SOME
