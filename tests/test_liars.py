"""Whole swarms in memory with a worker that lies: it is found, its scores count no more, and others prove."""

import datetime as dt
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agents.curation.audits import in_quarantine
from agents.curator import Curator
from agents.explorer import Explorer
from gpu_worker.triage import Drop, Execute, Leave, Taker, triage
from mesh import events as e
from mesh.agent.code_reader import CodeReader
from mesh.agent.owner_reader import OwnerReader
from mesh.agent.protocol import Context
from mesh.agent.queue_reader import QueueReader
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.bus import WORKERS, ArenaBus, Hub
from mesh.code import CodeStore
from mesh.follow import Follower
from mesh.hand_outs import BY_STARTER
from mesh.memory import MemoryHub
from mesh.testing import FILES, opened
from mesh.wire import HUB_AUTHOR, HUB_LOG, Post
from tests.test_audits import EXACT


def true_value(tree: str) -> float:
    return int(hashlib.sha256(tree.encode()).hexdigest()[:6], 16) / 2**24


async def a_worker(bus: ArenaBus, follower: Follower, name: str, lie: float = 0.0, owner: str = "") -> None:
    """Take runs as a worker does, and answer at once; a liar's scores of search are better by `lie`."""
    boot = f"b-{name}"
    await bus.post(Post.new(name, e.WorkerJoined(boot=boot, worker_class="cpu", device="cpu", slots=1, owner=owner)))
    async with aclosing(bus.work(WORKERS, [f"run.requested.{lane}" for lane in e.LANES], lease_s=60)) as jobs:
        async for job in jobs:
            await follower.reached(job.entry.seq)
            assert job.entry.post
            asked = job.entry.post.event
            assert isinstance(asked, e.RunRequested)
            taker = Taker(boot, name, "cpu", True, True, 9, 0, job.attempt)
            match triage(follower.board, asked, job.entry.seq, taker):
                case Leave(delay_s):
                    await job.hand_back(delay_s / 20)
                    await anyio.sleep(delay_s / 10)
                case Execute():
                    attempt = follower.board.runs[asked.run].attempts + 1
                    await bus.post(Post.new(name, e.RunStarted(run=asked.run, attempt=attempt, worker=boot)))
                    value = true_value(asked.proposal) - (lie if asked.lane == "explore" else 0.0)
                    done = e.RunFinished(
                        run=asked.run,
                        proposal=asked.proposal,
                        outcome=e.Scored(value=value),
                        worker=boot,
                        worker_class="cpu",
                    )
                    await follower.post_once(Post.new(name, done))
                    await job.done()
                case Drop():
                    await job.done()
                case other:
                    raise AssertionError(other)


@asynccontextmanager
async def a_swarm(folder: Path, hub: Hub) -> AsyncIterator[tuple[ArenaBus, Follower, anyio.abc.TaskGroup]]:
    """An open arena with an exact metric, a curator and explorers."""
    bus = await hub.arena("a", create=True)
    code = CodeStore(folder / "code.git", bus)
    base = code.commit(FILES, message="base", author="operator", at=dt.datetime.now(dt.UTC))
    await code.push(base.commit)
    opening = replace(opened(EXACT, base.commit, base.tree), rules=BY_STARTER)
    await bus.post(Post.new("operator", opening))
    follower = Follower(bus)
    reader, queue, owners = CodeReader(code), QueueReader(bus), OwnerReader(hub)
    seats = [Seat("curator", Curator(Context("curator", 0, reader, queue=queue, owners=owners)))]
    seats += [Seat(f"explorer-{n}", Explorer(Context(f"explorer-{n}", n, reader))) for n in range(3)]

    async def agents() -> None:
        await run_agents(bus, seats, code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.follow)
        tasks.start_soon(agents)
        yield bus, follower, tasks
        tasks.cancel_scope.cancel()


@pytest.mark.timeout(300)
async def test_a_worker_that_lies_is_found_by_audits_and_counts_no_more(tmp_path: Path) -> None:
    async with a_swarm(tmp_path, MemoryHub()) as (bus, follower, tasks):
        for name, lie in (("liar", 1.0), ("gpu7", 0.0), ("gpu8", 0.0), ("gpu9", 0.0)):
            tasks.start_soon(a_worker, bus, follower, name, lie)
        with anyio.fail_after(240):
            await follower.until(lambda board: bool(in_quarantine(board)))
            board, then = follower.board, follower.board.seq
            assert in_quarantine(board) == ["liar"]
            finished = board.finished
            await follower.until(lambda board: board.finished >= finished + 20)
    since = [run for run in board.runs.values() if run.finished_seq > then]
    assert {worker_of(board, run.finished.worker) for run in since if run.finished} <= {"gpu7", "gpu8", "gpu9"}


@pytest.mark.timeout(300)
async def test_a_job_that_is_ended_in_the_queue_is_asked_for_again_in_a_whole_swarm(tmp_path: Path) -> None:
    async with a_swarm(tmp_path, MemoryHub()) as (bus, follower, tasks):
        with anyio.fail_after(240):
            async with aclosing(bus.work(WORKERS, ["run.requested.explore"], lease_s=0.2)) as jobs:
                await (await anext(jobs)).done()  # the first run, of the baseline: nobody began it
            tasks.start_soon(a_worker, bus, follower, "gpu7")
            await follower.until(lambda board: any(run.requested.instead_of for run in board.runs.values()))
            await follower.until(lambda board: bool(board.champion))
    assert not any(board_run.finished for board_run in follower.board.runs.values() if board_run.withdrawn)


async def test_owners_are_those_that_the_hub_says(tmp_path: Path) -> None:
    hub = MemoryHub()
    reader = OwnerReader(hub)
    assert await reader.owners() == {}
    log = await hub.arena(HUB_LOG, create=True)
    await log.post(Post.new("eve", e.MemberAdmitted(name="gpu7", shown_as="gpu7", owner="eve")))
    await log.post(Post.new(HUB_AUTHOR, e.MemberAdmitted(name="gpu8", shown_as="gpu8", owner="lab")))
    await log.post(Post.new(HUB_AUTHOR, e.MemberAdmitted(name="gpu9", shown_as="gpu9")))
    assert await OwnerReader(hub).owners() == {"gpu8": "lab"}


def worker_of(board: Board, boot: str) -> str:
    return board.workers[boot].name
