"""Fleets with workers that lie, over random histories: who is found by audits, and that no honest worker is."""

import random
from typing import Literal

import pytest

from agents.curation.audits import due_audits, in_quarantine
from mesh import events as e
from mesh.hand_outs import is_quarantined
from mesh.testing import Log, git_hash
from tests.support.history import proposal, request
from tests.test_audits import OPENED, joined, ran

Way = Literal["search", "everywhere", "accuse", "accuse and vouch", "vouch"]
WAYS: tuple[Way, ...] = ("search", "everywhere", "accuse", "accuse and vouch", "vouch")
"""How liars lie: about scores of search, about all, about those that they check; or they vouch for one another."""


class Fleet:
    """Workers that execute what is asked for, each of an owner of its own; who has a name with `l` lies."""

    def __init__(self, seed: int, honest: int, liars: int, way: Way) -> None:
        self.rng, self.way, self.log, self.audits = random.Random(seed), way, Log(), 0
        self.names = [f"h{number}" for number in range(honest)] + [f"l{number}" for number in range(liars)]
        self.log.add("op", OPENED)
        for name in self.names:
            self.log.add(*joined(name))

    def run(self, runs: int) -> list[str]:
        """Execute runs of search and what is due of audits; return who is in quarantine."""
        for number in range(runs):
            if number % 8 == 0:
                tree = git_hash(f"{self.way} {number}")
                self.log.add("ann", proposal(tree))
            for asked in (request(f"r{number}", tree), *due_audits(self.log.board)):
                self._execute(asked)
            while due := due_audits(self.log.board):
                for asked in due:
                    self._execute(asked)
        return sorted(in_quarantine(self.log.board))

    def _execute(self, asked: e.RunRequested) -> None:
        """Execute a run; a liar begins an audit that it may begin before anybody else does."""
        found = self.log.board.doubts.contradictions
        may = [name for name in self.names if name not in asked.not_by and not is_quarantined(found, name)]
        liars = [name for name in may if name.startswith("l")]
        by = self.rng.choice(liars if liars and asked.audit else may)
        self.audits += asked.audit is not None
        for author, fact in ran(asked.run, by, self._value(by, asked), asked, tree=asked.proposal):
            self.log.add(author, fact)

    def _value(self, by: str, asked: e.RunRequested) -> float:
        audit, way = asked.audit, self.way
        true = float(random.Random(audit.run if audit else asked.run).randrange(1000))
        if by.startswith("h"):
            return true
        if audit is None:
            return true if way == "accuse" else true - 1000
        if audit.worker.startswith("l") and way in ("accuse and vouch", "vouch"):
            return audit.value
        if audit.other.startswith("l") and audit.other_value is not None and way == "accuse and vouch":
            return audit.other_value
        return true if way in ("search", "vouch") else true - 777


@pytest.mark.parametrize("way", WAYS)
def test_two_liars_among_seven_are_found_and_nobody_else(way: Way) -> None:
    found = [Fleet(seed, honest=5, liars=2, way=way).run(1200) for seed in range(6)]
    assert sum(len(names) for names in found) >= 10, found
    assert {name for names in found for name in names} == {"l0", "l1"}


@pytest.mark.parametrize("way", WAYS)
def test_one_that_lies_speaks_against_nobody_however_long_it_checks_others(way: Way) -> None:
    for seed in range(3):
        fleet = Fleet(seed, honest=3, liars=1, way=way)
        fleet.run(800)
        assert fleet.audits > 30
        assert fleet.log.board.doubts.contradictions.keys() <= {"l0"}


def test_one_score_in_twenty_is_audited() -> None:
    fleets = [Fleet(seed, honest=3, liars=0, way="search") for seed in range(4)]
    assert [fleet.run(1000) for fleet in fleets] == [[]] * 4
    assert 150 <= sum(fleet.audits for fleet in fleets) <= 250  # 200 expected, deviation 14
