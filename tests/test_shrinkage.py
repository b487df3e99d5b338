"""What a critic makes of a score, and what becomes of a critic whose forecasts do not come true."""

import re
from pathlib import Path

import msgspec
import pytest

from agents.critic import MISSED, Critic
from agents.critique.calibration import LOOK_BACK, MOST, brier
from agents.critique.shrinkage import judge_score
from agents.curation.admission import decide, is_blocked
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context
from mesh.code import CodeStore
from mesh.events import CritiquePosted, ProposalPromoted, ProposalRetired, RunFinished, RunRequested
from mesh.memory import MemoryBus
from mesh.spec import ObjectiveSpec
from mesh.testing import SPEC, Log, git_hash, run_of
from mesh.text import chance

BASE, IDEA = map(git_hash, ("base", "idea"))


@pytest.fixture
def log() -> Log:
    """An arena with noise of 1 between seeds, a champion at 10, and claims of 8 to 13."""
    log = Log(msgspec.structs.replace(SPEC, objective=ObjectiveSpec(metric="loss", direction="minimize")))
    log.open()
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0, 9.0, 11.0)
    log.finish(log.request(BASE, seed=1001, lane="control"), 10.0)
    log.add("curator", ProposalPromoted(proposal=BASE, round=1, mean=10.0))
    for number in range(6):
        log.propose(f"p{number}")
        log.score(f"p{number}", 8.0 + number)
    return log


def test_a_score_that_luck_explains_is_doubted_with_what_is_expected(log: Log) -> None:
    word = judge_score(log.board, run_of("p0"))
    assert word is not None
    assert (word.target, word.verdict, word.rule) == (run_of("p0"), "endorse", "beyond_noise")
    assert word.predicted is not None
    assert 8.0 < word.predicted < 9.0
    assert word.confidence is not None
    assert 0.8 < word.confidence < 0.97
    worse = judge_score(log.board, run_of("p5"))
    assert worse is not None
    assert (worse.verdict, worse.rule) == ("warn", "within_noise")
    assert re.search(r"worse than the champion \(chance to be better (<1|\d+) %\); standard deviation", worse.text)
    assert [chance(p) for p in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        f"chance to be better {percent} %" for percent in ("0", "<1", "50", ">99", "100")
    ]


def test_nothing_is_said_of_failures_proof_and_the_unfinished(log: Log) -> None:
    log.propose("new")
    failed, proof = log.request("new"), log.request("new", seed=1001, lane="confirm")
    assert judge_score(log.board, failed) is None
    log.finish(failed, "crash")
    log.finish(proof, 1.0)
    assert [judge_score(log.board, run) for run in (failed, proof, "nobody")] == [None, None, None]


async def test_a_critic_that_comes_back_makes_up_for_scores_that_still_matter(log: Log, tmp_path: Path) -> None:
    critic = Critic(Context("cid", 0, CodeReader(CodeStore(tmp_path / "code.git", MemoryBus("a")))))
    for tree in (BASE, *(git_hash(f"p{number}") for number in range(6))):
        log.add("cid", CritiquePosted(target=tree, verdict="endorse"))
    # given a score that it has judged, one that is decided, and one that another critic has judged
    [first] = await critic.handle(log.add("w", finish_of(log, "p1")), log.board)
    log.add("cid", first)
    log.add("curator", ProposalRetired(proposal=git_hash("p2"), round=1, why="not_better"))
    log.add("dan", CritiquePosted(target=run_of("p3"), verdict="warn"))
    log.request("p4", seed=2)
    # when it joins again
    said = await critic.joined(log.board)
    # then it judges the others, in the order of the log, and nothing twice
    assert said == [judge_score(log.board, run_of(f"p{number}")) for number in (0, 3, 4, 5)]
    for word in said:
        log.add("cid", word)
    assert await critic.joined(log.board) == []
    assert await critic.handle(log.add("w", finish_of(log, "p5")), log.board) == []


async def test_of_many_missed_scores_the_latest_are_judged(log: Log, tmp_path: Path) -> None:
    critic = Critic(Context("cid", 0, CodeReader(CodeStore(tmp_path / "code.git", MemoryBus("a")))))
    for number in range(MISSED + 3):
        log.propose(f"new-{number}")
        log.score(f"new-{number}", 9.0)
    for tree in log.board.proposals:
        log.add("cid", CritiquePosted(target=tree, verdict="endorse"))
    said = await critic.joined(log.board)
    targets = [word.target for word in said if isinstance(word, CritiquePosted)]
    assert targets == [run_of(f"new-{number}") for number in range(3, MISSED + 3)]


def finish_of(log: Log, tree: str) -> RunFinished:
    """The finish of a run that the log holds already."""
    finished = log.board.runs[run_of(tree)].finished
    assert finished
    return finished


def judged(log: Log, critic: str, *, right: int, wrong: int) -> None:
    """Let a critic be right, and wrong, so many times about proposals that were given up."""
    for number in range(right + wrong):
        tree = git_hash(f"{critic}-{number}")
        log.propose(tree)
        verdict = "warn" if number < right else "endorse"
        log.add(critic, CritiquePosted(target=tree, verdict=verdict, confidence=0.9))  # type: ignore[arg-type]
        log.score(tree, 12.0)
        log.add("curator", ProposalRetired(proposal=tree, round=1, why="not_better"))


def test_the_record_of_a_critic_is_its_brier_score(log: Log) -> None:
    judged(log, "ann", right=8, wrong=0)
    judged(log, "bob", right=4, wrong=4)
    judged(log, "new", right=3, wrong=0)
    assert brier(log.board, "ann") == pytest.approx(0.01)
    assert brier(log.board, "bob") == pytest.approx((4 * 0.01 + 4 * 0.81) / 8)
    assert brier(log.board, "new") is None


@pytest.mark.parametrize(
    ("critic", "confidence", "held"), [("ann", 0.8, True), ("bob", 0.8, False), ("bob", 1.0, True), ("new", 0.8, True)]
)
def test_an_opinion_of_a_critic_that_is_worse_than_a_coin_holds_nobody_back(
    log: Log, critic: str, confidence: float, held: bool
) -> None:
    judged(log, "ann", right=8, wrong=0)
    judged(log, "bob", right=3, wrong=7)
    log.propose(IDEA)
    log.add(critic, CritiquePosted(target=IDEA, verdict="block", rule="hunch", text="no", confidence=confidence))
    assert is_blocked(log.board, log.board.proposals[IDEA]) is held
    events = decide(log.board, log.board.time)
    said = [e for e in events if isinstance(e, CritiquePosted)]
    runs = [e.proposal for e in events if isinstance(e, RunRequested) and e.lane == "explore"]
    if held:
        assert (said, runs) == ([], [])
    else:
        text = "runs despite a block: the Brier score of bob is 0.57, worse than a coin flip (0.25)"
        assert said == [CritiquePosted(target=IDEA, verdict="endorse", rule="overruled", text=text)]
        assert runs == [IDEA]


def test_a_critic_that_blocks_nearly_everything_by_opinion_cannot_stop_the_search(log: Log) -> None:
    held = []
    for number in range(2 * LOOK_BACK):
        tree = git_hash(f"idea-{number}")
        log.propose(tree)
        text = "this will never do"
        log.add("cid", CritiquePosted(target=tree, verdict="block", rule="model", text=text, confidence=0.9))
        held.append(is_blocked(log.board, log.board.proposals[tree]))
        if held[-1]:
            log.add("curator", ProposalRetired(proposal=tree, round=1, why="blocked"))
    assert held == [True] * MOST + [False] * (2 * LOOK_BACK - MOST)
    assert brier(log.board, "cid") is None
    [said, *_] = [e for e in decide(log.board, log.board.time) if isinstance(e, CritiquePosted)]
    text = (
        f"runs despite a block: cid blocked {MOST + 1} of its last {LOOK_BACK} proposals by opinion, more than {MOST}"
    )
    assert said == CritiquePosted(target=git_hash(f"idea-{MOST}"), verdict="endorse", rule="overruled", text=text)


@pytest.mark.parametrize(("rule", "confidence"), [("dead_end", 0.9), ("syntax", 1.0)])
def test_rules_block_as_often_as_they_must(log: Log, rule: str, confidence: float) -> None:
    for number in range(2 * LOOK_BACK):
        tree = git_hash(f"idea-{number}")
        log.propose(tree)
        log.add("cid", CritiquePosted(target=tree, verdict="block", rule=rule, confidence=confidence))
        assert is_blocked(log.board, log.board.proposals[tree])
        log.add("curator", ProposalRetired(proposal=tree, round=1, why="blocked"))


def test_a_critic_that_blocks_now_and_then_is_heeded(log: Log) -> None:
    for number in range(3 * LOOK_BACK):
        tree = git_hash(f"idea-{number}")
        log.propose(tree)
        verdict = "block" if number % 3 == 0 else "warn"
        log.add("cid", CritiquePosted(target=tree, verdict=verdict, rule="model", confidence=0.7))  # type: ignore[arg-type]
        assert is_blocked(log.board, log.board.proposals[tree]) is (number % 3 == 0)
