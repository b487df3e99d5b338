"""A person proposes a change and stops a run from the command line, beside a real curator and worker."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mesh.board import Board
from mesh.errors import BadInput, UnknownName
from mesh.events import Failed, Origin, RunKilled, Scored
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from mesh.testing import given
from mesh_cli.proposals.stop_run import find_unfinished
from tests.support.arenas import ARENA, TRAIN, write_arena
from tests.support.history import T1, finish, opened, proposal, request
from tests.support.swarm import swarm_of


def mesh(*words: str, home: Path, url: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "MESH_HOME": str(home), "MESH_NATS": url}
    command = [sys.executable, "-m", "mesh_cli", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)


async def test_a_person_proposes_a_change_and_stops_a_run(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    patient = ARENA.replace("deadline_s = 30.0", "deadline_s = 600.0")
    arena, mine = write_arena(tmp_path / "tiny", arena=patient), tmp_path / "mine"
    mine.mkdir()

    async def run(*words: str) -> subprocess.CompletedProcess[str]:
        return await anyio.to_thread.run_sync(lambda: mesh(*words, home=home, url=server.url))

    def write(text: str) -> None:
        (mine / "train.py").write_text(text, encoding="utf-8")
        (mine / "score.py").write_text("print('{\"loss\": -1}')", encoding="utf-8")  # protected: not taken

    assert (await run("open", str(arena))).returncode == 0
    write(TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5"))
    first = await run("propose", str(mine), "--title", "the height of the valley", "--name", "ann", "--gain", "0.25")
    assert (first.returncode, first.stdout.count("\n")) == (0, 1)
    tree = first.stdout[:10]
    assert f" {tree} the height of the valley: no worker is there yet; place 2 of 2 in the queue" in first.stderr
    assert first.stderr.endswith(f"; mesh wait {tree} waits for it\n")
    once_more = await run("propose", str(mine), "--title", "another title", "--name", "ann")
    assert f" {tree} the height of the valley: " in once_more.stderr  # as it stands in the log
    again = await run("propose", str(mine), "--title", "the same", "--name", "bob")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "by ann has these files; nothing was posted" in again.stderr
    write(TRAIN.replace("time.sleep(0.4)", "time.sleep(600)"))
    slow = (await run("propose", str(mine), "--title", "sleep", "--name", "ann")).stdout.strip()

    async with connect(server.url) as hub, swarm_of(home, server.url) as swarm:
        follower = Follower(await hub.arena("tiny"))
        await follower.catch_up()
        await swarm.start("curator", "worker")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow)
            with anyio.fail_after(200):
                await follower.until(lambda board: _is_scored(board, first.stdout.strip()))
                await follower.until(lambda board: any(run.attempts for run in board.current_runs(slow)))
                name = follower.board.current_runs(slow)[0].requested.run
                stopped = await run("kill", name, "--text", "it only sleeps")
                assert (stopped.returncode, stopped.stdout) == (0, f"{name}\n")
                await follower.until(lambda board: board.runs[name].finished is not None)
            tasks.cancel_scope.cancel()
        board = follower.board
        proposed = board.proposals[first.stdout.strip()]
        assert (proposed.author, proposed.event.origin) == ("ann", Origin(how="human", name="ann"))
        assert proposed.event.predicted_gain == 0.25
        scored = [outcome.value for outcome in _outcomes(board, first.stdout.strip()) if isinstance(outcome, Scored)]
        assert scored[:1] == [pytest.approx(0.01)]
        [killed] = _outcomes(board, slow)
        assert isinstance(killed, Failed)
        assert killed.reason == "killed"
        late = await run("kill", name)
        assert (late.returncode, late.stdout) == (2, "")
        assert late.stderr == f"mesh: run {name} is stopped early; only a run that waits or runs can be stopped\n"


def _is_scored(board: Board, tree: str) -> bool:
    return any(run.value is not None for run in board.current_runs(tree))


def _outcomes(board: Board, tree: str) -> list[Scored | Failed]:
    return [run.finished.outcome for run in board.current_runs(tree) if run.finished]


async def test_what_cannot_be_proposed_is_one_sentence(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    arena = write_arena(tmp_path / "tiny")
    opened_arena = await anyio.to_thread.run_sync(lambda: mesh("open", str(arena), home=home, url=server.url))
    assert opened_arena.returncode == 0
    (tmp_path / "empty").mkdir()
    nothing = "has no editable file of arena tiny; put at least one there: train.py"
    wrong: list[tuple[list[str], str]] = [
        ([str(tmp_path / "empty"), "--title", "x"], nothing),
        ([str(tmp_path / "nowhere"), "--title", "x"], nothing),
        ([str(arena)], "nothing is changed: the files are those of the baseline; edit one of train.py"),
        ([str(arena), "--title", "x", "--parent", "beef"], "no proposal of arena tiny starts with 'beef'"),
        ([str(arena), "--title", "x", "--name", "a.b"], "name is 'a.b'"),
    ]
    for words, sentence in wrong:
        done = await anyio.to_thread.run_sync(lambda: mesh("propose", *words, home=home, url=server.url))  # noqa: B023
        assert (done.returncode, done.stdout) == (2, ""), done
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_run_is_found_by_the_start_of_its_name() -> None:
    board = given(
        ("ann", opened()),
        ("ann", proposal(T1)),
        ("cat", request("r-1-explore", T1)),
        ("cat", request("r-2-explore", T1)),
        ("cat", request("r-3-explore", T1)),
        ("wes", finish("r-1-explore", T1, 0.5)),
        ("ann", RunKilled(run="r-3-explore", by="operator")),
    )
    assert find_unfinished(board, "r-") == "r-2-explore"
    assert find_unfinished(board, "run:r-2") == "r-2-explore"
    with pytest.raises(BadInput, match="run r-1-explore is scored; only a run that waits or runs can be stopped"):
        find_unfinished(board, "r-1-explore")
    with pytest.raises(BadInput, match="run r-3-explore is stopped already"):
        find_unfinished(board, "r-3")
    for nothing in ("", "x", "run:"):
        with pytest.raises(UnknownName, match="no run of arena"):
            find_unfinished(board, nothing)
