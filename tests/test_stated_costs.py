"""What an author says that it has cost counts as far as it was reserved: nobody ends an arena for all by that."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from agents.curation.admission import decide
from mesh import events as e
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.money import is_used_up, limit_usd, may_begin, reserved_usd, spent_usd, stated_usd, why_no_call
from mesh.spec import ArenaSpec, ScoreSpec
from mesh.stated_costs import BY_RESERVE, NAME_SHARE, OTHERS_SHARE
from mesh.testing import Log, git_hash, opened
from tests.support.priced_fleet import CALL_USD, NIGHT, Fleet, joined

LIE = 1e9
JUDGED = replace(NIGHT, score=ScoreSpec(how="command", command=("python", "s.py")))


def granted(usd: float | None = 20.0, spec: ArenaSpec = NIGHT, *, rules: int = BY_RESERVE) -> Log:
    """An open arena with its baseline posted, and a budget."""
    log = Log(spec)
    log.add("op", replace(opened(spec), rules=rules))
    if usd is not None:
        log.add("op", e.BudgetGranted(n=1, usd=usd))
    log.propose(git_hash("base"), how="baseline")
    return log


def asking(name: str, usd: float = CALL_USD, boot: str = "b") -> e.AgentJoined:
    return e.AgentJoined(boot=f"{name}-{boot}", role="researcher", model="m", reserves_usd=usd)


def call(usd: float | None) -> e.ModelAsked:
    return e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=usd, tokens_in=5))


def proposal(usd: float) -> e.ProposalPosted:
    origin = e.Origin(how="model", name="m")
    return e.ProposalPosted(
        tree=git_hash("x"), commit=git_hash("c"), title="x", origin=origin, cost=e.Cost(usd=usd, tokens_in=5)
    )


def critique(usd: float) -> e.CritiquePosted:
    return e.CritiquePosted(target=git_hash("base"), verdict="warn", cost=e.Cost(usd=usd, tokens_in=5))


@pytest.mark.parametrize("lie", [call, proposal, critique])
def test_a_false_cost_of_who_reserved_nothing_is_shown_and_does_not_count(
    lie: Callable[[float], e.AnyEvent],
) -> None:
    log = granted()
    log.add("eve", lie(LIE))
    board = log.board
    assert (board.spent, board.usd, board.tokens) == ({"eve": 0.0}, 0.0, {"eve": 5})
    assert board.worker_costs.stated.uncounted == {"eve": LIE}
    assert (spent_usd(board, board.time), stated_usd(board, "eve")) == (0.0, LIE)
    assert not is_used_up(board, board.time.replace(year=2027))
    assert may_begin(board, board.time)


def test_a_cost_counts_up_to_what_its_author_reserved() -> None:
    log = granted()
    log.add("ann", asking("ann"))
    log.add("ann", call(0.2))
    log.add("ann", call(0.75))
    assert log.board.spent == {"ann": 0.2 + CALL_USD}
    assert log.board.worker_costs.stated.uncounted == {"ann": 0.5}
    log.add("ann", call(None))
    assert log.board.spent == {"ann": 0.2 + CALL_USD}


def test_one_name_uses_and_keeps_a_quarter_of_the_grants_at_most() -> None:
    log = granted(20.0)
    log.add("eve", asking("eve", LIE))
    assert reserved_usd(log.board) == NAME_SHARE * 20
    for number in range(100):
        log.add("eve", call(LIE if number % 2 else 0.75))
        assert spent_usd(log.board, log.board.time) + reserved_usd(log.board) == NAME_SHARE * 20
    assert log.board.spent == {"eve": 5.0}
    log.add("eve", e.AgentLeft(boot="eve-b", owes_usd=LIE))
    assert reserved_usd(log.board) == 0.0
    log.add("op", e.BudgetGranted(n=2, usd=20.0))
    assert reserved_usd(log.board) == NAME_SHARE * 20


def test_many_names_together_use_and_keep_half_of_the_grants_at_most() -> None:
    log = granted(20.0)
    for number in range(12):
        log.add(f"eve{number}", asking(f"eve{number}", LIE))
        assert reserved_usd(log.board) == min(OTHERS_SHARE * 20, (number + 1) * NAME_SHARE * 20)
    for number in range(12):
        log.add(f"eve{number}", call(LIE))
    assert spent_usd(log.board, log.board.time) + reserved_usd(log.board) == OTHERS_SHARE * 20
    assert may_begin(log.board, log.board.time)
    assert why_no_call(log.board, 10.0, log.board.time, name="researcher") == ""


def test_what_an_agent_says_that_it_owes_is_kept_up_to_what_it_reserved() -> None:
    log = granted()
    log.add("eve", asking("eve"))
    log.add("eve", e.AgentLeft(boot="eve-b", owes_usd=LIE))
    assert reserved_usd(log.board) == CALL_USD


def test_the_swarm_s_own_agents_and_who_opened_the_arena_are_believed() -> None:
    for name in ("researcher", "researcher-3", "coder-1", "op"):
        log = granted()
        log.add(name, call(7.5))
        assert log.board.spent == {name: 7.5}
        assert log.board.worker_costs.stated.uncounted == {}


def test_a_cost_counts_only_as_far_as_the_budget_does_not_keep_the_money_for_others() -> None:
    log = granted(4.0)
    log.add("researcher", asking("researcher", 3.5))
    log.add("ann", asking("ann", 1.0))
    log.add("ann", call(1.0))
    assert log.board.spent == {"ann": 0.5}
    log.add("researcher", call(3.5))
    assert spent_usd(log.board, log.board.time) == 4.0


def test_an_agent_that_is_not_the_swarm_s_own_asks_within_its_share() -> None:
    log = granted(20.0)
    log.add("ann", asking("ann", 2.0))
    log.add("bob", asking("bob", 2.0))
    now = log.board.time
    assert why_no_call(log.board, 2.0, now, name="ann") == ""
    assert why_no_call(log.board, 5.5, now, name="ann") == (
        "ann may use $5.00 of the $20.00 that arena a was granted, and all agents that are not its own $10.00: it has "
        "used $0.0000, all of them $0.0000, calls of the others may cost $2.0000, and one more call may cost $5.5000"
    )
    for name, usd in (("bob", 5.0), ("cleo", 4.0)):
        log.add(name, asking(name, usd, "again"))
        for _ in range(3):
            log.add(name, call(usd))
    assert log.board.spent == {"bob": 5.0, "cleo": 5.0}
    assert why_no_call(log.board, 0.1, log.board.time, name="ann").startswith("ann may use $5.00 of the $20.00")
    assert why_no_call(log.board, 2.0, log.board.time, name="researcher") == ""


@pytest.mark.parametrize(
    ("per_run", "in_all", "counts"), [(2.0, 0.0, 2.0), (0.0, 3.0, 3.0), (2.0, 1.5, 1.5), (0.0, 0.0, 0.0)]
)
def test_what_a_worker_says_of_a_judge_counts_up_to_the_limits_of_judges(
    per_run: float, in_all: float, counts: float
) -> None:
    spec = replace(JUDGED, judge=replace(NIGHT.judge, usd_per_run=per_run, usd=in_all))
    log = granted(20.0, spec)
    log.add("eve", joined("b1", 0.0))
    finish(log, LIE)
    board = log.board
    assert (board.judge.calls, board.judge.usd, board.usd) == (3, counts, counts)
    assert board.worker_costs.stated.uncounted == {"eve": LIE - counts}
    finish(log, 0.25)  # the limit of the machine is used up, that of a run begins again
    assert board.judge.usd == counts + (0.25 if per_run and not in_all else 0.0)


def finish(log: Log, usd: float) -> None:
    run = log.request("base", seed=len(log.board.runs))
    log.add("eve", e.RunStarted(run=run, attempt=1, worker="b1"))
    use = e.JudgeUse(calls=3, usd=usd)
    done = e.RunFinished(run=run, proposal=git_hash("base"), outcome=e.Scored(value=1.0), worker="b1", worker_class="x")
    log.add("eve", replace(done, judge=use))


@pytest.mark.parametrize("rules", [0, 1])
def test_logs_of_before_are_read_as_before(rules: int) -> None:
    log = granted(20.0, rules=rules)
    log.add("eve", asking("eve", 7.0))
    log.add("eve", call(LIE))
    assert (log.board.spent, reserved_usd(log.board)) == ({"eve": LIE}, 7.0)
    assert log.board.worker_costs.stated.uncounted == {}


def test_without_a_budget_costs_count_as_they_are_said_and_the_first_grant_begins_with_them() -> None:
    log = granted(None)
    log.add("eve", call(4.0))
    log.add("op", e.BudgetGranted(n=1, usd=20.0))
    log.add("eve", call(4.0))
    assert (log.board.spent, limit_usd(log.board)) == ({"eve": 4.0}, 24.0)


def test_an_arena_with_a_limit_is_not_closed_by_a_false_cost_before_its_grant_is_posted() -> None:
    spec = replace(NIGHT, stop=replace(NIGHT.stop, usd=20.0))
    for rules, closes in [(BY_RESERVE, False), (1, True)]:
        log = granted(None, spec, rules=rules)
        log.add("eve", call(LIE))
        found = decide(log.board, log.board.time)
        assert any(isinstance(event, e.ArenaClosed) for event in found) is closes


def test_a_snapshot_keeps_what_counts() -> None:
    log = granted()
    log.add("eve", asking("eve", 0.1))
    log.add("eve", call(LIE))
    again = from_bytes(to_bytes(log.board))
    assert isinstance(again, Board)
    assert again.worker_costs == log.board.worker_costs


@pytest.mark.parametrize("seed", range(8))
def test_a_fleet_with_liars_never_spends_more_than_was_granted_and_goes_on(seed: int) -> None:
    log = granted(30.0)
    fleet = Fleet(log, seed)
    lies = 0.0
    for number, _ in enumerate(fleet.live(hours=24)):
        assert spent_usd(log.board, fleet.now) <= 30.0
        if log.board.closed is None and number % 10 == 0:
            name = f"eve{seed % 3 and number % 30}"
            fleet.add(name, asking(name, fleet.random.choice([0.5, LIE]), f"life{number}"))
            fleet.add(name, call(LIE))
            lies = sum(usd for who, usd in log.board.spent.items() if who.startswith("eve"))
            assert lies <= 30.0 * (OTHERS_SHARE if seed % 3 else NAME_SHARE)
    assert log.board.closed is not None
    assert (log.board.closed.reason, log.board.finished > 0) == ("budget", True)
    assert log.board.worker_costs.stated.uncounted_usd >= LIE
