"""Losers are ended early by their curves, and never all of them."""

import datetime as dt
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agents.curation.early_stopping import (
    AUTHORS,
    FEWEST_AT_RUNG,
    Rival,
    believed,
    is_spared,
    judge_curve,
    place_among_rivals,
    rungs_between,
)
from agents.curator import Curator
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context, Hearing
from mesh.board import Run
from mesh.code import CodeStore
from mesh.events import (
    CritiquePosted,
    CurvePoint,
    Failed,
    FailureReason,
    RunFinished,
    RunKilled,
    RunStarted,
    Scored,
    WorkerJoined,
)
from mesh.memory import MemoryBus
from mesh.records import at_rung
from mesh.spec import SelectionSpec
from mesh.testing import SPEC, Log, git_hash, run_of

BASE, NEW = map(git_hash, ("base", "new"))

RULE = SelectionSpec(halving=True, never_killed=0.0)
HALVED = msgspec.structs.replace(SPEC, selection=RULE)


def curve(*values: float) -> tuple[CurvePoint, ...]:
    """Values at 10 %, 20 %, … of the budget."""
    return tuple(CurvePoint(n, value, n / 10, n / 10) for n, value in enumerate(values, 1))


def given(spared: float = 0.0, rivals: int = FEWEST_AT_RUNG) -> Log:
    """An arena in which runs have reached the rung at 25 % with the values 1, 2, 3, …, and `new` runs."""
    log = Log(msgspec.structs.replace(SPEC, selection=msgspec.structs.replace(RULE, never_killed=spared)))
    log.open()
    for number in range(1, rivals + 1):
        finished(log, f"old-{number}", number, float(number))
    log.propose(NEW)
    log.add("w", RunStarted(run=log.request(NEW), attempt=1, worker="w"))
    return log


def finished(log: Log, tree: str, value: float, score: float | FailureReason, author: str = "ann") -> None:
    """A proposal whose curve was at `value` at the rung, and how its run ended."""
    log.propose(tree, author)
    outcome = Failed(reason=score, message="") if isinstance(score, str) else Scored(value=score)
    run, seen = log.request(tree), curve(9, 9, value)
    log.add(
        "w", RunFinished(run=run, proposal=git_hash(tree), outcome=outcome, worker="w", worker_class="cpu", curve=seen)
    )


def word(log: Log, *values: float) -> RunKilled | CritiquePosted | None:
    return judge_curve(log.board, run_of(NEW), curve(*values), 0.25)


def test_who_is_behind_at_a_rung_is_killed_with_the_evidence() -> None:
    killed = word(given(), 9, 9, 2.5)
    text = "at 25% of its budget its curve was at 2.5, worse than 2 of 6 other runs; only the best 2 continue"
    assert killed == RunKilled(run=run_of(NEW), by="rule", text=text, curve=curve(9, 9, 2.5))


def test_who_is_among_the_best_third_goes_on() -> None:
    assert word(given(), 9, 9, 1.5) is None


def test_nobody_is_killed_before_enough_have_reached_the_rung_or_it_has_itself() -> None:
    assert word(given(rivals=FEWEST_AT_RUNG - 1), 9, 9, 99) is None
    assert word(given(), 99, 99) is None


def test_proof_is_never_killed() -> None:
    log = given()
    run = log.request(NEW, lane="confirm", seed=1001)
    assert judge_curve(log.board, run, curve(9, 9, 99), 0.25) is None


def test_a_spared_run_is_only_told_what_would_have_come_to_it() -> None:
    said = word(given(spared=1.0), 9, 9, 5.5)
    assert isinstance(said, CritiquePosted)
    assert (said.target, said.rule, said.verdict) == (run_of(NEW), "halving", "warn")


def test_about_the_share_that_was_said_is_spared() -> None:
    rule = msgspec.structs.replace(RULE, never_killed=0.08)
    assert 60 <= sum(is_spared(f"run-{number}", rule) for number in range(1000)) <= 100


def test_curves_that_grow_are_compared_the_other_way_round_where_greater_is_better() -> None:
    log = given()
    log.spec = msgspec.structs.replace(HALVED, selection=msgspec.structs.replace(RULE, curve="maximize"))
    log.board.opened = msgspec.structs.replace(log.board.opened, spec=log.spec)  # type: ignore[type-var]
    assert word(log, 9, 9, 1.5) is None  # among scores to minimise, curves that grow have predicted the wrong order
    for number in range(1, FEWEST_AT_RUNG + 1):
        finished(log, f"more-{number}", number, float(-number), "bob")
    assert word(log, 9, 9, 5.5) is None
    assert isinstance(word(log, 9, 9, 1.5), RunKilled)


def test_rungs_are_crossed_once() -> None:
    assert [rungs_between(RULE, a, b) for a, b in ((0, 0.2), (0.2, 0.25), (0.25, 0.4), (0.1, 1.0))] == [
        [],
        [0.25],
        [],
        [0.25, 0.5],
    ]
    assert at_rung(curve(3, 2, 1), 0.15) == 2


async def test_a_curator_judges_what_it_hears_once_per_rung(tmp_path: Path) -> None:
    log = given()
    curator = Curator(Context("curator", 0, CodeReader(CodeStore(tmp_path / "code.git", MemoryBus("a")))))
    assert isinstance(curator, Hearing)
    told = [msgspec.json.encode(point) for point in curve(9, 9, 9, 9)]
    words = [curator.heard(f"curve.{run_of(NEW)}", line, log.board) for line in told]
    assert [len(said) for said in words] == [0, 0, 1, 0]
    assert curator.heard(f"curve.{run_of(NEW)}", b"garbage", log.board) == []
    assert curator.heard("curve.nobody", told[0], log.board) == []
    log.board.opened = msgspec.structs.replace(log.board.opened, spec=SPEC)  # type: ignore[type-var]
    assert curator.heard(f"curve.{run_of(NEW)}", told[0], log.board) == []
    assert await curator.tick(log.board.time + dt.timedelta(seconds=1), log.board) is not None


def test_a_new_author_has_no_vote_before_its_curves_have_predicted_its_scores() -> None:
    log = given(rivals=3)
    assert word(log, 9, 9, 99) is None
    for number in range(4, 7):
        finished(log, f"old-{number}", number, float(number))
    assert isinstance(word(log, 9, 9, 99), RunKilled)


SUPERB: dict[str, Callable[[int, float], float]] = {
    "always the same": lambda number, score: 0.0,
    "as chance has it": lambda number, score: (0.3, 0.7, 0.1, 0.9, 0.5, 0.2, 0.8, 0.4)[number % 8],
    "its own, and 100 less": lambda number, score: score - 100,
}


@pytest.mark.parametrize("forgery", SUPERB)
@pytest.mark.parametrize("runs", [1, 2, 4, 8, 40])
def test_who_reports_superb_curves_and_gets_bad_scores_kills_nobody(forgery: str, runs: int) -> None:
    log = given()
    finished(log, BASE, 3.5, 3.5, "operator")
    for number in range(runs):
        score = 50.0 + (7 * number) % 5
        finished(log, f"forged-{number}", SUPERB[forgery](number, score), score, "mallory")
    assert word(log, 9, 9, 1.5) is None
    honest = word(log, 9, 9, 2.5)
    assert isinstance(honest, RunKilled)
    assert "worse than 2 of 7 other runs" in honest.text


def test_who_is_better_than_the_artifact_but_not_as_good_as_its_curve_says_kills_nobody_either() -> None:
    log = given(rivals=12)
    finished(log, BASE, 20.0, 20.0, "operator")
    for number in range(8):
        finished(log, f"forged-{number}", number - 50.0, 10.0 + number / 10, "mallory")
    assert word(log, 9, 9, 3.5) is None


def test_curves_of_runs_that_failed_do_not_count_and_those_of_killed_ones_do() -> None:
    for reason, kills in (("crash", False), ("over_budget", False), ("killed", True)):
        log = given()
        for number in range(4):
            finished(log, f"ended-{number}", 0.5, reason)  # type: ignore[arg-type]
        assert isinstance(word(log, 9, 9, 1.5), RunKilled) is kills, reason


def test_honest_authors_keep_their_votes_beside_a_forger_and_with_noise() -> None:
    rng = random.Random(1)
    found = [Rival("", 1.0 + rng.gauss(0, 0.1), 1.0) for _ in range(3)]
    for number in range(60):
        quality = rng.gauss(1, 0.3)
        author = ("ann", "bob", "carl")[number % 3]
        found.append(Rival(author, quality + rng.gauss(0, 0.2), quality + rng.gauss(0, 0.05)))
        found.append(Rival("mallory", rng.random() / 100, 1.5 + rng.random()))
    assert believed(found, "minimize", "minimize") == {"", "ann", "bob", "carl"}


def test_the_work_for_a_decision_is_bounded() -> None:
    found = [Rival(f"a{number % 900}", float(number), float(number)) for number in range(9_000)]
    began = time.process_time()
    assert len(believed(found, "minimize", "minimize")) <= AUTHORS + 1
    assert time.process_time() - began < 2


def plain_place(log: Log, run: Run, value: float) -> tuple[int, int]:
    """Return how many runs were better at the rung, and how many count, by a look at all runs."""
    board, found = log.board, list[Rival]()
    worker = board.workers.get(run.worker)
    own_class = worker.joined.worker_class if worker and isinstance(worker.joined, WorkerJoined) else ""
    for other in board.runs.values():
        known, done = board.proposals.get(other.requested.proposal), other.finished
        at = dict(other.rungs).get(0.25)
        if done is None or at is None or other.requested.lane != "explore" or known is None or known.seq > other.seq:
            continue
        is_killed = isinstance(done.outcome, Failed) and done.outcome.reason == "killed"
        is_alike = other.requested.evaluator == run.requested.evaluator and own_class in ("", done.worker_class)
        if is_alike and (is_killed or other.value is not None):
            is_base = board.opened is not None and other.requested.proposal == board.opened.base_tree
            found.append(Rival("" if is_base else known.author, at, other.value))
    voters = believed(found, "minimize", "minimize")
    values = [rival.value for rival in found if rival.author in voters]
    return sum(each < value for each in values), len(values)


@pytest.mark.parametrize("seed", range(25))
def test_the_place_among_rivals_that_is_kept_up_is_that_among_all_runs_after_every_fact(seed: int) -> None:
    dice, log = random.Random(seed), Log(HALVED)
    log.open()
    for name in ("cpu", "gpu"):
        log.add(name, WorkerJoined(boot=name, worker_class=name, device=name, slots=1))
    log.propose(BASE, "operator")
    waiting, most = [log.request(BASE)], 0
    for number in range(200):
        draw = dice.random()
        if draw < 0.45:
            log.propose(f"new-{number}", dice.choice(("ann", "bob", "eve")))
            waiting.append(log.request(f"new-{number}", lane=dice.choice(("explore", "explore", "confirm"))))
            if dice.random() < 0.8:
                log.add("w", RunStarted(run=waiting[-1], attempt=1, worker=dice.choice(("cpu", "gpu", "gone"))))
        elif draw < 0.97 and waiting:
            name = waiting.pop(dice.randrange(len(waiting)))
            run, score = log.board.runs[name], round(dice.gauss(), 1)
            author = log.board.proposals[run.requested.proposal].author
            seen = curve(9, 9, -99.0 if author == "eve" else round(score + dice.gauss(0, 0.2), 1))
            ends = (Scored(value=score), Scored(value=score), Failed(reason="killed", message=""))
            ended = RunFinished(
                run=name,
                proposal=run.requested.proposal,
                outcome=dice.choice((*ends, Failed(reason="crash", message=""))),
                worker="w",
                worker_class=dice.choice(("cpu", "gpu")),
                curve=seen if dice.random() < 0.9 else (),
            )
            log.add("w", ended)
        elif draw > 0.985:
            log.open()
        for name in waiting[:3]:
            run, value = log.board.runs[name], round(dice.gauss(), 1)
            expected = plain_place(log, run, value)
            assert place_among_rivals(log.board, run, 0.25, value) == expected
            most = max(most, expected[1])
    assert most > 5
