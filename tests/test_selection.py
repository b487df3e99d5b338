"""What the curator decides: given a log, the whole list of facts that are due."""

import datetime as dt
from pathlib import Path

import anyio
import msgspec
import pytest

from agents.critique.calibration import ANSWER_S, CRITIQUE_WITHIN_S
from agents.curation.admission import PER_AUTHOR, decide, is_blocked
from agents.curator import Curator
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.code import CodeStore
from mesh.events import (
    AgentJoined,
    AgentLeft,
    AnyEvent,
    ArenaClosed,
    CritiquePosted,
    FailureReason,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    RunRequested,
    Scored,
    WorkerJoined,
    WorkerLeft,
)
from mesh.fleet import queue_depth
from mesh.memory import MemoryBus
from mesh.spec import Direction, ObjectiveSpec, WorkerSpec
from mesh.testing import SPEC, Log, commit_hash, content_hash, git_hash, opened, requested, run_of
from mesh.wire import Post
from tests.test_runtime import said

BASE, ONE, TWO, THREE, TIE, MIDDLE, BEST, WORSE, FIRST, SECOND, NEXT = map(
    git_hash, ("base", "one", "two", "three", "tie", "middle", "best", "worse", "first", "second", "next")
)


@pytest.fixture
def log() -> Log:
    """An open arena."""
    log = Log()
    log.open()
    return log


@pytest.fixture
def ranked(log: Log) -> Log:
    """An arena whose baseline is champion with a loss of 10."""
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0)
    log.add("curator", promoted(BASE, 10.0, round_=1, met=""))
    return log


def due(log: Log, after_s: float = 0.0) -> list[AnyEvent]:
    """What is due some seconds after the last fact."""
    return decide(log.board, log.board.time + dt.timedelta(seconds=after_s))


def promoted(tree: str, mean: float, *, round_: int, met: str, seeds: tuple[int, ...] = (1,)) -> ProposalPromoted:
    return ProposalPromoted(
        proposal=tree,
        round=round_,
        met=met,
        mean=mean,
        seeds=seeds,
        text="best score so far (the metric has no noise)",
    )


def not_better(tree: str, mean: float, *, round_: int, met: str) -> ProposalRetired:
    return ProposalRetired(proposal=tree, round=round_, why="not_better", met=met, mean=mean)


def join(log: Log, name: str, slots: int, boot: str = "") -> None:
    log.add(name, WorkerJoined(boot=boot or name, worker_class="cpu", device="cpu", slots=slots))


def test_nothing_is_due_where_nothing_was_opened_or_proposed(log: Log) -> None:
    assert decide(Board(arena="a"), dt.datetime.now(dt.UTC)) == []
    assert due(log) == []


def test_nothing_is_due_in_a_closed_arena(ranked: Log) -> None:
    ranked.propose(ONE)
    ranked.propose(TWO)
    ranked.score(TWO, 1.0)
    ranked.add("operator", ArenaClosed(version=1, reason="operator"))
    assert due(ranked) == []


def test_proposals_are_admitted_in_the_order_of_the_log_the_baseline_first(log: Log) -> None:
    log.propose(BASE, how="baseline")
    for tree in (ONE, TWO, THREE):
        log.propose(tree)
    assert due(log) == [requested(BASE)]
    log.score(BASE, 10.0)
    assert due(log)[-2:] == [requested(ONE), requested(TWO)]


def test_a_run_is_asked_for_in_the_words_of_the_arena() -> None:
    spec = msgspec.structs.replace(SPEC, worker=WorkerSpec(class_="cuda-h200"))
    log = Log(spec)
    log.open()
    log.propose("0123456789abcdef" + "0" * 24)
    asked = RunRequested(
        run="0123456789abcdef-explore-1",
        lane="explore",
        proposal="0123456789abcdef" + "0" * 24,
        commit=commit_hash("0123456789abcdef" + "0" * 24),
        seed=1,
        budget_s=1,
        deadline_s=2,
        worker_class="cuda-h200",
        evaluator=content_hash("e"),
        version=1,
    )
    assert due(log) == [asked]


def test_what_is_queued_or_has_run_is_not_asked_for_again(log: Log) -> None:
    for tree in (ONE, TWO, THREE):
        log.propose(tree)
    log.request(ONE)
    assert due(log) == [requested(TWO)]
    log.request(TWO)
    assert due(log) == []


def test_the_queue_is_twice_as_deep_as_there_are_slots(log: Log) -> None:
    assert queue_depth(log.board) == 2
    join(log, "one", 3)
    assert queue_depth(log.board) == 6
    join(log, "two", 2)
    join(log, "one", 1, boot="again")  # a second life replaces the first
    assert queue_depth(log.board) == 6
    log.add("two", WorkerLeft(boot="two"))
    assert queue_depth(log.board) == 2


def test_no_more_is_admitted_than_the_queue_holds(log: Log) -> None:
    join(log, "w", 2)
    for author in ("ann", "bob", "eve"):
        for number in range(3):
            log.propose(f"{author}-{number}", author)
    assert due(log) == [requested(tree) for tree in ("ann-0", "ann-1", "ann-2", "bob-0")]


@pytest.mark.parametrize(("slots", "most"), [(4, PER_AUTHOR), (8, 8), (20, 20)])
def test_one_author_does_not_fill_the_queue(log: Log, slots: int, most: int) -> None:
    join(log, "w", slots)
    for number in range(50):
        log.propose(f"ann-{number}", "ann")
    log.propose("bob-0", "bob")
    log.request("ann-0")
    assert due(log) == [*(requested(f"ann-{n}") for n in range(1, most)), requested("bob-0")]


def test_a_proposal_waits_a_moment_for_the_word_of_a_critic(log: Log) -> None:
    log.add("critic", AgentJoined(boot="c", role="critic"))
    log.propose(ONE)
    assert due(log, CRITIQUE_WITHIN_S - 0.1) == []
    assert due(log, CRITIQUE_WITHIN_S) == [requested(ONE)]
    log.add("critic", CritiquePosted(target=ONE, verdict="warn"), after_s=0)
    assert due(log) == [requested(ONE)]


def test_a_proposal_waits_longer_for_a_critic_that_asks_a_model_and_never_longer_than_is_stated(log: Log) -> None:
    log.add("critic", AgentJoined(boot="c", role="critic", model="openai/m"))
    log.propose(ONE)
    stated = CRITIQUE_WITHIN_S + 2 * ANSWER_S
    assert due(log, stated - 0.1) == []
    assert due(log, stated) == [requested(ONE)]
    log.add("critic", CritiquePosted(target=ONE, verdict="endorse"), after_s=0)
    assert due(log) == [requested(ONE)]


def test_nobody_waits_for_a_critic_that_has_left(log: Log) -> None:
    log.add("critic", AgentJoined(boot="c", role="critic"))
    log.add("critic", AgentLeft(boot="c"))
    log.propose(ONE)
    assert due(log) == [requested(ONE)]


def test_a_blocked_proposal_is_retired_with_the_reason_and_never_run(log: Log) -> None:
    log.propose(ONE)
    log.add("critic", CritiquePosted(target=ONE, verdict="block", text="does not parse"))
    log.add("bob", CritiquePosted(target=ONE, verdict="endorse", text="looks fine"))
    assert is_blocked(log.board, log.board.proposals[ONE])
    blocked = ProposalRetired(proposal=ONE, round=0, why="blocked", text="does not parse")
    assert due(log) == [blocked]
    log.add("curator", blocked)
    assert due(log) == []


def test_a_block_that_comes_after_the_run_was_asked_for_is_too_late(log: Log) -> None:
    log.propose(ONE)
    log.request(ONE)
    log.add("critic", CritiquePosted(target=ONE, verdict="block", text="no"))
    assert due(log) == []


def test_the_first_score_makes_a_champion(log: Log) -> None:
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0)
    assert due(log) == [promoted(BASE, 10.0, round_=1, met="")]


@pytest.mark.parametrize(("direction", "best", "middle"), [("minimize", 1.0, 2.0), ("maximize", 20.0, 15.0)])
def test_the_best_is_promoted_and_the_rest_retired(direction: Direction, best: float, middle: float) -> None:
    log = Log(msgspec.structs.replace(SPEC, objective=ObjectiveSpec(metric="m", direction=direction, noise="none")))
    log.open()
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0)
    log.add("curator", promoted(BASE, 10.0, round_=1, met=""))
    worse = 10.0 - (best - 10.0)
    for tree, value in ((MIDDLE, middle), (BEST, best), (WORSE, worse)):
        log.propose(tree)
        log.score(tree, value)
    verdicts: list[AnyEvent] = [
        promoted(BEST, best, round_=2, met=BASE),
        not_better(MIDDLE, middle, round_=1, met=BEST),
        not_better(WORSE, worse, round_=1, met=BEST),
    ]
    assert due(log) == verdicts
    for event in verdicts:
        log.add("curator", event)
    assert due(log) == []
    assert {tree: p.verdict for tree, p in log.board.proposals.items()} == {
        BASE: "past_champion",
        MIDDLE: "retired",
        BEST: "champion",
        WORSE: "retired",
    }


def test_a_tie_does_not_dethrone_the_champion(ranked: Log) -> None:
    ranked.propose(TIE)
    ranked.score(TIE, 10.0)
    assert due(ranked) == [not_better(TIE, 10.0, round_=1, met=BASE)]


def test_of_a_tie_the_first_in_the_log_is_promoted(ranked: Log) -> None:
    for tree in (FIRST, SECOND):
        ranked.propose(tree)
        ranked.score(tree, 9.0)
    assert due(ranked) == [
        promoted(FIRST, 9.0, round_=2, met=BASE),
        not_better(SECOND, 9.0, round_=1, met=FIRST),
    ]


def test_the_champion_is_not_judged_again_when_it_is_run_again(ranked: Log) -> None:
    ranked.finish(ranked.request(BASE, seed=2, lane="control"), 1.0)
    assert due(ranked) == []


def test_a_mean_is_taken_over_all_scored_runs_and_a_failed_one_does_not_spoil_it(ranked: Log) -> None:
    ranked.propose(ONE)
    ranked.score(ONE, 8.0, "crash", 9.0)
    assert due(ranked) == [promoted(ONE, 8.5, round_=2, met=BASE, seeds=(1, 2, 3))]


def test_no_verdict_is_given_while_a_run_is_out(ranked: Log) -> None:
    ranked.propose(ONE)
    first, second = ranked.request(ONE, seed=1), ranked.request(ONE, seed=2)
    ranked.finish(first, 1.0)
    assert due(ranked) == []
    ranked.finish(second, 2.0)
    assert due(ranked) == [promoted(ONE, 1.5, round_=2, met=BASE, seeds=(1, 2))]


@pytest.mark.parametrize("reason", ["crash", "timeout", "bad_score", "killed", "lost"])
def test_a_proposal_without_a_score_is_retired_and_not_tried_again(ranked: Log, reason: FailureReason) -> None:
    ranked.propose(ONE)
    ranked.score(ONE, reason)
    failed = ProposalRetired(proposal=ONE, round=1, why="killed" if reason == "killed" else "failed", met=BASE)
    assert due(ranked) == [failed]
    ranked.add("curator", failed)
    assert due(ranked) == []


def test_a_verdict_on_a_champion_that_was_replaced_meanwhile_is_given_again(ranked: Log) -> None:
    ranked.propose(ONE)
    ranked.propose(TWO)
    ranked.score(ONE, 5.0)
    ranked.score(TWO, 4.0)
    ranked.add("slow", promoted(ONE, 5.0, round_=2, met=BASE))
    ranked.add("quick", promoted(TWO, 4.0, round_=2, met=BASE))
    assert ranked.board.champion == ONE
    assert due(ranked) == [promoted(TWO, 4.0, round_=3, met=ONE)]


async def test_two_curators_decide_the_same_and_nothing_twice(ranked: Log, tmp_path: Path) -> None:
    for number in range(5):
        ranked.propose(f"tree-{number}", f"author-{number}")
    ranked.score("tree-0", 3.0)
    bus = MemoryBus("a")
    code = CodeStore(tmp_path / "code.git", bus)
    one, two = (Curator(Context(name, 0, CodeReader(code))) for name in ("one", "two"))
    post = ranked.add("people", CritiquePosted(target=git_hash("tree-4"), verdict="block", text="no"))
    decided = await one.handle(post, ranked.board)
    assert decided == await two.tick(ranked.board.time, ranked.board)
    assert decided == [
        promoted(git_hash("tree-0"), 3.0, round_=2, met=BASE),
        ProposalRetired(proposal=git_hash("tree-4"), round=1, why="blocked", met=BASE, text="no"),
        requested("tree-1"),
        requested("tree-2"),
    ]
    await bus.post_all([Post.new("one", event) for event in decided])
    await bus.post_all([Post.new("two", event) for event in decided])
    assert await bus.head() == len(decided)


async def test_curators_in_the_loop_ask_for_each_run_once(tmp_path: Path) -> None:
    bus = MemoryBus("a")
    code = CodeStore(tmp_path / "code.git", bus)
    log = Log()
    base = log.propose(BASE, how="baseline")
    await bus.post_all([Post.new("operator", opened()), base])
    seats = [Seat(name, Curator(Context(name, 0, CodeReader(code)))) for name in ("one", "two")]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_agents, bus, seats, code)
            await said(bus, RunRequested, 1)
            scored = RunFinished(
                run=run_of(BASE), proposal=BASE, outcome=Scored(value=1.0), worker="w", worker_class="cpu"
            )
            await bus.post(Post.new("w", scored))
            await bus.post(log.propose(NEXT))
            asked = await said(bus, RunRequested, 2)
            await said(bus, ProposalPosted, 2)
            tasks.cancel_scope.cancel()
    assert [post.event for post in asked] == [requested(BASE), requested(NEXT)]
