"""Runs of proposals that a new version rules out are withdrawn, and a proposal that comes back runs again."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import anyio
import msgspec
import pytest

from agents.curation.admission import decide
from agents.curation.withdrawals import withdrawals
from gateway.propose import post_draft
from mesh import events as e
from mesh.agent.draft import Draft
from mesh.board import Board, Run
from mesh.board_bytes import from_bytes, to_bytes
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.settings import code_dir
from tests.support.arenas import ARENA, TRAIN, write_arena
from tests.support.history import T0, T1, T2, Fact, entries, finish, opened, proposal, request
from tests.support.swarm import swarm_of

WHY = "changed N, which version 2 fixes"
RULES = msgspec.structs.replace(opened(2), ruled_out=(e.RuledOut(text=WHY, proposals=(T1,)),))
KILLED = e.Failed(reason="killed", message="")
BEGIN: list[Fact] = [
    ("op", opened()),
    ("w", e.WorkerJoined(boot="b", worker_class="cpu", device="cpu", slots=2)),
    *(("ann", proposal(tree)) for tree in (T0, T1, T2)),
    ("cur", request("base", T0)),
    ("w", finish("base", T0, 1.0)),
    *(("cur", request(f"run-{tree[0]}", tree)) for tree in (T1, T2)),
]


def board_of(*facts: Fact) -> Board:
    board = Board(arena="a")
    for entry in entries([*BEGIN, *facts]):
        board.fold(entry)
    return board


def test_the_runs_of_what_is_ruled_out_are_withdrawn_once_and_others_go_on() -> None:
    assert withdrawals(board_of()) == []
    board = board_of(("op", RULES))
    [kill] = withdrawals(board)
    assert kill == e.RunKilled(run="run-1", by="rule", text=f"withdrawn: its proposal {WHY}")
    assert decide(board, board.time)[0] == kill
    after = board_of(("op", RULES), ("cur", kill))
    assert withdrawals(after) == []
    assert after.runs["run-1"].withdrawn
    assert not any(run.killed for name, run in after.runs.items() if name != "run-1")


def test_a_proposal_that_comes_back_runs_again_and_is_not_given_up_for_what_was_withdrawn() -> None:
    ruled: list[Fact] = [("op", RULES), ("cur", e.RunKilled(run="run-1", by="rule"))]
    for more in ([], [("w", finish("run-1", T1, KILLED))]):
        board = board_of(*ruled, *more, ("op", opened(3)))
        assert (board.proposals[T1].ruled_out, board.proposals[T1].ruled_since) == ("", 0)
        asked = [event for event in decide(board, board.time) if getattr(event, "proposal", "") == T1]
        assert [type(event) for event in asked] == [e.RunRequested]
        assert from_bytes(to_bytes(board)) == board
    # one that somebody stopped while it counted is given up, as ever
    stopped = board_of(("op", e.RunKilled(run="run-1", by="operator")), ("w", finish("run-1", T1, KILLED)))
    [verdict] = [event for event in decide(stopped, stopped.time) if getattr(event, "proposal", "") == T1]
    assert isinstance(verdict, e.ProposalRetired)
    assert verdict.why == "killed"


@pytest.mark.parametrize("is_curator_killed", [False, True])
async def test_a_new_version_ends_runs_under_way_and_in_the_queue_also_after_a_crash(
    tmp_path: Path, server: EmbeddedServer, *, is_curator_killed: bool
) -> None:
    patient = ARENA.replace("deadline_s = 30.0", "deadline_s = 600.0")
    home, folder = tmp_path / "home", write_arena(tmp_path / "tiny", arena=patient)
    slow = TRAIN.replace("time.sleep(0.4)", "time.sleep(500)")
    with anyio.fail_after(500):
        async with connect(server.url, name="test") as hub, swarm_of(home, server.url) as swarm:
            bus, _ = await open_arena(hub, folder, home=home)
            code = CodeStore(code_dir(home, "tiny"), bus)
            await swarm.start("curator", "worker")
            await post_draft(bus, code, await _board(bus), Draft({}, "as it is"), "ann")
            await _until(bus, lambda board: bool(board.champion))
            trees = []
            for width in (20, 30, 40):
                draft = Draft({"train.py": slow.replace("WIDTH = 10 ", f"WIDTH = {width} ")}, f"width {width}")
                trees.append((await post_draft(bus, code, await _board(bus), draft, "ann"))[0])
            await _until(bus, lambda board: sum(run.attempts for run in board.runs.values() if not run.finished) == 2)
            await _until(bus, lambda board: len(_runs(board, trees)) == 3)
            if is_curator_killed:
                await swarm.kill("curator")
            write_arena(folder, arena=patient, train=TRAIN.replace("1..1000", "fixed"))
            await open_arena(hub, folder, home=home)
            if is_curator_killed:
                await swarm.start("curator")
            await _until(bus, lambda board: all(run.finished for run in _runs(board, trees)))
            board = await _board(bus)
            kills = [event async for event in _kills(bus)]
    ends = [run.finished.outcome for run in _runs(board, trees) if run.finished]
    assert [end.reason for end in ends if isinstance(end, e.Failed)] == ["killed"] * 3
    assert sorted(kill.run for kill in kills) == sorted(run.requested.run for run in _runs(board, trees))
    assert all(kill.text == "withdrawn: its proposal changed WIDTH, which version 2 fixes" for kill in kills)
    assert max(run.finished.trial_s for run in _runs(board, trees) if run.finished) < 500
    assert [run.attempts for run in _runs(board, trees)].count(0) == 1  # the one that waited never began


def _runs(board: Board, trees: list[str]) -> list[Run]:
    return [run for run in board.runs.values() if run.requested.proposal in trees]


async def _board(bus: ArenaBus) -> Board:
    follower = Follower(bus)
    await follower.catch_up()
    return follower.board


async def _until(bus: ArenaBus, holds: Callable[[Board], bool]) -> None:
    follower = Follower(bus)
    while True:
        await follower.catch_up()
        if holds(follower.board):
            return
        await anyio.sleep(0.05)


async def _kills(bus: ArenaBus) -> AsyncIterator[e.RunKilled]:
    async with aclosing(bus.read(0, until=await bus.head())) as batches:
        async for batch in batches:
            for entry in batch:
                if entry.post and isinstance(entry.post.event, e.RunKilled):
                    yield entry.post.event
