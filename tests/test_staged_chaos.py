"""A worker that is killed in the middle of a stage loses nothing: the run begins again at its first stage."""

from collections import Counter
from pathlib import Path

import anyio
import pytest

from analytics.projector import replay
from mesh import settings
from mesh.board import Board
from mesh.events import RunFinished, Scored, ScreenedOut
from mesh.jetstream import JetStreamBus
from mesh.sql_protocol import Query, ask
from tests.chaos.invariants import rows
from tests.support.arenas import ARENA, TRAIN
from tests.test_chaos import PATIENCE_S, everything, stage

STAGES = """
[[score.stage]]
name = "smoke"
budget_s = 0.5
metric = "height"
at_most = 1.5
[[score.stage]]
name = "dev"
at_most = 0.6
[[score.stage]]
name = "full"
"""
SCORE = """
import json, os, pathlib, time
loss = json.loads((pathlib.Path(os.environ["MESH_OUT"]) / "loss.json").read_text())
first = pathlib.Path(MARKER)
if os.environ["MESH_STAGE"] == "dev" and not first.exists():
    first.touch()
    time.sleep(1000)
print(json.dumps(loss))
"""


@pytest.mark.timeout(600)
async def test_a_worker_killed_in_the_middle_of_the_second_stage_loses_nothing(tmp_path: Path, home: Path) -> None:
    marker = tmp_path / "first"
    train = TRAIN.replace("time.sleep(0.4)", "").replace('{"loss": loss}', '{"loss": loss, "height": HEIGHT}')
    score = SCORE.replace("MARKER", repr(str(marker)))
    async with stage(tmp_path, home, train, score=score, arena=ARENA + STAGES) as on:
        on.swarm.commands["worker"].append("--no-sandbox")  # the marker is outside of a run's folders
        await on.swarm.start()
        with anyio.fail_after(PATIENCE_S):
            while not marker.exists():
                await anyio.sleep(0.01)
        # when the worker is killed while the second stage scores
        await on.swarm.kill("worker")
        await on.swarm.start("worker")
        await on.until(lambda board: _ended(board)["screened_out"] >= 3 and _ended(board)["scored"] >= 3)
        await on.swarm.kill("explorer", "curator", "critic")
        await on.until(lambda board: not board.unfinished)
        # then every run was finished once, and its stages are those of one attempt
        again = [run for run in on.follower.board.runs.values() if run.attempts == 2]
        assert again
        for run in on.follower.board.runs.values():
            assert run.finished
            names = [end.stage for end in run.finished.stages]
            searched = run.requested.lane == "explore"
            assert names == ["smoke", "dev", "full"][: len(names)] if searched else names == ["full"]
        # then a projection that is folded from nothing equals the one that lived through it
        entries = await everything(on.bus)
        finishes = Counter(e.post.event.run for e in entries if e.post and isinstance(e.post.event, RunFinished))
        assert set(finishes.values()) == {1}
        assert isinstance(on.bus, JetStreamBus)
        with anyio.fail_after(PATIENCE_S):
            while (await ask(on.bus, Query(sql="SELECT 1"))).as_of["tiny"] < entries[-1].seq:
                pass
        await on.swarm.end("projector")
        await replay(on.bus, tmp_path / "again.duckdb", until=entries[-1].seq)
        lived = rows(settings.database(home))
        assert lived == rows(tmp_path / "again.duckdb")
        assert lived["screening"]


def _ended(board: Board) -> Counter[str]:
    outcomes = [run.finished.outcome for run in board.runs.values() if run.finished]
    return Counter(
        "scored" if isinstance(outcome, Scored) else outcome.reason
        for outcome in outcomes
        if isinstance(outcome, Scored | ScreenedOut)
    )
