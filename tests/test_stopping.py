"""An arena ends by itself: plateau, trials, hours, dollars."""

import datetime as dt

import msgspec
import pytest

from agents.curation.admission import decide
from mesh.events import AnyEvent, ArenaClosed, Cost, Origin, ProposalPosted, ProposalPromoted
from mesh.spec import StopSpec
from mesh.testing import SPEC, Log, git_hash

BASE = git_hash("base")


def given(**rule: float) -> Log:
    """An arena with a champion and three later scores that were worse."""
    log = Log(msgspec.structs.replace(SPEC, stop=msgspec.convert(rule, StopSpec)))
    log.open()
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0)
    log.add("curator", ProposalPromoted(proposal=BASE, round=1, mean=10.0))
    for number in range(3):
        log.propose(f"p{number}")
        log.score(f"p{number}", 11.0)
    return log


def due(log: Log, hours: float = 0.0) -> list[AnyEvent]:
    return [e for e in decide(log.board, log.board.time + dt.timedelta(hours=hours)) if isinstance(e, ArenaClosed)]


@pytest.mark.parametrize(
    ("rule", "closed"),
    [
        ({"plateau": 3}, ArenaClosed(version=1, reason="plateau", text="no new champion in the last 3 explore runs")),
        ({"plateau": 4}, None),
        ({"trials": 4}, ArenaClosed(version=1, reason="trials", text="4 runs have finished")),
        ({"trials": 5}, None),
        ({"usd": 0.5}, None),
        ({}, None),
    ],
)
def test_an_arena_closes_when_its_rule_says_so(rule: dict[str, float], closed: ArenaClosed | None) -> None:
    assert due(given(**rule)) == ([closed] if closed else [])


def test_an_arena_closes_after_its_hours() -> None:
    log = given(hours=1)
    assert due(log, hours=0.9) == []
    [closed] = due(log, hours=1.0)
    assert isinstance(closed, ArenaClosed)
    assert closed.reason == "time"


def test_an_arena_closes_when_its_money_is_spent() -> None:
    log = given(usd=0.5)
    thought = ProposalPosted(
        tree=git_hash("t"), commit=git_hash("c"), title="t", origin=Origin(how="model"), cost=Cost(usd=0.6)
    )
    log.add("ann", thought)
    [closed] = due(log)
    assert closed == ArenaClosed(version=1, reason="budget", text="spent $0.60 of $0.5")
