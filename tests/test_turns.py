"""A thousand explorers in a process: who is woken, who may propose, and what is kept up of the trials for all."""

import random
from typing import ClassVar

import pytest

from agents.search.history import History, Known
from agents.search.samplers import portfolio
from agents.search.samplers.gaussian import milestone, seen, seen_of
from agents.search.samplers.portfolio import covers, first_kind, gains, recent_gains, shares
from agents.search.samplers.protocol import Trial, Values, best_first
from agents.search.samplers.trial_log import BEST, LATEST, TrialLog, best_before, ranked, window, with_values
from agents.search.turns import LEAST_IN_ALL, UNDECIDED, Turns
from mesh.agent.common import Common
from mesh.agent.protocol import Answers, Wakes
from mesh.agent.runtime import MAX_FAILURES, Listeners, Seat
from mesh.board import Board
from mesh.errors import Leaving
from mesh.events import AgentJoined, NotePosted
from mesh.testing import Log
from mesh.wire import Post


def joined(count: int) -> Log:
    log = Log()
    log.open()
    log.propose("base", how="baseline")
    for number in range(count):
        log.add(f"x-{number}", AgentJoined(boot=f"x-{number}", role="explorer"))
    return log


def test_an_explorer_whose_share_is_full_is_not_woken_until_a_proposal_of_its_has_a_result() -> None:
    log, turns = joined(2), Turns()
    for number in range(UNDECIDED):
        assert turns.wakes("x-1", log.board) == "yes"
        log.propose(f"new-{number}", "x-1")  # what it held a place for is posted
    assert turns.waiting("x-1", log.board) == UNDECIDED
    assert turns.wakes("x-1", log.board) == "no"
    assert turns.wakes("x-0", log.board) == "yes"
    log.score("new-0", 1.0)
    assert turns.wakes("x-1", log.board) == "yes"


def test_no_more_explorers_are_woken_than_places_are_free_for_all_together() -> None:
    log, turns = joined(500), Turns()
    said = [turns.wakes(f"x-{number}", log.board) for number in range(500)]
    woken = said.count("yes")
    assert woken * UNDECIDED == LEAST_IN_ALL
    assert said[woken:] == ["nobody"] * (500 - woken)
    turns.leave("x-3")
    assert turns.wakes("x-400", log.board) == "yes"
    assert turns.wakes("x-401", log.board) == "nobody"


def test_who_was_woken_and_proposes_nothing_holds_its_place_for_a_while_only() -> None:
    log, turns = joined(100), Turns()
    for number in range(100):
        turns.wakes(f"x-{number}", log.board)
    assert turns.wakes("x-99", log.board) == "nobody"
    for number in range(1100):
        log.add("x-0", NotePosted(channel="search", text=f"note {number}"))
    assert turns.wakes("x-99", log.board) == "yes"


class Sleeper:
    """Is woken as often as it may be."""

    listens: ClassVar[tuple[str, ...]] = ("run.finished",)
    role: ClassVar[str] = "sleeper"

    def __init__(self, places: list[int]) -> None:
        self.places = places

    def wakes(self, board: Board) -> Wakes:
        if not self.places[0]:
            return "nobody"
        self.places[0] -= 1
        return "yes"

    async def handle(self, post: Post, board: Board) -> Answers:
        return []


def test_free_places_go_to_one_agent_after_the_other() -> None:
    log, places = joined(0), [0]
    ended = log.score("base", 1.0)
    seats = [Seat(f"s-{number}", Sleeper(places)) for number in range(6)]
    listeners, woken = Listeners(seats), list[list[int]]()
    for _ in range(5):
        places[0] = 3
        listeners.hear(ended, log.board)
        woken.append([number for number, seat in enumerate(seats) if seat.waiting])
        for seat in seats:
            seat.waiting.clear()
    assert woken == [[0, 1, 2], [0, 3, 4], [0, 1, 5], [0, 2, 3], [0, 4, 5]]


def test_an_agent_that_has_left_or_failed_too_often_is_not_asked() -> None:
    log = joined(0)
    asked: list[str] = []

    class Asked:
        listens: ClassVar[tuple[str, ...]] = ("note.posted",)

        def __init__(self, name: str) -> None:
            self.name = name

        def wakes(self, _: Board) -> Wakes:
            asked.append(self.name)
            return "yes"

        async def handle(self, _: Post, __: Board) -> Answers:
            return []

    seats = [Seat(name, Asked(name)) for name in ("first", "gone", "failed", "last")]
    seats[1].leaving = Leaving("done")
    seats[2].failures = MAX_FAILURES
    Listeners(seats).hear(Post.new("ann", NotePosted(channel="general", text="hello")), log.board)
    assert asked == ["first", "last"]


def test_drafts_of_an_explorer_that_failed_are_pending_for_nobody() -> None:
    async def files(_: Board, __: str) -> dict[str, bytes]:
        return {}

    history, known = History(files), Known(0, TrialLog(), [], [])
    one, two = (drawn(random.Random(n), n) for n in (1, 2))
    with history.drafting(known) as draft:
        draft(one)

    def fail() -> None:
        with history.drafting(known) as draft:
            draft(two)
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fail()
    assert known.pending == [one]


def test_agents_of_a_process_have_one_thing_of_a_kind_and_name_in_common() -> None:
    common = Common()
    assert common.get(Turns, Turns) is common.get(Turns, Turns)
    assert common.get(Turns, Turns, "other") is not common.get(Turns, Turns)


def drawn(dice: random.Random, seq: int) -> Trial:
    loss = None if dice.random() < 0.2 else round(dice.gauss(), 1)
    values: Values = {("a", "x"): dice.random()} if dice.random() < 0.9 else {}
    by = dice.choice((*portfolio.LEARNING, "sobol", "step", ""))
    return Trial(tree=f"{seq:040x}", seq=seq, values=values, loss=loss, by=by, seconds=dice.random())


@pytest.mark.parametrize("seed", range(15))
def test_what_is_kept_up_of_finished_trials_is_what_a_look_at_all_of_them_gives(seed: int) -> None:
    dice, log, plain = random.Random(seed), TrialLog(), list[Trial]()
    for step in range(900):
        if plain and dice.random() < 0.1:
            gone = dice.choice(plain[-40:])
            plain.remove(gone)
            assert log.take(gone.seq) == gone
            assert log.take(gone.seq) is None
            continue
        if plain and dice.random() < 0.1:
            old = dice.choice(plain)
            new = drawn(dice, old.seq)
            plain[plain.index(old)] = new
            log.put(new)
            continue
        new = drawn(dice, 10 * step - dice.randrange(200) * 10 + dice.randrange(9) + 3000)
        if not log.has(new.seq):
            log.put(new)
            plain = sorted([*plain, new], key=lambda trial: trial.seq)
        if step % 60 != 59:
            continue
        assert list(log) == plain
        assert list(ranked(log)) == best_first(plain)
        assert window(log) == window(plain)
        assert [*window(plain)][-LATEST:] == plain[-LATEST:]
        assert len(window(plain)) <= LATEST + BEST
        assert list(with_values(log)) == [trial for trial in plain if trial.values]
        assert list(ranked(with_values(log))) == best_first([trial for trial in plain if trial.values])
        scored = [trial for trial in plain if trial.loss is not None]
        assert log.scored == scored
        assert seen(log) == seen_of(plain, len(scored))
        assert seen_of(log, milestone(len(scored))) == seen_of(plain, milestone(len(scored)))
        assert covers(log) == covers(plain)
        assert first_kind(4, log, []) == first_kind(4, plain, [])
        assert recent_gains(log, 50) == gains(plain)[-50:]
        assert shares(portfolio.LEARNING, log) == shares(portfolio.LEARNING, plain)
        at = dice.choice(plain).seq
        assert best_before(log, at, 5) == best_first([trial for trial in plain if trial.seq < at])[:5]
