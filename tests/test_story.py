"""The whole loop in seconds: every role, a worker and the projector in one process, on a log in memory."""

from contextlib import aclosing
from pathlib import Path

import anyio
import duckdb
import pytest

from agents.critic import Critic
from agents.curator import Curator
from agents.explorer import Explorer
from analytics.projector import replay
from gpu_worker.worker import run_worker
from mesh import settings
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Agent, Context
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.code import CodeStore
from mesh.events import ArenaClosed, Scored
from mesh.follow import Follower
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.wire import Post
from tests.support.arenas import TRAIN, write_arena

RUNS, MAX_RUNS = 24, 200


async def test_a_swarm_makes_an_artifact_better_and_can_say_how(tmp_path: Path) -> None:
    # given an arena whose baseline has a loss of 0.26, and nobody but roles that need no model
    home = tmp_path / "home"
    folder = write_arena(tmp_path / "arena", train=TRAIN.replace("time.sleep(0.4)", ""))
    hub = MemoryHub()
    bus, opened = await open_arena(hub, folder, home=home)
    code = CodeStore(settings.code_dir(home, "tiny"), bus)
    roles: list[tuple[str, type[Agent]]] = [("curator", Curator), ("critic", Critic)]
    roles += [(f"explorer-{number}", Explorer) for number in (1, 2, 3)]
    seats = [
        Seat(name, role(Context(name, place - 2, CodeReader(code))))  # type: ignore[call-arg]
        for place, (name, role) in enumerate(roles)
    ]
    follower = Follower(bus)

    # when they work together until so many runs are finished and the loss is halved, and somebody closes the arena
    async def work() -> None:
        await run_worker(bus, name="worker", slots=2, device="cpu", home=home)

    async def agree() -> None:
        await run_agents(bus, seats, code)

    with anyio.fail_after(500):
        async with anyio.create_task_group() as watching:
            watching.start_soon(follower.follow)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                tasks.start_soon(agree)
                await follower.until(lambda board: len(board.runs) - len(board.unfinished) >= RUNS and is_halved(board))
                await bus.post(Post.new("ann", ArenaClosed(version=1, reason="operator")))
            watching.cancel_scope.cancel()
    board = Follower(bus)
    await board.catch_up()
    told = board.board

    # then every role had its word, and all that was scored was scored outside of the trial
    said = {post.author for post in await posts(bus)}
    assert said >= {"operator", "curator", "critic", "explorer-1", "explorer-2", "explorer-3", "worker", "ann"}
    ended = [run.finished for run in told.runs.values() if run.finished]
    assert all(isinstance(finish.outcome, Scored) and not finish.outcome.self_reported for finish in ended)
    # then the champion is better than the artifact as it was, and its code does what its score says
    best, baseline = told.scores(told.champion)[0], told.scores(opened.base_tree)[0]
    assert baseline == pytest.approx(0.26)
    assert len(ended) < MAX_RUNS
    files = await code.files(told.proposals[told.champion].event.commit, base=opened.base_commit)
    assert loss_of(files["train.py"]) == pytest.approx(best)
    # then the champion comes from the artifact as it was, step by step
    assert opened.base_tree in ancestors(told, told.champion)
    # then anybody can ask how it went
    await replay(bus, tmp_path / "mesh.duckdb")
    with duckdb.connect(str(tmp_path / "mesh.duckdb"), read_only=True) as db:
        first = db.sql("SELECT proposal, mean, rank FROM leaderboard ORDER BY rank LIMIT 1").fetchall()
        steps = db.sql("SELECT best FROM frontier ORDER BY seq").fetchall()
    assert first == [(told.champion, pytest.approx(best), 1)]
    assert [value for (value,) in steps] == sorted((value for (value,) in steps), reverse=True)


async def posts(bus: object) -> list[Post]:
    async with aclosing(bus.read()) as batches:  # type: ignore[attr-defined]
        return [entry.post async for batch in batches for entry in batch if entry.post]


def is_halved(board: Board) -> bool:
    """Tell whether the champion's loss is below half of what the tiny arena begins with."""
    return bool(board.champion) and board.scores(board.champion)[0] < 0.13


def loss_of(source: bytes) -> float:
    """Return what the training script of the tiny arena comes to, from its constants."""
    constants = dict(line.split("#")[0].split(" = ") for line in source.decode().splitlines() if "# mesh:" in line)
    return (float(constants["HEIGHT"]) - 0.5) ** 2 + int(constants["WIDTH"]) / 1000


def ancestors(board: Board, proposal: str) -> set[str]:
    parents = board.proposals[proposal].event.parents
    return {*parents, *(far for near in parents for far in ancestors(board, near))}
