"""A worker runs stages in order: short trials first, the full trial once, and nothing after a missed threshold."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mesh.events import Failed, Scored, ScreenedOut
from mesh.memory import MemoryHub
from mesh.spec import ScoreSpec
from mesh.stages import StageSpec
from tests.test_worker import SPEC, Arena

TRIAL = """
told = {name: os.environ.get(name) for name in ("MESH_STAGE", "MESH_BUDGET_S")}
(out / "told").write_text(json.dumps(told))
(out / "loss").write_text("SHORT" if told["MESH_STAGE"] else "LOSS")
"""
SCORE = """
import json, os, pathlib
out = pathlib.Path(os.environ["MESH_OUT"])
told = json.loads((out / "told").read_text())
asked = os.fdopen(3, "w"); print("?", file=asked, flush=True)
predictor = os.fdopen(4).readline().strip()
left = pathlib.Path(os.environ["TMPDIR"], "left")
seen = {"trial_stage": float(told["MESH_STAGE"] == "smoke"), "trial_s": float(told["MESH_BUDGET_S"])}
seen["predictor_stage"] = float(predictor)
seen["left_behind"] = float(left.exists())
left.write_text("x")
stage = os.environ.get("MESH_STAGE")
if stage == "smoke":
    print(json.dumps({"tests": float((out / "loss").read_text()), **seen}))
else:
    print(json.dumps({"loss": float((out / "loss").read_text()) + (stage == "full"), **seen}))
"""
PREDICT = "import os; input(); print(int('MESH_STAGE' in os.environ))"
STAGES = (
    StageSpec(name="smoke", budget_s=0.5, metric="tests", at_least=3.0),
    StageSpec(name="dev", at_most=3.0),
    StageSpec(name="full"),
)
SCORING = ScoreSpec(
    how="command", command=("python", "score.py"), predict=("python", "-c", PREDICT), deadline_s=20, stage=STAGES
)


def trial(loss: float, short: float) -> str:
    return TRIAL.replace("LOSS", str(loss)).replace("SHORT", str(short))


async def opened(tmp_path: Path, score: ScoreSpec = SCORING, **fields: Any) -> Arena:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open(replace(SPEC, score=score, **fields), score=SCORE)
    return arena


async def test_each_stage_sees_its_own_trial_and_a_candidate_ends_where_it_misses_a_threshold(tmp_path: Path) -> None:
    arena = await opened(tmp_path)
    async with arena.worker():
        for name, loss, short, lane in (
            ("good", 2.0, 3.0, "explore"), ("smoke", 2.0, 1.0, "explore"), ("dev", 4.2, 3.0, "explore"),
            ("proof", 4.5, 1.0, "confirm"),
        ):  # fmt: skip
            await arena.request(trial(loss, short), name, lane=lane)
            await arena.finished(name)
    good, smoke, dev, proof = [await arena.finished(name) for name in ("good", "smoke", "dev", "proof")]

    assert isinstance(good.outcome, Scored), good.outcome
    seen = {"trial_stage": 0.0, "trial_s": 1.0, "predictor_stage": 0.0, "left_behind": 0.0}
    assert good.outcome.value == 3.0
    assert good.outcome.metrics == {"loss": 3.0, **seen}
    assert [(end.stage, end.value) for end in good.stages] == [("smoke", 3.0), ("dev", 2.0), ("full", 3.0)]
    assert [end.trial_s > 0 for end in good.stages] == [True, True, False]
    assert good.trial_s == pytest.approx(sum(end.trial_s for end in good.stages), abs=0.01)
    assert good.score_s == pytest.approx(sum(end.score_s for end in good.stages), abs=0.01)

    seen_short = {"trial_stage": 1.0, "trial_s": 0.5, "predictor_stage": 0.0, "left_behind": 0.0}
    assert smoke.outcome == ScreenedOut(
        message="stopped at stage smoke: tests is 1, but must be at least 3",
        stage="smoke",
        value=1.0,
        violation=2 / 3,
        left=2,
        metrics={"tests": 1.0, **seen_short},
    )
    assert [(end.stage, end.value) for end in smoke.stages] == [("smoke", 1.0)]

    assert isinstance(dev.outcome, ScreenedOut)
    assert dev.outcome.message == "stopped at stage dev: loss is 4.2, but must be at most 3"
    assert (dev.outcome.stage, dev.outcome.value, dev.outcome.left) == ("dev", 4.2, 1)

    assert isinstance(proof.outcome, Scored)  # proof runs the last stage alone: a threshold would select lucky scores
    assert [(end.stage, end.value) for end in proof.stages] == [("full", 5.5)]


async def test_a_stage_with_a_program_of_its_own_starts_no_code_of_the_candidate_beside_it(tmp_path: Path) -> None:
    lint = """
import json, os
print(json.dumps({"beside": float("MESH_PREDICTOR" in os.environ or os.path.exists("/dev/fd/4"))}))
"""
    stage = StageSpec(name="lint", command=("python", "-c", lint), metric="beside", at_most=0.0)
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    spec = replace(SPEC, score=replace(SCORING, stage=(stage, StageSpec(name="full"))))
    await arena.open(spec, score=SCORE)
    async with arena.worker():
        await arena.request(trial(2.0, 3.0))
        done = await arena.finished()
    assert isinstance(done.outcome, Scored), done.outcome  # the last stage has the predictor, which answers
    assert [(end.stage, end.value) for end in done.stages] == [("lint", 0.0), ("full", 3.0)]


async def test_a_stage_that_fails_is_a_failure_that_names_it(tmp_path: Path) -> None:
    stages = (StageSpec(name="lint", command=("python", "-c", "raise SystemExit('not clean')")), *STAGES[1:])
    arena = await opened(tmp_path, replace(SCORING, stage=stages, predict=()))
    async with arena.worker():
        await arena.request(trial(2.0, 3.0))
        done = await arena.finished()
    assert done.outcome == Failed(reason="no_score", message="at stage lint: scoring ended with exit code 1: not clean")
    assert [(end.stage, end.value) for end in done.stages] == [("lint", None)]


async def test_a_score_that_the_trial_prints_has_stages_too(tmp_path: Path) -> None:
    stages = (StageSpec(name="short", budget_s=0.5, at_most=3.0), StageSpec(name="full"))
    score = ScoreSpec(how="stdout", pattern="loss=(.*)", stage=stages)
    arena = await opened(tmp_path, score)
    printed = 'print(f\'loss={VALUE + float(os.environ["MESH_BUDGET_S"]) - bool(os.environ.get("MESH_STAGE"))}\')'
    async with arena.worker():
        await arena.request(printed.replace("VALUE", "4"), "bad")
        await arena.request(printed.replace("VALUE", "2"), "good")
        bad, good = (await arena.finished("bad")).outcome, (await arena.finished("good")).outcome
    assert isinstance(bad, ScreenedOut), bad
    assert bad.message == "stopped at stage short: loss is 3.5, but must be at most 3"
    assert bad.self_reported
    assert good == Scored(value=3.0, metrics={"loss": 3.0}, self_reported=True)
