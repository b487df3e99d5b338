"""Thresholds of stages that refer to the champion or the baseline: a number of the log, kept in the request."""

import math
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.curation.run_requests import request, thresholds
from gpu_worker.stages import steps_of
from mesh.arena import parse_arena
from mesh.board import Board
from mesh.bounds import MAX_NUMBER
from mesh.errors import BadArena
from mesh.events import ProposalPromoted, RunFinished, RunRequested, Scored, ScreenedOut, StageEnd
from mesh.memory import MemoryHub
from mesh.spec import ScoreSpec
from mesh.stages import StageSpec
from mesh.testing import SPEC, Log, git_hash
from mesh_cli.setup.check_arena import baseline_stages
from mesh_cli.setup.check_result import BaselineRun
from tests.test_stages import raw
from tests.test_worker import SPEC as WORKER_SPEC
from tests.test_worker import Arena

BASE, GOOD, NEXT = (git_hash(name) for name in ("base", "good", "next"))
SMOKE = StageSpec(name="smoke", metric="tests", at_least="champion - 10%")
DEV = StageSpec(name="dev", at_most="baseline + 0.5")
FULL = StageSpec(name="full")
STAGED = replace(SPEC, score=replace(SPEC.score, stage=(SMOKE, DEV, FULL)))


@pytest.mark.parametrize(
    ("bound", "number", "threshold"),
    [
        ("champion", 5.0, 5.0),
        ("champion - 2%", 50.0, 49.0),
        ("champion + 2 %", -50.0, -49.0),
        ("baseline-0.25", 1.0, 0.75),
        ("champion - 5%", 0.0, 0.0),
        ("champion + 100%", 1e100, 1e100),
    ],
)
def test_a_relative_threshold_is_a_step_from_a_number_or_a_share_of_its_size(
    bound: str, number: float, threshold: float
) -> None:
    stage = StageSpec(name="dev", at_most=bound)
    assert stage.refers_to == bound[:8]
    assert stage.relative_to(number) == threshold
    assert stage.threshold == f"at most {bound}"
    assert not stage.missed_by(threshold, threshold)
    assert stage.missed_by(threshold + max(1e-6, abs(threshold)) * 1e-3, threshold) > 0
    assert not stage.missed_by(1e99, None)  # without a number it ends nothing


@pytest.mark.parametrize("bound", ["champion - two%", "best - 2%", "champion * 0.9", "champion - 2% - 1", "", "3"])
def test_another_text_is_refused_with_what_to_write(bound: str) -> None:
    stages = [{"name": "dev", "at_most": bound}, {"name": "full"}]
    with pytest.raises(BadArena) as refused:
        parse_arena(raw(stage=stages), "arena.toml")
    wanted = 'use a number, or text such as "champion - 2%" or "baseline + 0.5"'
    assert f"score.stage 'dev': at_most is {bound!r}: {wanted}" in str(refused.value)


def test_a_direction_that_would_end_the_better_ones_is_refused_for_relative_thresholds_too() -> None:
    with pytest.raises(BadArena, match="at_least would end the better candidates"):
        parse_arena(raw(stage=[{"name": "dev", "at_least": "champion"}, {"name": "full"}]), "arena.toml")


def finish(log: Log, tree: str, tests: float, loss: float, full: float) -> None:
    run = log.request(tree)
    stages = tuple(StageEnd(stage=name, value=v) for name, v in (("smoke", tests), ("dev", loss), ("full", full)))
    done = RunFinished(
        run=run, proposal=git_hash(tree), outcome=Scored(value=full), worker="w", worker_class="cpu", stages=stages
    )
    log.add("w", done)


def test_the_curator_puts_the_numbers_of_the_moment_into_the_request() -> None:
    log = Log(STAGED)
    log.open(tree=BASE)
    log.propose(BASE, how="baseline")
    log.propose(GOOD)
    log.propose(NEXT)
    assert request(log.board, GOOD, "explore").thresholds == {}  # the baseline has no number yet
    finish(log, BASE, 10.0, 3.0, 9.0)
    assert request(log.board, GOOD, "explore").thresholds == {"smoke": 9.0, "dev": 3.5}  # no champion: the baseline
    finish(log, GOOD, 20.0, 2.0, 5.0)
    log.add("cur", ProposalPromoted(proposal=GOOD, round=1, mean=5.0, seeds=(1,), p_better=0.99))
    assert log.board.champion == GOOD
    asked = request(log.board, NEXT, "explore")
    assert asked.thresholds == thresholds(log.board) == {"smoke": 18.0, "dev": 3.5}
    assert request(log.board, GOOD, "explore").thresholds == {}  # nobody is measured against itself


def test_a_check_measures_the_baseline_against_its_own_mean() -> None:
    run = BaselineRun(
        1, Scored(value=1.0), 1.0, 1.0, (StageEnd(stage="smoke", value=10.0), StageEnd(stage="dev", value=3.0))
    )
    other = replace(run, stages=(StageEnd(stage="smoke", value=1.0), StageEnd(stage="dev", value=3.0)))
    smoke, dev = baseline_stages(STAGED, (run, run, other))
    assert (smoke.missed, smoke.threshold) == (1, "at least champion - 10%")
    assert dev.missed == 0


async def test_a_worker_ends_what_misses_the_number_of_its_request_whoever_is_champion_by_then(tmp_path: Path) -> None:
    score = ScoreSpec(
        how="command", command=("python", "score.py"), deadline_s=20,
        stage=(StageSpec(name="dev", at_most="champion + 10%"), FULL),
    )  # fmt: skip
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open(replace(WORKER_SPEC, score=score), score=SCORE)

    async def board() -> Board:
        found = Board(arena="a")
        async with aclosing(arena.bus.read()) as batches:
            async for batch in batches:
                for entry in batch:
                    found.fold(entry)
        return found

    async def run(name: str, loss: float, told: dict[str, float]) -> RunFinished:
        await arena.request(f"(out / 'loss').write_text('{loss}')", name, thresholds=told)  # type: ignore[arg-type]
        return await arena.finished(name)

    async with arena.worker():
        first = await run("first", 2.0, {})
        assert isinstance(first.outcome, Scored), first.outcome
        promoted = ProposalPromoted(proposal=first.proposal, round=1, mean=2.0, seeds=(7,), p_better=0.99)
        await arena.post(promoted)
        told = thresholds(await board())
        assert told == {"dev": pytest.approx(2.2)}
        near, far = await run("near", 2.19, told), await run("far", 2.3, told)
        old = await run("old", 2.3, {"dev": 2.4})
    assert [isinstance(each.outcome, Scored) for each in (near, old)] == [True, True]
    assert isinstance(far.outcome, ScreenedOut)
    assert far.outcome.message == "stopped at stage dev: loss is 2.3, but must be at most champion + 10% (2.2)"
    assert far.outcome.violation == pytest.approx(0.1 / 2.2)
    kept = {each.run: each.thresholds for each in await arena.all(RunRequested)}
    assert kept["far"] == told


SCORE = """
import json, os, pathlib
print(json.dumps({"loss": float((pathlib.Path(os.environ["MESH_OUT"]) / "loss").read_text())}))
"""


CASCADE = replace(SPEC, score=ScoreSpec(how="openevolve", command=("python", "evaluator.py"), cascade=(0.5, 0.75)))


def scored(log: Log, tree: str, *values: float) -> None:
    run = log.request(tree)
    stages = tuple(StageEnd(stage=f"stage{place}", value=value) for place, value in enumerate(values, 1))
    outcome = Scored(value=values[-1])
    log.add("w", RunFinished(
        run=run, proposal=git_hash(tree), outcome=outcome, worker="w", worker_class="cpu", stages=stages
    ))  # fmt: skip


def test_a_threshold_of_a_cascade_that_the_champion_misses_ends_nobody() -> None:
    log = Log(CASCADE)
    log.open(tree=BASE)
    for tree, how in ((BASE, "baseline"), (GOOD, "sampler"), (NEXT, "sampler")):
        log.propose(tree, how=how)
    assert request(log.board, GOOD, "explore").thresholds == {}  # the baseline has no number yet
    scored(log, BASE, 0.36, 0.8)
    asked = request(log.board, GOOD, "explore")
    assert asked.thresholds == {"stage1": -MAX_NUMBER}
    assert steps_of(CASCADE, asked, BASE)[0].spec.score.cascade == (-MAX_NUMBER, 0.75)
    scored(log, GOOD, 0.6, 0.7)
    log.add("cur", ProposalPromoted(proposal=GOOD, round=1, mean=0.7, seeds=(1,), p_better=0.99))
    for tree in (NEXT, GOOD):  # also a search run of the champion itself goes through
        assert request(log.board, tree, "explore").thresholds == {"stage2": -MAX_NUMBER}
    untold = replace(asked, thresholds={})
    assert steps_of(CASCADE, untold, BASE)[0].spec.score.cascade == (0.5, 0.75)
    assert steps_of(CASCADE, replace(untold, lane="confirm"), BASE)[0].spec.score.cascade == (-math.inf, -math.inf)
