"""The sealed split: looks are metered facts, only for champions, and can be a gate."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agents.curation.admission import decide
from agents.curation.sealed import with_sealed
from gpu_worker.triage import End, Taker, triage
from mesh.arena import parse_arena
from mesh.board import Board
from mesh.errors import BadArena
from mesh.events import AnyEvent, Failed, HoldoutOpened, ProposalPromoted, ProposalRetired, RunRequested
from mesh.evidence import fresh, is_close, mean_of
from mesh.leaderboard import leaderboard
from mesh.testing import SPEC, Log, git_hash
from tests.support.folding import folded, rows

BASE, GOOD, BETTER = (git_hash(name) for name in ("base", "good", "better"))
TAKER = Taker("b", "w9", "cpu", is_fit=True, has_others=False, declines=0, handed_back=0, delivered=9)


def log_with(sealed: Any, looks: int = 10) -> Log:
    """An arena with an exact metric whose baseline scored 9 and is champion, and a proposal with 5."""
    log = Log(replace(SPEC, selection=replace(SPEC.selection, sealed=sealed, sealed_looks=looks)))
    log.open(tree=BASE)
    log.propose(BASE, how="baseline")
    log.score(BASE, 9.0)
    live(log, {})
    log.propose(GOOD)
    log.score(GOOD, 5.0)
    return log


def live(log: Log, sealed: dict[str, float | None]) -> list[AnyEvent]:
    """Let the curator decide until nothing is due; sealed runs end with these scores, None is a crash."""
    told: list[AnyEvent] = []
    for number in range(20):
        if not (due := decide(log.board, log.board.time)) and number:
            return told
        for event in due:
            told.append(event)
            log.add("cur", event)
        for run in list(log.board.unfinished):
            requested = log.board.runs[run].requested
            if requested.lane == "sealed" and requested.proposal in sealed:
                value = sealed[requested.proposal]
                log.finish(run, "crash" if value is None else value)
    raise AssertionError("the curator never rests")


def kinds(told: list[AnyEvent]) -> list[tuple[str, str]]:
    return [(type(event).__name__, getattr(event, "proposal", "")) for event in told]


def test_nothing_is_sealed_where_the_arena_does_not_say_so() -> None:
    log = log_with("off")
    assert kinds(live(log, {})) == [("ProposalPromoted", GOOD)]
    assert log.board.looks == []


def test_a_report_looks_at_every_champion_and_refuses_none() -> None:
    log = log_with("report")
    told = live(log, {BASE: 8.0, GOOD: 8.5})
    assert ("ProposalPromoted", GOOD) in kinds(told)
    assert log.board.champion == GOOD
    assert log.board.looks == [BASE, GOOD]
    found = {row.proposal: (row.mean, row.sealed, row.gap, row.seeds) for row in leaderboard(log.board)}
    assert found[GOOD] == (5.0, 8.5, 3.5, 1)  # search says 5, the sealed split 8.5: all of the gain was overfitting


@pytest.mark.parametrize(
    ("sealed", "champion", "text"),
    [
        ({BASE: 8.0, GOOD: 7.0}, GOOD, ""),
        ({BASE: 8.0, GOOD: 8.5}, BASE, "its sealed score 8.5 is not better than the champion's 8"),
        ({BASE: 8.0, GOOD: 8.0}, BASE, "its sealed score 8 is not better than the champion's 8"),
        ({BASE: 8.0, GOOD: None}, BASE, "it has no sealed score: crash"),
    ],
)
def test_a_gate_promotes_only_what_is_better_on_the_sealed_split_too(
    sealed: dict[str, float | None], champion: str, text: str
) -> None:
    log = log_with("gate")
    told = live(log, sealed)
    assert log.board.champion == champion
    assert [event.text for event in told if isinstance(event, ProposalRetired)] == ([text] if text else [])
    assert log.board.looks == [BASE, GOOD]


def test_what_the_gate_refused_is_no_close_call_however_sure_its_proof_was() -> None:
    log = log_with("gate")
    live(log, {BASE: 8.0, GOOD: 8.5})
    proven = ProposalPromoted(proposal=GOOD, round=2, met=BASE, mean=5.0, seeds=(1,), p_better=0.99)
    [refused] = with_sealed(log.board, [proven])
    assert isinstance(refused, ProposalRetired)
    log.board.proposals[GOOD].rulings += (refused,)
    assert not is_close(log.board.proposals[GOOD])
    assert {row.proposal: row.state for row in leaderboard(log.board)}[GOOD] == "retired"


def test_while_a_gate_waits_nobody_is_retired_for_the_one_that_waits() -> None:
    log = log_with("gate")
    log.propose(BETTER)
    log.score(BETTER, 4.0)
    told = live(log, {BASE: 8.0})
    assert [event for event in told if isinstance(event, ProposalPromoted | ProposalRetired)] == []
    run = next(e.run for e in told if isinstance(e, RunRequested) and e.proposal == BETTER)
    log.finish(run, 9.0)  # the best of the search is refused, and the second best has its turn
    live(log, {GOOD: 6.0})
    assert log.board.champion == GOOD
    assert log.board.proposals[BETTER].why == "not_better"


def test_looks_are_metered_and_a_gate_without_looks_is_shut() -> None:
    log = log_with("gate", looks=1)
    told = live(log, {BASE: 8.0, GOOD: 1.0})
    [refused] = [event for event in told if isinstance(event, ProposalRetired)]
    used = "all 1 looks at the sealed split of this version are used up; open a new version"
    assert refused.text == f"the gate is shut: {used}"
    assert (log.board.champion, log.board.looks) == (BASE, [BASE])
    before = log.board.looks
    log.add("eve", HoldoutOpened(version=1, look=2, proposal=GOOD))  # a stranger's look does not count either
    assert log.board.looks == before


def test_a_worker_refuses_a_sealed_run_that_no_look_allows() -> None:
    log = log_with("report")
    run = log.request(GOOD, seed=901, lane="sealed")
    requested = log.board.runs[run]
    text = "the sealed split is not open to this proposal: no holdout.opened of this version that counts names it"
    refused = triage(log.board, requested.requested, requested.seq, TAKER)
    assert refused == End(Failed(reason="killed", message=text))


def test_no_sealed_score_is_a_claim_or_proof_or_counts_as_a_try() -> None:
    log = log_with("report")
    before = facts_of(log.board)
    log.add("cur", HoldoutOpened(version=1, look=2, proposal=GOOD))
    log.finish(log.request(GOOD, seed=901, lane="sealed"), 0.1)
    assert log.board.sealed_score(GOOD) == 0.1
    assert facts_of(log.board) == before


def facts_of(board: Board) -> tuple[Any, ...]:
    return mean_of(board, GOOD), fresh(board, GOOD), board.scores(GOOD), board.judged, board.proposals[GOOD].runs


def test_candidates_that_had_a_result_are_counted_once_each() -> None:
    log = log_with("off")
    assert len(log.board.judged) == 2
    log.finish(log.request(GOOD, seed=2), 5.0)
    assert len(log.board.judged) == 2


async def test_sql_shows_the_sealed_score_and_the_gap(tmp_path: Path) -> None:
    spec = replace(SPEC, selection=replace(SPEC.selection, sealed="report"))
    log = Log(spec)
    posts = [log.open(tree=BASE), log.propose(BASE, how="baseline"), log.score(BASE, 9.0)]
    sealed = HoldoutOpened(version=1, look=1, proposal=BASE)
    first = log.board.runs[f"{BASE[:16]}-explore-1"].requested
    log.add("cur", sealed)
    run = log.request(BASE, seed=901, lane="sealed")
    done = log.finish(run, 8.0)
    told = [(post.author, post.event) for post in posts[:2]]
    told += [("cur", first), ("w", posts[2].event), ("cur", sealed), ("cur", log.board.runs[run].requested)]
    async with folded(tmp_path / "a.duckdb", [*told, ("w", done.event)]) as queries:
        assert await rows(queries, "SELECT mean, sealed, gap, seeds FROM leaderboard") == [[9.0, 8.0, -1.0, 1]]


def test_an_evaluator_that_runs_the_candidate_cannot_keep_a_split_secret() -> None:
    raw = {
        "arena": {"name": "a"},
        "objective": {"metric": "loss", "direction": "minimize"},
        "artifact": {"editable": ["train.py"]},
        "trial": {"command": ["python", "train.py"], "budget_s": 1, "deadline_s": 2},
        "score": {"how": "stdout", "pattern": "loss=(.*)"},
        "selection": {"sealed": "gate"},
    }
    with pytest.raises(BadArena, match=r'selection\.sealed is "gate", but with score\.how = "stdout" the candidate'):
        parse_arena(raw, "arena.toml")
