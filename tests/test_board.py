"""The board: what counts of a log, and that a snapshot saves folding but never changes what is known."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from mesh import follow, wire
from mesh.board import Board, Critique
from mesh.board_bytes import from_bytes, to_bytes
from mesh.events import (
    AgentJoined,
    AgentLeft,
    AnyEvent,
    ArenaClosed,
    ArenaOpened,
    CritiquePosted,
    Failed,
    NotePosted,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    RunKilled,
    RunRequested,
    RunStarted,
    Scored,
)
from mesh.follow import SNAPSHOT_EVERY, Follower
from mesh.memory import MemoryBus, MemoryHub
from mesh.spec import ArenaSpec, ArtifactSpec, Direction, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.testing import content_hash, git_hash
from mesh.wire import Entry, Post
from mesh.worker_costs import WorkerCosts

P, Q, S = map(git_hash, ("p", "q", "s"))

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)


def entry(seq: int, event: AnyEvent, author: str = "ann", cause: str = "") -> Entry:
    post = Post(id=f"post-{seq}", at=NOW, author=author, cause=cause, event=event)
    return wire.entry(seq, NOW + dt.timedelta(seconds=seq), wire.subject_of("a", post), wire.encode(post))


def folded(*events: AnyEvent) -> tuple[Board, list[bool]]:
    """The board of these facts, in this order, and whether each counted."""
    board = Board(arena="a")
    return board, [board.fold(entry(seq, event)) for seq, event in enumerate(events, 1)]


def opened(version: int = 1, direction: Direction = "minimize", evaluator: str = "e1") -> ArenaOpened:
    spec = ArenaSpec(
        name="a",
        objective=ObjectiveSpec(metric="loss", direction=direction),
        artifact=ArtifactSpec(editable=("train.py",)),
        trial=TrialSpec(command=("python", "train.py"), budget_s=1, deadline_s=2),
        score=ScoreSpec(how="stdout", pattern="(.*)"),
    )
    return ArenaOpened(
        version=version,
        spec=spec,
        base_commit=git_hash("c"),
        base_tree=git_hash("t"),
        evaluator=content_hash(evaluator),
    )


def proposed(tree: str, title: str = "") -> ProposalPosted:
    return ProposalPosted(tree=tree, commit=git_hash(f"{tree}-commit"), title=title, origin=Origin(how="human"))


def requested(run: str, tree: str, evaluator: str = "e1") -> RunRequested:
    return RunRequested(
        run=run,
        lane="explore",
        proposal=tree,
        commit=git_hash("c"),
        seed=1,
        budget_s=1,
        deadline_s=2,
        evaluator=content_hash(evaluator),
    )


def finished(run: str, tree: str, value: float | None) -> RunFinished:
    outcome = Failed(reason="crash", message="no") if value is None else Scored(value=value)
    return RunFinished(run=run, proposal=tree, outcome=outcome, worker="w", worker_class="cpu")


def promoted(tree: str, round_: int, met: str) -> ProposalPromoted:
    return ProposalPromoted(proposal=tree, round=round_, met=met, mean=1.0)


def test_an_entry_is_folded_once_and_in_order() -> None:
    board, _ = folded(opened(), proposed(P))
    before = to_bytes(board)
    for seq in (1, 2):
        with pytest.raises(ValueError, match=rf"^entry {seq} does not come after entry 2, the last one folded$"):
            board.fold(entry(seq, NotePosted(channel="c", text="again")))
    assert to_bytes(board) == before


def test_the_same_log_gives_the_same_board_wherever_a_reader_pauses() -> None:
    events: list[AnyEvent] = [
        opened(),
        proposed(P),
        proposed(Q),
        requested("r", P),
        finished("r", P, 1.0),
        promoted(P, 1, ""),
    ]
    board, counted = folded(*events)
    again = Board(arena="a")
    for seq, event in enumerate(events, 1):
        again.fold(entry(seq, event))
        revived = from_bytes(to_bytes(again))
        assert revived == again
        again = revived
    assert counted == [True] * 6
    assert again == board
    assert (board.seq, board.time) == (6, NOW + dt.timedelta(seconds=6))


def test_what_cannot_be_decoded_is_passed_over_and_counted() -> None:
    board = Board(arena="a")
    assert board.fold(wire.entry(1, NOW, "mesh.a.run.begun.r.ann", b"{}")) is False
    assert board == Board(arena="a", seq=1, time=NOW, unknown=1, void={1: None})


def test_of_two_facts_with_one_key_the_first_counts() -> None:
    board, counted = folded(
        opened(),
        proposed(P, "first"),
        proposed(P, "second"),
        requested("r", P),
        requested("r", Q),
        RunKilled(run="r", by="rule"),
        RunKilled(run="r", by="budget"),
        AgentJoined(boot="b", role="critic"),
        AgentJoined(boot="b", role="curator"),
        AgentLeft(boot="b"),
        AgentLeft(boot="b"),
    )
    assert counted == [True, True, False, True, False, True, False, True, False, True, False]
    assert board.proposals[P].event.title == "first"
    assert (board.runs["r"].requested, board.proposals[P].runs) == (requested("r", P), ("r",))
    assert (board.agents["b"].joined, board.agents["b"].left) == (AgentJoined(boot="b", role="critic"), True)


def test_a_second_finish_of_a_run_is_not_counted() -> None:
    board, counted = folded(opened(), proposed(P), requested("r", P), finished("r", P, 2.0), finished("r", P, 1.0))
    assert counted == [True, True, True, True, False]
    assert board.runs["r"].finished == finished("r", P, 2.0)
    assert board.scores(P) == [2.0]


def test_facts_about_what_nobody_asked_for_do_not_count() -> None:
    board, counted = folded(
        opened(),
        finished("r", P, 1.0),
        RunKilled(run="r", by="rule"),
        CritiquePosted(target=P, verdict="block"),
        promoted(P, 1, ""),
        ProposalRetired(proposal=P, round=1, why="failed"),
        AgentLeft(boot="b"),
    )
    assert counted == [True, False, False, False, False, False, False]
    then = NOW + dt.timedelta(seconds=7)
    void = dict.fromkeys(range(2, 8))
    assert board == Board(
        arena="a",
        seq=7,
        time=then,
        opened=opened(),
        opened_at=NOW + dt.timedelta(seconds=1),
        worker_costs=WorkerCosts(last=NOW + dt.timedelta(seconds=1), woken=NOW + dt.timedelta(seconds=1)),
        void=void,
        bases=[(1, opened().base_commit)],
    )


def test_a_run_is_unfinished_until_its_first_finish_even_when_killed() -> None:
    events: list[AnyEvent] = [
        proposed(P),
        requested("r1", P),
        requested("r2", P),
        RunStarted(run="r1", attempt=1, worker="w1"),
    ]
    assert list(folded(*events)[0].unfinished) == ["r1", "r2"]
    events += [RunKilled(run="r1", by="rule"), RunStarted(run="r1", attempt=2, worker="w2"), finished("r2", P, None)]
    board, _ = folded(*events)
    assert list(board.unfinished) == ["r1"]
    assert (board.runs["r1"].attempts, board.runs["r1"].worker, board.runs["r1"].killed) == (2, "w2", True)
    assert list(folded(*events, finished("r1", P, 1.0))[0].unfinished) == []


def test_scores_are_those_under_the_evaluator_in_force() -> None:
    events: list[AnyEvent] = [
        opened(),
        proposed(P),
        *(requested(f"r{n}", P) for n in range(3)),
        finished("r2", P, 3.0),
        finished("r0", P, 1.0),
        finished("r1", P, None),
    ]
    assert folded(*events)[0].scores(P) == [1.0, 3.0]
    changed: list[AnyEvent] = [opened(2, evaluator="e2"), requested("r9", P, "e2"), finished("r9", P, 9.0)]
    assert folded(*events, *changed)[0].scores(P) == [9.0]


@pytest.mark.parametrize(("direction", "better"), [("minimize", True), ("maximize", False)])
def test_what_is_better_is_for_the_arena_to_say(direction: Direction, better: bool) -> None:
    objective = folded(opened(direction=direction))[0].spec.objective
    assert objective.gain(1, 3) == (2 if better else -2)
    assert (objective.better(1, 2), objective.better(2, 1), objective.better(1, 1)) == (better, not better, False)
    with pytest.raises(LookupError, match=r"^arena a was never opened$"):
        Board(arena="a").spec.objective.better(1, 2)


def test_a_promotion_counts_only_against_the_champion_it_met() -> None:
    board, counted = folded(
        proposed(P),
        proposed(Q),
        proposed(S),
        promoted(P, 1, ""),
        promoted(Q, 1, ""),
        promoted(Q, 2, P),
        promoted(S, 2, P),
        promoted(Q, 3, Q),
    )
    assert counted == [True, True, True, True, False, True, False, False]
    assert (board.champion, board.round) == (Q, 2)
    assert {tree: p.verdict for tree, p in board.proposals.items()} == {
        P: "past_champion",
        Q: "champion",
        S: "open",
    }


def test_an_open_proposal_is_retired_once_and_a_champion_is_not() -> None:
    board, counted = folded(
        proposed(P),
        proposed(Q),
        promoted(P, 1, ""),
        ProposalRetired(proposal=P, round=1, why="failed"),
        ProposalRetired(proposal=Q, round=1, why="blocked"),
        ProposalRetired(proposal=Q, round=2, why="failed"),
    )
    assert counted == [True, True, True, False, True, False]
    assert {tree: (p.verdict, p.why) for tree, p in board.proposals.items()} == {
        P: ("champion", ""),
        Q: ("retired", "blocked"),
    }


def test_every_critic_has_one_word_on_a_proposal_and_one_on_a_run() -> None:
    board = Board(arena="a")
    said = [
        ("cid", CritiquePosted(target=P, verdict="block", rule="noise", text="no")),
        ("cid", CritiquePosted(target=P, verdict="endorse")),
        ("dan", CritiquePosted(target=P, verdict="endorse")),
        ("cid", CritiquePosted(target="r", verdict="warn")),
        ("cid", CritiquePosted(target="r", verdict="block")),
    ]
    board.fold(entry(1, proposed(P)))
    board.fold(entry(2, requested("r", P)))
    counted = [board.fold(entry(seq, event, author)) for seq, (author, event) in enumerate(said, 3)]
    assert counted == [True, False, True, True, False]
    assert board.proposals[P].critiques == (
        Critique("cid", "block", "noise", "no", seq=3),
        Critique("dan", "endorse", "", "", seq=5),
    )
    assert board.runs["r"].critiques == (Critique("cid", "warn", "", "", seq=6),)


def test_an_arena_closes_in_its_version_and_opens_again_in_the_next() -> None:
    events: list[AnyEvent] = [
        ArenaClosed(version=1, reason="operator"),
        opened(1),
        ArenaClosed(version=2, reason="operator"),
        ArenaClosed(version=1, reason="plateau"),
        ArenaClosed(version=1, reason="budget"),
        opened(1, "maximize"),
    ]
    board, counted = folded(*events)
    assert counted == [False, True, False, True, False, False]
    assert (board.opened, board.closed) == (opened(1), ArenaClosed(version=1, reason="plateau"))
    board, counted = folded(*events, opened(2, "maximize"))
    assert (board.opened, board.closed, counted[-1]) == (opened(2, "maximize"), None, True)


def test_who_has_answered_a_post_is_known_from_facts_that_count() -> None:
    board = Board(arena="a")
    board.fold(entry(1, proposed(P)))
    board.fold(entry(2, proposed(P), "cid", "post-1"))
    assert not board.has_answered("cid", "post-1")
    board.fold(entry(3, proposed(Q), "cid", "post-1"))
    assert board.has_answered("cid", "post-1")
    assert not board.has_answered("ann", "post-1")
    assert not board.has_answered("cid", "post-3")


def test_bytes_of_another_shape_or_damaged_ones_are_no_board() -> None:
    data = to_bytes(folded(opened())[0])
    assert from_bytes(data) == folded(opened())[0]
    assert from_bytes(b"") is None
    assert from_bytes(data[:-1]) is None
    assert from_bytes(data.replace(data[5:15], b"0123456789", 1)) is None


async def filled(posts: int) -> MemoryBus:
    """A log of a proposal and many notes."""
    bus = await MemoryHub().arena("a", create=True)
    await post(bus, [opened(), proposed(P), *(NotePosted(channel="c", text=str(n)) for n in range(posts - 2))])
    return bus


async def post(bus: MemoryBus, events: Sequence[AnyEvent]) -> None:
    await bus.post_all([Post.new("ann", event) for event in events])


async def caught_up(bus: MemoryBus, snapshot: Path | None = None) -> Board:
    follower = Follower(bus, snapshot=snapshot)
    await follower.catch_up()
    return follower.board


async def test_a_snapshot_and_the_rest_of_the_log_give_the_board_of_the_whole_log(tmp_path: Path) -> None:
    bus, snapshot = await filled(SNAPSHOT_EVERY), tmp_path / "boards" / "a"
    assert (await caught_up(bus, snapshot)).seq == SNAPSHOT_EVERY
    assert [file.name for file in snapshot.parent.iterdir()] == ["a"]
    await post(bus, [requested("r", P), finished("r", P, 1.0)])
    bus._entries[: SNAPSHOT_EVERY - 1] = [entry(n, NotePosted(channel="c", text="")) for n in range(1, SNAPSHOT_EVERY)]
    resumed = await caught_up(bus, snapshot)
    assert resumed.scores(P) == [1.0]
    assert resumed.seq == SNAPSHOT_EVERY + 2


async def test_a_board_from_a_snapshot_equals_one_folded_from_zero(tmp_path: Path) -> None:
    bus = await filled(SNAPSHOT_EVERY)
    await caught_up(bus, tmp_path / "a")
    await post(bus, [requested("r", P), finished("r", P, 1.0), promoted(P, 1, "")])
    bus.append_raw("mesh.a.run.begun.r.ann", b"{}")
    assert await caught_up(bus, tmp_path / "a") == await caught_up(bus)


async def test_a_snapshot_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    bus = await filled(SNAPSHOT_EVERY)
    (tmp_path / "boards").write_text("a file where the folder should be")
    assert (await caught_up(bus, tmp_path / "boards" / "a")).seq == SNAPSHOT_EVERY


@pytest.mark.parametrize("what", ["damaged", "cut off", "empty", "of another log", "of the log's future"])
async def test_a_snapshot_that_does_not_fit_is_not_used(tmp_path: Path, what: str) -> None:
    bus, snapshot = await filled(SNAPSHOT_EVERY), tmp_path / "a"
    await caught_up(bus, snapshot)
    data = snapshot.read_bytes()
    match what:
        case "damaged":
            snapshot.write_bytes(data[:-9] + b"X" + data[-8:])
        case "cut off":
            snapshot.write_bytes(data[:-1])
        case "empty":
            snapshot.write_bytes(b"")
        case "of another log":
            bus = await filled(SNAPSHOT_EVERY + 1)
        case _:
            del bus._entries[-1]
    assert await caught_up(bus, snapshot) == await caught_up(bus)


async def test_a_follower_folds_what_comes_and_tells_whether_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "SNAPSHOT_EVERY", 4)
    bus, heard = await filled(3), list[tuple[int, bool]]()
    follower = Follower(bus, snapshot=tmp_path / "a")
    await follower.catch_up()
    assert not (tmp_path / "a").exists()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow, lambda e, counts: heard.append((e.seq, counts)))
            await post(bus, [requested("r", P)])
            bus.append_raw("mesh.a.run.begun.r.ann", b"{}")
            await follower.reached(5)
            tasks.start_soon(post, bus, [finished("r", P, 1.0)])
            await follower.until(lambda board: not board.unfinished)
            tasks.cancel_scope.cancel()
    assert heard == [(4, True), (5, False), (6, True)]
    assert follower.board == await caught_up(bus)
    assert (tmp_path / "a").exists()
