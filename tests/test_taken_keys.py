"""Somebody takes the keys of facts before those who will post them: what does not count keeps nobody out."""

from pathlib import Path

import anyio
import duckdb
import nats
import pytest

from agents.curation.run_requests import run_id
from agents.curator import Curator
from agents.explorer import Explorer
from analytics.projector import replay
from gpu_worker.worker import run_worker
from mesh import settings, wire
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import AlreadyPosted
from mesh.events import (
    AnyEvent,
    ArenaClosed,
    ArenaOpened,
    Failed,
    Lane,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    RunKilled,
    RunRequested,
    RunStarted,
)
from mesh.follow import Follower, post_once
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.testing import git_hash
from mesh.wire import Post
from tests.conftest import OpenBus
from tests.support.arenas import TRAIN, write_arena

ELSEWHERE = git_hash("elsewhere")
LANES: tuple[Lane, ...] = ("explore", "confirm", "control")


def early(opened: ArenaOpened) -> list[AnyEvent]:
    """Facts that come before what they are about, with the keys of what the swarm will post about the baseline."""
    facts: list[AnyEvent] = []
    tree, end = opened.base_tree, Failed(reason="crash", message="so says a stranger")
    for lane in LANES:
        for seed in range(1, 8):
            run = run_id(tree, lane, seed, 1)
            facts += [
                RunFinished(run=run, proposal=tree, outcome=end, worker="w", worker_class="cpu", attempt=1),
                RunStarted(run=run, attempt=1, worker="w", device="cpu"),
                RunKilled(run=run, by="operator"),
            ]
    for number in range(4):
        facts.append(ProposalPromoted(proposal=tree, round=number, met=ELSEWHERE, mean=1, seeds=(1,)))
        facts.append(ProposalRetired(proposal=tree, round=number, why="failed"))
    return facts


def of_others(opened: ArenaOpened) -> list[AnyEvent]:
    """Requests with the names of the baseline's runs, for another proposal."""
    return [
        RunRequested(
            run=run_id(opened.base_tree, lane, seed, 1),
            lane=lane,
            proposal=ELSEWHERE,
            commit=ELSEWHERE,
            seed=seed,
            budget_s=1,
            deadline_s=1,
        )
        for lane in LANES
        for seed in range(1, 8)
    ]


def elsewhere(opened: ArenaOpened) -> list[AnyEvent]:
    """The baseline, with a commit that nobody has."""
    return [ProposalPosted(tree=opened.base_tree, commit=ELSEWHERE, title="mine", origin=Origin(how="human"))]


async def garbage(url: str, arena: str, opened: ArenaOpened) -> None:
    """Entries that nobody understands, on the subjects of those facts."""
    client = await nats.connect(url)
    for event in [*early(opened), *of_others(opened), *elsewhere(opened)]:
        await client.publish(wire.subject_of(arena, Post.new("eve", event)), b"{}")
    await client.flush()
    await client.close()


async def works(bus: ArenaBus, home: Path) -> Board:
    """Run a small swarm until the baseline is the champion and another proposal has a score; return the board."""
    code = CodeStore(settings.code_dir(home, "tiny"), bus)
    seats = [
        Seat("curator", Curator(Context("curator", 0, CodeReader(code)))),
        Seat("explorer", Explorer(Context("explorer", 0, CodeReader(code)))),
    ]
    follower = Follower(bus)

    def is_working(board: Board) -> bool:
        scored = [tree for tree in board.proposals if board.scores(tree)]
        return bool(board.champion) and len(scored) > 2

    async def work() -> None:
        await run_worker(bus, name="worker", slots=2, device="cpu", home=home)

    async def agree() -> None:
        await run_agents(bus, seats, code)

    with anyio.fail_after(500):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow)
            tasks.start_soon(work)
            tasks.start_soon(agree)
            await follower.until(is_working)
            tasks.cancel_scope.cancel()
    return follower.board


@pytest.mark.parametrize("taken", ["early", "of others", "elsewhere", "garbage"])
async def test_a_swarm_works_though_a_stranger_has_taken_the_keys(
    taken: str, tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    folder = write_arena(tmp_path / "arena", train=TRAIN.replace("time.sleep(0.4)", ""))
    async with connect(server.url) as hub:
        bus, opened = await open_arena(hub, folder, home=home)
        facts = {"early": early, "of others": of_others, "elsewhere": elsewhere}
        if taken in facts:
            await bus.post_all([Post.new("eve", event) for event in facts[taken](opened)])
        else:
            await garbage(server.url, "tiny", opened)
        before = await bus.head()
        board = await works(bus, home)
        assert board.champion
        assert board.scores(opened.base_tree)
        assert min(board.runs[run].seq for run in board.proposals[opened.base_tree].runs) > before
        # and SQL tells the same story
        await replay(bus, tmp_path / "a.duckdb", until=board.seq)
        with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as db:
            told = db.sql("SELECT proposal FROM champions WHERE reigns").fetchall()
            scored = db.sql("SELECT run FROM runs WHERE state = 'scored'").fetchall()
        assert told == [(board.champion,)]
        assert {run for (run,) in scored} == {run for run, found in board.runs.items() if found.value is not None}


async def test_a_fact_is_posted_over_entries_that_do_not_count_and_never_over_one_that_does(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        kill, end = RunKilled(run="r", by="operator"), ArenaClosed(version=1, reason="operator")
        follower = Follower(bus)
        await bus.post_all([Post.new("eve", kill), Post.new("eve", end)])
        await follower.catch_up()
        assert await post_once(bus, follower.board, Post.new("ann", kill)) == 3  # nobody has requested the run
        assert await post_once(bus, follower.board, Post.new("ann", end)) == 4
        with pytest.raises(AlreadyPosted):  # the board does not know yet whether entry 4 counts
            await post_once(bus, follower.board, Post.new("bob", end))
