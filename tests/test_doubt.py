"""What a critic makes of a score, and what becomes of a critic whose forecasts do not come true."""

import msgspec
import pytest

from agents.doubt import doubt
from agents.selection import decide, is_blocked
from agents.standing import brier
from mesh.events import CritiquePosted, ProposalPromoted, ProposalRetired, RunRequested
from mesh.spec import ObjectiveSpec
from tests.given import SPEC, Log


@pytest.fixture
def log() -> Log:
    """An arena with noise of 1 between seeds, a champion at 10, and claims of 8 to 13."""
    log = Log(msgspec.structs.replace(SPEC, objective=ObjectiveSpec(metric="loss", direction="minimize")))
    log.open()
    log.propose("base", how="baseline")
    log.score("base", 10.0, 9.0, 11.0)
    log.finish(log.request("base", seed=1001, lane="control"), 10.0)
    log.add("curator", ProposalPromoted(proposal="base", round=1, mean=10.0))
    for number in range(6):
        log.propose(f"p{number}")
        log.score(f"p{number}", 8.0 + number)
    return log


def test_a_score_that_luck_explains_is_doubted_with_what_is_expected(log: Log) -> None:
    word = doubt(log.board, "p0-explore-1")
    assert word is not None
    assert (word.target, word.verdict, word.rule) == ("p0-explore-1", "endorse", "beyond_noise")
    assert word.predicted is not None
    assert 8.0 < word.predicted < 9.0
    assert word.confidence is not None
    assert 0.8 < word.confidence < 0.97
    worse = doubt(log.board, "p5-explore-1")
    assert worse is not None
    assert (worse.verdict, worse.rule) == ("warn", "within_noise")


def test_nothing_is_said_of_failures_proof_and_the_unfinished(log: Log) -> None:
    log.propose("new")
    failed, proof = log.request("new"), log.request("new", seed=1001, lane="confirm")
    assert doubt(log.board, failed) is None
    log.finish(failed, "crash")
    log.finish(proof, 1.0)
    assert [doubt(log.board, run) for run in (failed, proof, "nobody")] == [None, None, None]


def judged(log: Log, critic: str, *, right: int, wrong: int) -> None:
    """Let a critic be right, and wrong, so many times about proposals that were given up."""
    for number in range(right + wrong):
        tree = f"{critic}-{number}"
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
    log.propose("idea")
    log.add(critic, CritiquePosted(target="idea", verdict="block", rule="hunch", text="no", confidence=confidence))
    assert is_blocked(log.board, log.board.proposals["idea"]) is held
    events = decide(log.board, log.board.time)
    said = [e for e in events if isinstance(e, CritiquePosted)]
    runs = [e.proposal for e in events if isinstance(e, RunRequested) and e.lane == "explore"]
    if held:
        assert (said, runs) == ([], [])
    else:
        text = "run though blocked: bob has a Brier score of 0.57, worse than a coin's 0.25"
        assert said == [CritiquePosted(target="idea", verdict="endorse", rule="overruled", text=text)]
        assert runs == ["idea"]
