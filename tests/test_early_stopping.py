"""Losers are ended early by their curves, and never all of them."""

import datetime as dt
from pathlib import Path

import msgspec

from agents.curation.early_stopping import FEWEST_AT_RUNG, at_rung, is_spared, judge_curve, rungs_between
from agents.curator import Curator
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context, Hearing
from mesh.code import CodeStore
from mesh.events import CritiquePosted, CurvePoint, RunFinished, RunKilled, RunStarted, Scored
from mesh.memory import MemoryBus
from mesh.spec import SelectionSpec
from mesh.testing import SPEC, Log

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
        tree = f"old-{number}"
        log.propose(tree)
        run = log.request(tree)
        finish = RunFinished(
            run=run, proposal=tree, outcome=Scored(value=1.0), worker="w", worker_class="cpu", curve=curve(9, 9, number)
        )
        log.add("w", finish)
    log.propose("new")
    log.add("w", RunStarted(run=log.request("new"), attempt=1, worker="w"))
    return log


def word(log: Log, *values: float) -> RunKilled | CritiquePosted | None:
    return judge_curve(log.board, "new-explore-1", curve(*values), 0.25)


def test_who_is_behind_at_a_rung_is_killed_with_the_evidence() -> None:
    killed = word(given(), 9, 9, 2.5)
    text = "at 25% of its budget its curve was at 2.5, worse than 2 of 6 other runs; only the best 2 continue"
    assert killed == RunKilled(run="new-explore-1", by="rule", text=text, curve=curve(9, 9, 2.5))


def test_who_is_among_the_best_third_goes_on() -> None:
    assert word(given(), 9, 9, 1.5) is None


def test_nobody_is_killed_before_enough_have_reached_the_rung_or_it_has_itself() -> None:
    assert word(given(rivals=FEWEST_AT_RUNG - 1), 9, 9, 99) is None
    assert word(given(), 99, 99) is None


def test_proof_is_never_killed() -> None:
    log = given()
    run = log.request("new", lane="confirm", seed=1001)
    assert judge_curve(log.board, run, curve(9, 9, 99), 0.25) is None


def test_a_spared_run_is_only_told_what_would_have_come_to_it() -> None:
    said = word(given(spared=1.0), 9, 9, 5.5)
    assert isinstance(said, CritiquePosted)
    assert (said.target, said.rule, said.verdict) == ("new-explore-1", "halving", "warn")


def test_about_the_share_that_was_said_is_spared() -> None:
    rule = msgspec.structs.replace(RULE, never_killed=0.08)
    assert 60 <= sum(is_spared(f"run-{number}", rule) for number in range(1000)) <= 100


def test_curves_that_grow_are_compared_the_other_way_round_where_greater_is_better() -> None:
    log = given()
    log.spec = msgspec.structs.replace(HALVED, selection=msgspec.structs.replace(RULE, curve="maximize"))
    log.board.opened = msgspec.structs.replace(log.board.opened, spec=log.spec)  # type: ignore[type-var]
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
    words = [curator.heard("curve.new-explore-1", line, log.board) for line in told]
    assert [len(said) for said in words] == [0, 0, 1, 0]
    assert curator.heard("curve.new-explore-1", b"garbage", log.board) == []
    assert curator.heard("curve.nobody", told[0], log.board) == []
    log.board.opened = msgspec.structs.replace(log.board.opened, spec=SPEC)  # type: ignore[type-var]
    assert curator.heard("curve.new-explore-1", told[0], log.board) == []
    assert await curator.tick(log.board.time + dt.timedelta(seconds=1), log.board) is not None
