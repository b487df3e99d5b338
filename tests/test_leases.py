"""A lease is lost, handed back or drained, and every run is finished exactly once: real workers on a real server."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psutil
import pytest

from gpu_worker.triage import MAX_ATTEMPTS
from mesh.bus import LEASE_S
from mesh.events import (
    Failed,
    Lane,
    Origin,
    ProposalPosted,
    RunFinished,
    RunRequested,
    RunStarted,
    Scored,
    WorkerLeft,
)
from mesh.wire import Post
from tests.support.daemons import detached
from tests.test_chaos import PATIENCE_S, Stage, stage

OUTAGE_S = LEASE_S + 3
TRAIN = """
import json, os, pathlib, time

gate = pathlib.Path({gate!r})
{detached}
(gate / "new").write_text(os.environ["MESH_RUN_TOKEN"])
(gate / "new").rename(gate / str(time.time_ns()))
while not (gate / "open").exists():
    time.sleep(0.01)
(pathlib.Path(os.environ["MESH_OUT"]) / "loss.json").write_text(json.dumps({{"loss": 1.0}}))
"""


class Gate:
    """Where trials say that they have begun, and wait until it is open."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.on, self._folder = stage, folder
        self._log = folder.parent / "swarm.log"

    async def worker(self, name: str = "worker", *options: str) -> None:
        """Start a worker of one slot, without a sandbox, because the gate is outside of its trials' folders."""
        command = self.on.swarm.commands["worker"]
        self.on.swarm.commands[name] = [*command, "--no-sandbox", "--slots", "1", "--name", name, *options]
        await self.on.swarm.start(name)
        await self.on.until(lambda board: any(worker.name == name for worker in board.workers.values()))

    async def ask(self, run: str, lane: Lane = "explore") -> None:
        """Ask for a run of the artifact as it is."""
        opened = self.on.follower.board.opened
        assert opened is not None
        tree, commit = opened.base_tree, opened.base_commit
        if tree not in self.on.follower.board.proposals:
            origin = Origin(how="baseline")
            await self.on.bus.post(Post.new("ann", ProposalPosted(tree=tree, commit=commit, title="t", origin=origin)))
        asked = RunRequested(run=run, lane=lane, proposal=tree, commit=commit, seed=1, budget_s=1, deadline_s=60)
        await self.on.bus.post(Post.new("ann", asked))
        await self.on.until(lambda board: run in board.runs)

    async def begun(self, count: int) -> list[Path]:
        """Wait until so many trials have begun, and return the files that they wrote, by age."""
        with anyio.fail_after(PATIENCE_S):
            while len(found := [path for path in self._folder.iterdir() if path.name.isdigit()]) < count:
                await anyio.sleep(0.01)
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def open(self) -> None:
        """Let all trials end."""
        (self._folder / "open").touch()

    def close(self) -> None:
        """Let the trials that begin from now on wait."""
        (self._folder / "open").unlink()

    async def finished(self, run: str) -> RunFinished:
        """Wait until a run is finished."""
        await self.on.until(lambda board: board.runs[run].finished is not None)
        finish = self.on.follower.board.runs[run].finished
        assert finish is not None
        return finish

    async def says(self, words: str) -> None:
        """Wait until a process of the swarm has said so."""
        with anyio.fail_after(PATIENCE_S):
            while words not in self._log.read_text():
                await anyio.sleep(0.01)

    async def left(self, name: str) -> int:
        """Wait until a worker has ended, and return its exit code."""
        async with self.on.swarm.running.pop(name) as process:
            with anyio.fail_after(PATIENCE_S):
                return await process.wait()

    def facts(self, kind: type) -> list[object]:
        """Return all facts of a kind that are in the log, counted or not."""
        return [e.post.event for e in self.on.entries if e.post and isinstance(e.post.event, kind)]

    def kill_supervisor(self, name: str = "worker") -> None:
        """Kill the supervisor of a worker's slot."""
        [supervisor] = psutil.Process(self.on.swarm.running[name].pid).children()
        assert "gpu_worker.supervisor" in supervisor.cmdline()
        supervisor.kill()


@asynccontextmanager
async def a_gate(home: Path) -> AsyncIterator[Gate]:
    """An open arena whose trials wait at a gate."""
    folder = home.parent / "gate"
    folder.mkdir()
    async with stage(home.parent, home, TRAIN.format(gate=str(folder), detached=detached("time.sleep(100)"))) as on:
        await on.until(lambda board: board.opened is not None)
        yield Gate(on, folder)


def marked(token: str) -> list[int]:
    """Return the processes that carry the token of a supervisor."""
    found = []
    for pid in psutil.pids():
        try:
            if f"MESH_RUN_TOKEN={token}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


async def test_a_run_through_which_the_server_stands_still_is_finished_once(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker("first")
        await gate.worker("second")
        await gate.ask("r")
        await gate.begun(1)
        server = gate.on.server.address.pid
        os.kill(server, signal.SIGSTOP)
        try:
            await anyio.sleep(OUTAGE_S / 4)
            gate.open()  # the trial ends while nobody can be told
            await anyio.sleep(OUTAGE_S * 3 / 4)
        finally:
            os.kill(server, signal.SIGCONT)
        assert isinstance((await gate.finished("r")).outcome, Scored)
        # when both workers have ended whatever they had begun
        assert await gate.on.swarm.end("first") == await gate.on.swarm.end("second") == 0
        await gate.on.until(lambda board: all(member.left for member in board.workers.values()))
        assert len(gate.facts(RunFinished)) == 1
        assert gate.on.follower.board.unfinished == {}


async def test_a_run_whose_supervisor_is_killed_is_run_again_and_nothing_is_left_of_the_first_try(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker()
        await gate.ask("r")
        [first] = await gate.begun(1)
        token = first.read_text()
        assert len(marked(token)) >= 2
        gate.kill_supervisor()
        _, second = await gate.begun(2)
        assert marked(token) == []
        assert second.read_text() != token
        gate.open()
        finish = await gate.finished("r")
        assert (finish.outcome, finish.attempt) == (Scored(value=1.0, metrics={"loss": 1.0}), 2)
        assert len(gate.facts(RunFinished)) == 1


async def test_a_worker_that_is_told_to_end_finishes_its_run_and_takes_no_other(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker()
        await gate.ask("r")
        await gate.ask("later")
        await gate.begun(1)
        gate.on.swarm.running["worker"].terminate()
        await gate.says("finishing its work")
        gate.open()
        assert await gate.left("worker") == 0
        assert isinstance((await gate.finished("r")).outcome, Scored)
        await gate.on.until(lambda board: all(member.left for member in board.workers.values()))
        [left] = gate.facts(WorkerLeft)
        assert isinstance(left, WorkerLeft)
        assert left.reason == "drained"
        assert list(gate.on.follower.board.unfinished) == ["later"]
        assert gate.on.follower.board.runs["later"].attempts == 0


@pytest.mark.parametrize("how", ["a second signal", "--now"])
async def test_a_worker_that_is_told_to_end_at_once_hands_its_run_back(home: Path, how: str) -> None:
    async with a_gate(home) as gate:
        await gate.worker("worker", *(["--now"] if how == "--now" else []))
        await gate.ask("r")
        [first] = await gate.begun(1)
        process = gate.on.swarm.running["worker"]
        process.terminate()
        if how != "--now":
            await gate.says("finishing its work")
            process.terminate()
        assert await gate.left("worker") == 0
        assert marked(first.read_text()) == []
        assert gate.facts(RunFinished) == []
        # then the next worker takes it
        await gate.worker("next")
        gate.open()
        assert (await gate.finished("r")).attempt == 2


async def test_runs_that_confirm_are_taken_before_those_that_explore(home: Path) -> None:
    async with a_gate(home) as gate:
        for run in ("e1", "e2", "e3"):
            await gate.ask(run)
        await gate.ask("c", "confirm")
        gate.open()
        await gate.worker()
        for run in ("c", "e1", "e2", "e3"):
            await gate.finished(run)
        assert [event.run for event in gate.facts(RunStarted) if isinstance(event, RunStarted)] == [
            "c",
            "e1",
            "e2",
            "e3",
        ]


async def test_a_run_that_nobody_finishes_is_lost_after_three_attempts(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker()
        await gate.ask("r")
        for attempt in range(1, MAX_ATTEMPTS + 1):
            await gate.begun(attempt)
            gate.kill_supervisor()
        finish = await gate.finished("r")
        assert isinstance(finish.outcome, Failed)
        assert (finish.outcome.reason, finish.attempt) == ("lost", MAX_ATTEMPTS)
        assert len(gate.facts(RunStarted)) == MAX_ATTEMPTS
        assert len(gate.facts(RunFinished)) == 1
