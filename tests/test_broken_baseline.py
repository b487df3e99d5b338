"""A baseline that fails stops the search, says why, and is measured again when something has changed."""

import signal
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agents.curation.admission import decide
from agents.curation.reevaluation import due
from agents.explorer import Explorer
from agents.search.history import History
from mesh.baseline import baseline_failure, is_baseline_due, is_measured
from mesh.board import Board
from mesh.events import AnyEvent, Infeasible, RunFinished, RunRequested, WorkerJoined, WorkerLeft
from mesh.testing import FILES, TRAIN, Arena, Log, content_hash, git_hash, opened, run_of
from mesh.wire import Post
from tests.support.arenas import SCORE, write_arena
from tests.test_up import MESH, log_of, mesh_up

BASE, ONE = git_hash("base"), git_hash("one")


@pytest.fixture
def log() -> Log:
    """An open arena with a worker, a baseline, and one proposal more."""
    log = Log()
    log.open()
    join(log, "b1")
    log.propose(BASE, how="baseline")
    log.propose(ONE)
    return log


def join(log: Log, boot: str) -> Post:
    return log.add("w", WorkerJoined(boot=boot, worker_class="cpu", device="cpu", slots=4))


def reopen(log: Log, evaluator: str, version: int = 2) -> Post:
    return log.add("operator", replace(opened(log.spec), version=version, evaluator=content_hash(evaluator)))


def requests(log: Log) -> list[tuple[str, str]]:
    """The runs that the curator asks for now: proposal and run."""
    facts: list[AnyEvent] = decide(log.board, log.board.time)
    return [(fact.proposal, fact.run) for fact in facts if isinstance(fact, RunRequested)]


def test_nothing_but_the_baseline_runs_until_it_has_a_score(log: Log) -> None:
    first = run_of(BASE)
    assert requests(log) == [(BASE, first)]
    log.request(BASE)
    assert requests(log) == []
    log.finish(first, 3.0)
    assert is_measured(log.board)
    assert (ONE, run_of(ONE)) in requests(log)


def test_a_failed_baseline_is_measured_again_once_per_worker_that_joins_and_is_not_given_up(log: Log) -> None:
    log.score(BASE, "crash")
    assert (is_measured(log.board), decide(log.board, log.board.time)) == (False, [])
    join(log, "b2")
    again = f"{run_of(BASE)}-r1"
    assert requests(log) == [(BASE, again)]
    for event in decide(log.board, log.board.time):
        log.add("curator", event)
    assert requests(log) == []
    log.finish(again, "crash")
    failure = baseline_failure(log.board)
    assert (failure.requested.run if failure else "", is_baseline_due(log.board)) == (again, False)
    assert decide(log.board, log.board.time) == []


def test_a_worker_that_has_left_again_measures_nothing(log: Log) -> None:
    log.score(BASE, "crash")
    join(log, "b2")
    log.add("w", WorkerLeft(boot="b2"))
    assert requests(log) == []


@pytest.mark.parametrize("evaluator", ["e", "mended"])
def test_a_failed_baseline_is_measured_again_when_the_arena_is_opened_again(log: Log, evaluator: str) -> None:
    log.score(BASE, "crash")
    reopen(log, evaluator)
    [(tree, run)] = requests(log)
    assert (tree, run.startswith(f"{run_of(BASE)}-v2")) == (BASE, True)


def test_an_infeasible_baseline_has_a_number_so_the_search_begins(log: Log) -> None:
    run = log.request(BASE)
    outcome = Infeasible(message="p95_ms is 60", value=1.0, violation=0.2)
    log.add("w", RunFinished(run=run, proposal=BASE, outcome=outcome, worker="w", worker_class="cpu"))
    assert is_measured(log.board)
    assert (ONE, run_of(ONE)) in requests(log)


def test_what_failed_before_the_first_score_is_no_evidence_and_runs_again(log: Log) -> None:
    log.score(ONE, "crash")  # as in logs of older versions, which did not wait for the baseline
    log.retire(ONE, why="failed")
    assert len(log.board.current_runs(ONE)) == 1
    log.score(BASE, "crash")
    join(log, "b2")
    [event] = [event for event in decide(log.board, log.board.time) if isinstance(event, RunRequested)]
    log.add("curator", event)
    log.finish(event.run, 2.0)
    assert log.board.current_runs(ONE) == []
    assert log.board.scores(BASE) == [2.0]
    assert due(log.board) == [ONE]


def test_a_failure_after_the_first_score_stays_evidence(log: Log) -> None:
    log.score(BASE, 2.0)
    log.score(ONE, "crash")
    log.retire(ONE, why="failed")
    assert len(log.board.current_runs(ONE)) == 1
    assert ONE not in due(log.board)
    reopen(log, "e")  # the same evaluator: the failure counts still
    assert len(log.board.current_runs(ONE)) == 1


def test_a_new_evaluator_forgets_failures_and_a_board_read_back_agrees(log: Log) -> None:
    log.score(BASE, 2.0)
    log.score(ONE, "crash")
    log.retire(ONE, why="failed")
    reopen(log, "new")
    assert (log.board.scored_seq, log.board.current_runs(ONE)) == (0, [])
    assert not is_measured(log.board)
    log.add("operator", replace(opened(log.spec), version=3))  # back to the first evaluator: it had scored
    assert log.board.scored_seq > 0
    assert len(log.board.current_runs(ONE)) == 1
    assert Board(**{f: getattr(log.board, f) for f in log.board.__struct_fields__}).scored_seq == log.board.scored_seq


@pytest.mark.parametrize("retired", [True, False])
def test_a_baseline_that_failed_does_not_run_beside_the_baseline_of_the_next_version(log: Log, retired: bool) -> None:
    log.score(BASE, "crash")
    if retired:
        log.retire(BASE, why="failed")
    mended = git_hash("mended")
    log.add("operator", replace(opened(log.spec, tree=mended), version=2, evaluator=content_hash("new")))
    log.propose(mended, how="baseline")
    log.score(mended, 2.0)
    log.promote(mended, mean=2.0)
    assert BASE not in due(log.board)
    assert all(tree != BASE for tree, _ in requests(log))


async def test_samplers_and_explorers_do_not_know_of_failures_by_an_older_evaluator(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    arena.propose_baseline()
    arena.score(arena.base, 10.0)
    post = arena.propose_files(FILES | {"train.py": TRAIN.replace(b"1e-3", b"0.9")})
    tree = [*arena.board.proposals][-1]
    arena.score(tree, "crash")
    arena.retire(tree, why="failed")
    history = History(arena.context("ann").code.files)
    assert [trial.tree for trial in (await history.read(arena.board)).trials] == [arena.base, tree]
    now = arena.board.opened
    assert now is not None
    arena.add("operator", replace(now, version=2, evaluator=content_hash("new")))
    assert [trial.tree for trial in (await history.read(arena.board)).every] == [arena.base]
    assert await arena.when(Explorer(arena.context("ann")), post) == []


MISSING = "import not_installed_anywhere\n" + SCORE


async def test_mesh_up_ends_with_the_reason_of_a_broken_baseline_and_measures_it_again_after_the_cure(
    tmp_path: Path, home: Path
) -> None:
    folder = write_arena(tmp_path / "arena", score=MISSING)
    command = [*MESH, "up", str(folder), "--slots", "1", "--explorers", "1"]
    with anyio.fail_after(120):
        done = await anyio.run_process(command, check=False)
    last = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert last[-1].startswith("mesh: the baseline of arena tiny has no score, so nothing can be compared (")
    assert "No module named 'not_installed_anywhere'" in "\n".join(last[-8:])
    assert last[-1].endswith("mend the files or this machine, then start again: it is measured again")
    board = await log_of(home)
    assert len(board.proposals) == 1
    # when what was missing is there, the same command goes on
    write_arena(folder)
    async with mesh_up(folder, "--slots", "1", "--explorers", "1") as up:
        await up.says("finished", 2)
        assert await up.ends(signal.SIGINT) == 0
    assert is_measured(await log_of(home))
