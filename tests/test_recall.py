"""A board leaves the texts of what is decided to the log, and whoever reads them has them put back."""

from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
import pytest

from mesh import wire
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.events import (
    AnyEvent,
    ArenaOpened,
    CritiquePosted,
    CurvePoint,
    NotePosted,
    ProposalRetired,
    RunFinished,
    Scored,
)
from mesh.follow import SNAPSHOT_EVERY, Follower
from mesh.lean import FULL
from mesh.memory import MemoryBus
from mesh.recall import proposals_of, recall
from mesh.testing import git_hash
from mesh.wire import Post
from tests.support.history import opened, proposal, request

LOG = "step 1\nstep 2\n"


def facts_of(number: int) -> list[tuple[str, AnyEvent]]:
    """Return one proposal with a critique, a run with a curve, a critique of its score, and its verdict."""
    tree, run = git_hash(f"many-{number}"), f"run-{number}"
    finished = RunFinished(
        run=run,
        proposal=tree,
        outcome=Scored(value=number, metrics={"loss": number}),
        worker="w",
        worker_class="cpu",
        curve=tuple(CurvePoint(step, step / 2, step, step / 10) for step in range(11)),
        log_tail=LOG,
    )
    return [
        ("ann", msgspec.structs.replace(proposal(tree), rationale=f"reason {number}")),
        ("cid", CritiquePosted(target=tree, verdict="warn", rule="near", text=f"as {number - 1}")),
        ("curator", request(run, tree)),
        ("w", finished),
        ("cid", CritiquePosted(target=run, verdict="warn", rule="luck", text=f"luck {number}")),
        ("curator", ProposalRetired(proposal=tree, round=1, why="not_better", text="no better")),
    ]


async def a_log(count: int) -> tuple[MemoryBus, Board]:
    """Return a log with so many retired proposals, and its board."""
    bus, board = MemoryBus("a"), Board(arena="a")
    facts: list[tuple[str, AnyEvent]] = [("operator", opened())]
    for number in range(count):
        facts += facts_of(number)
    await bus.post_all(Post.new(author, event) for author, event in facts)
    async for batch in bus.read():
        for entry in batch:
            board.fold(entry)
    return bus, board


def texts_of(board: Board, number: int) -> tuple[str, str, str, int, str]:
    """Return all texts that a board has of a proposal, and the points of its curve."""
    known, run = board.proposals[git_hash(f"many-{number}")], board.runs[f"run-{number}"]
    assert run.finished
    own, of_run = known.critiques[0].text, run.critiques[0].text
    return known.event.rationale, own, of_run, len(run.finished.curve), run.finished.log_tail


async def test_the_texts_of_the_latest_retired_proposals_are_on_the_board_and_no_others() -> None:
    _, board = await a_log(FULL + 3)
    lean = [number for number in range(FULL + 3) if not any(texts_of(board, number))]
    assert lean == [0, 1, 2]
    assert texts_of(board, 3) == ("reason 3", "as 2", "luck 3", 0, LOG)
    assert board.scores(git_hash("many-0")) == [0.0]
    assert from_bytes(to_bytes(board)) == board


async def test_texts_that_are_recalled_are_those_of_the_log_and_the_oldest_leave_again() -> None:
    bus, board = await a_log(FULL + 3)
    await recall(bus, board, [*proposals_of(board, ["run-1", "no such run"]), git_hash("many-0"), "no such proposal"])
    assert texts_of(board, 0) == ("reason 0", "as -1", "luck 0", 11, LOG)
    assert texts_of(board, 1) == ("reason 1", "as 0", "luck 1", 11, LOG)
    for author, event in facts_of(FULL + 3):
        await bus.post(Post.new(author, event))
    async for batch in bus.read(board.seq):
        for entry in batch:
            board.fold(entry)
    assert len(board.full) == FULL
    assert not any(texts_of(board, 3))
    assert texts_of(board, 0) == ("reason 0", "as -1", "luck 0", 11, LOG)


async def test_curves_of_what_is_open_are_recalled_once_and_leave_the_texts_of_others_alone() -> None:
    bus, board = await a_log(FULL)
    for author, event in facts_of(FULL)[:-1]:
        await bus.post(Post.new(author, event))
    async for batch in bus.read(board.seq):
        for entry in batch:
            board.fold(entry)
    tree, run, full = git_hash(f"many-{FULL}"), board.runs[f"run-{FULL}"], list(board.full)
    assert texts_of(board, FULL) == (f"reason {FULL}", f"as {FULL - 1}", f"luck {FULL}", 0, LOG)
    await recall(bus, board, [tree])
    assert run.finished == facts_of(FULL)[3][1]
    assert not board.proposals[tree].is_lean
    assert list(board.full) == full
    before = run.finished
    await recall(bus, board, [tree])
    assert run.finished is before
    assert from_bytes(to_bytes(board)) == board


async def test_what_ends_or_is_judged_after_its_proposal_has_left_its_texts_leaves_its_own() -> None:
    bus, board = await a_log(FULL + 1)
    tree = git_hash("many-0")
    again = msgspec.structs.replace(facts_of(0)[3][1], run="again", proposal=tree)
    for author, event in (
        ("curator", request("again", tree)),
        ("w", again),
        ("dan", CritiquePosted(target="again", verdict="warn", text="late")),
        ("dan", CritiquePosted(target=tree, verdict="warn", text="late too")),
    ):
        await bus.post(Post.new(author, event))
    async for batch in bus.read(board.seq):
        for entry in batch:
            board.fold(entry)
    run = board.runs["again"]
    assert run.finished
    assert (run.finished.log_tail, run.critiques[0].text, board.proposals[tree].critiques[1].text) == ("", "", "")
    await recall(bus, board, [tree])
    assert board.runs["again"].finished == again
    assert (board.runs["again"].critiques[0].text, board.proposals[tree].critiques[1].text) == ("late", "late too")


@pytest.mark.parametrize("reached", [0.0, 0.3, 1.0])
async def test_a_run_keeps_the_values_at_the_rungs_of_the_version_it_ended_in(reached: float) -> None:
    bus, board = MemoryBus("a"), Board(arena="a")
    first = opened()
    assert isinstance(first, ArenaOpened)
    rungs = first.spec.selection.rungs
    finished = facts_of(0)[3][1]
    assert isinstance(finished, RunFinished)
    curve = tuple(point for point in finished.curve if point.fraction <= reached)
    for author, event in (
        ("operator", first),
        *facts_of(0)[:3],
        ("w", msgspec.structs.replace(finished, curve=curve)),
    ):
        await bus.post(Post.new(author, event))
    async for batch in bus.read():
        for entry in batch:
            board.fold(entry)
    expected = [(rung, next(p.value for p in curve if p.fraction >= rung)) for rung in rungs if rung <= reached]
    assert list(board.runs["run-0"].rungs) == expected


async def test_a_snapshot_is_written_part_by_part_while_others_work(tmp_path: Path) -> None:
    bus, board = await a_log(2200)
    follower = Follower(bus, snapshot=tmp_path / "a")
    worked = 0

    async def work() -> None:
        nonlocal worked
        while True:
            await anyio.lowlevel.checkpoint()
            worked += not (tmp_path / "a").exists() and any(tmp_path.iterdir())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await follower.catch_up()
        tasks.cancel_scope.cancel()
    assert worked >= 4
    again = Follower(bus, snapshot=tmp_path / "a")
    await again.catch_up()
    assert again.board == follower.board == board
    written = (tmp_path / "a").stat().st_mtime_ns
    for number in range(2200, 2200 + int(SNAPSHOT_EVERY / 6) + 1):
        await bus.post_all(Post.new(author, event) for author, event in facts_of(number))
    await again.catch_up()
    assert again.board.seq - follower.board.seq > SNAPSHOT_EVERY
    assert (tmp_path / "a").stat().st_mtime_ns > written


async def test_a_snapshot_that_is_cut_off_while_it_is_written_is_written_again(tmp_path: Path) -> None:
    bus, _ = await a_log(400)
    follower = Follower(bus, snapshot=tmp_path / "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.catch_up)
        while not any(tmp_path.iterdir()):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not any(tmp_path.iterdir())
    await follower.catch_up()
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_of_the_answers_a_board_knows_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.board._ANSWERED", 3)
    board = Board(arena="a")
    for seq in range(1, 6):
        note = NotePosted(channel="c", text="")
        post = msgspec.structs.replace(Post.new("cid", note), cause=f"post-{seq}")
        board.fold(wire.entry(seq, post.at, wire.subject_of("a", post), wire.encode(post)))
    assert [board.has_answered("cid", f"post-{seq}") for seq in range(1, 6)] == [False, False, True, True, True]
    assert from_bytes(to_bytes(board)) == board
