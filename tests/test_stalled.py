"""Ten runs in a row that fail alike pause the search, with a sentence; a new worker or version resumes it."""

from collections import Counter

import pytest
from msgspec.structs import replace

from agents.curation.admission import decide
from mesh.events import (
    AnyEvent,
    Failed,
    Infeasible,
    ModelAsked,
    NotePosted,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    RunFinished,
    RunRequested,
    Scored,
    WorkerJoined,
)
from mesh.fact_values import Cost
from mesh.leaderboard import Ranking
from mesh.stalled import ALIKE, why_paused
from mesh.testing import Log, commit_hash, git_hash, opened
from mesh_cli.live.headline import frequent_failure, models_line, progress_line
from mesh_cli.live.status import standing_of

BASE = git_hash("base")


@pytest.fixture
def log() -> Log:
    """An arena with a worker, whose baseline is champion with a loss of 10."""
    log = Log()
    log.open()
    log.add("w", WorkerJoined(boot="b1", worker_class="cpu", device="cpu", slots=4))
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0)
    return log


def fails(log: Log, count: int, message: str = "exit code 1: no disk {n}", reason: str = "crash") -> None:
    for _ in range(count):
        number = len(log.board.runs)
        log.propose(f"p{number}")
        run = log.request(f"p{number}")
        outcome = Failed(reason=reason, message=message.format(n=number))  # type: ignore[arg-type]
        tree = git_hash(f"p{number}")
        log.add("w", RunFinished(run=run, proposal=tree, outcome=outcome, worker="w", worker_class="cpu"))


def asked(log: Log) -> list[AnyEvent]:
    return [event for event in decide(log.board, log.board.time) if isinstance(event, RunRequested | NotePosted)]


def test_ten_failures_alike_pause_the_search_and_say_so_once(log: Log) -> None:
    fails(log, ALIKE - 1)
    assert why_paused(log.board) == ""
    fails(log, 1)
    log.propose("next")
    text = why_paused(log.board)
    assert text.startswith(f"the search is paused: the last {ALIKE} runs failed alike, up to run ")
    assert "(crash: exit code 1: no disk " in text
    assert text.endswith(
        "; it resumes when the champion, which runs once more, gets a score, when a worker joins (start again) or when "
        "the arena is opened again"
    )
    [note] = asked(log)
    assert note == NotePosted(channel="search", text=text)
    log.add("curator", note)
    assert asked(log) == []
    fails(log, 1)  # which was under way
    assert asked(log) == []
    assert standing_of(log.board, [])["paused"] == why_paused(log.board) != text


@pytest.mark.parametrize(
    "outcome", [Scored(value=10.0), Infeasible(value=10.0, violation=1.0, message="too slow"), None]
)
def test_the_champion_runs_once_more_and_its_score_resumes_the_search(
    log: Log, outcome: Scored | Infeasible | None
) -> None:
    log.add("curator", ProposalPromoted(proposal=BASE, round=1, mean=10.0, seeds=(1, 2, 3)))
    fails(log, ALIKE)
    log.propose("next")
    note, again = asked(log)
    assert isinstance(again, RunRequested)
    assert (again.proposal, again.lane) == (BASE, "control")
    for event in (note, again):
        log.add("curator", event)
    assert asked(log) == []  # it is asked for once, and nothing else runs meanwhile
    same = Failed(reason="crash", message="exit code 1: no disk 7")
    log.add(
        "w",
        RunFinished(run=again.run, proposal=BASE, outcome=outcome or same, worker="w", worker_class="cpu"),
    )
    wanted = [event.proposal for event in asked(log) if isinstance(event, RunRequested)]
    assert (git_hash("next") in wanted) == (outcome is not None)
    assert bool(why_paused(log.board)) == (outcome is None)
    assert BASE not in wanted  # if it fails alike, it is not asked for over and over


@pytest.mark.parametrize("event", ["worker", "version"])
def test_a_worker_that_joins_or_a_new_version_resumes_the_search(log: Log, event: str) -> None:
    fails(log, ALIKE)
    log.propose("next")
    if event == "worker":
        log.add("w", WorkerJoined(boot="b2", worker_class="cpu", device="cpu", slots=4))
    else:
        log.add("operator", replace(opened(log.spec), version=2))
    assert why_paused(log.board) == ""
    assert git_hash("next") in [event.proposal for event in asked(log) if isinstance(event, RunRequested)]
    fails(log, 1)  # one more failure is no new reason to pause: it takes ten
    assert why_paused(log.board) == ""


def test_failures_with_a_score_between_them_pause_nothing(log: Log) -> None:
    fails(log, ALIKE // 2)
    log.propose("good")
    log.score("good", 9.0)
    fails(log, ALIKE // 2)
    assert why_paused(log.board) == ""


@pytest.mark.parametrize(("message", "reason"), [("something else", "crash"), ("exit code 1: no disk {n}", "timeout")])
def test_failures_that_differ_pause_nothing(log: Log, message: str, reason: str) -> None:
    fails(log, ALIKE - 1)
    fails(log, 1, message, reason)
    assert why_paused(log.board) == ""


def test_runs_that_the_swarm_stopped_are_no_failures(log: Log) -> None:
    fails(log, ALIKE, "behind the others", "killed")
    assert why_paused(log.board) == ""


def test_the_headline_has_the_gain_the_time_and_the_cost(log: Log) -> None:
    cost = Cost(usd=0.25, tokens_in=1000, tokens_out=500)
    made = ProposalPosted(
        tree=git_hash("m"), commit=commit_hash("m"), title="m", origin=Origin(how="model", name="x/y"), cost=cost
    )
    log.add("ann", made)
    log.score("m", 8.0)
    log.add("ann", ModelAsked(model="x/y", purpose="improve", ok=True, cost=cost, text="no change"))
    line = progress_line(log.board, Ranking(log.board), 75.0, 45.0)
    assert line.startswith("best loss 10.0000 (the baseline), ")
    assert line.endswith(" left, 3,000 tokens ($0.5000)")
    log.promote("base", mean=10.0)
    assert progress_line(log.board, Ranking(log.board), 75.0, 45.0) == line
    assert models_line(log.board, 0, Counter({"no change": 1})) == (
        "models: 1 proposals, 1 scored, 0 promoted; 1 answers could not be used, most often (1): no change"
    )
    assert models_line(log.board, log.board.seq, Counter()) == ""


def test_the_most_frequent_failure_is_a_sentence(log: Log) -> None:
    assert frequent_failure(log.board, 0) == ""
    fails(log, 2, "no disk")
    fails(log, 1, "other")
    assert frequent_failure(log.board, 0) == "3 of 4 runs failed, most often (2) by crash: no disk"
    assert frequent_failure(log.board, log.board.seq) == ""
