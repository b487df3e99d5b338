"""What a worker does with budgets: a run over its budget fails in one sentence, and what counts is what it measures."""

import textwrap
from pathlib import Path

import msgspec
import pytest

from gpu_worker.budget import ScoreBudget, TrialBudget, score_budget, trial_budget
from gpu_worker.machine import Slot
from mesh.events import Failed, RunFinished, Scored
from mesh.memory import MemoryHub
from mesh.spec import ArenaSpec, ScoreSpec
from tests.test_worker import GOOD, SPEC, Arena

TRIAL = msgspec.structs.replace(SPEC.trial, budget_tolerance=1.0, startup_s=0.5)
BURN = "def burn(seconds):\n    while time.process_time() < seconds: pass\n"
CPU, GPU = Slot(0, "cpu", 2), Slot(0, "cuda:0", 1, cuda_index="0")


@pytest.fixture
async def arena(tmp_path: Path) -> Arena:
    return Arena(await MemoryHub().arena("a", create=True), tmp_path)


def spec(predict: tuple[str, ...] = (), predict_budget_s: float = 0.0, **trial: object) -> ArenaSpec:
    score = ScoreSpec(how="command", command=("python", "score.py"), predict=predict, predict_budget_s=predict_budget_s)
    return msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(TRIAL, **trial), score=score)


def over(done: RunFinished) -> str:
    assert isinstance(done.outcome, Failed)
    assert done.outcome.reason == "over_budget"
    return done.outcome.message


@pytest.mark.parametrize(
    "overstay",
    [
        "burn(40)",
        "os.environ['MESH_BUDGET_S'] = '40'; burn(float(os.environ['MESH_BUDGET_S']))",
        "import subprocess; subprocess.Popen([sys.executable, '-c', 'while True: pass']); time.sleep(40)",
    ],
)
async def test_a_trial_that_overstays_is_ended_and_gets_no_score(arena: Arena, overstay: str) -> None:
    await arena.open(spec())
    done = await arena.run(GOOD + BURN + overstay, deadline_s=50)
    assert over(done).startswith("the trial used ")
    assert over(done).endswith(" s of CPU time; its budget of 1 s allows 1.5 s with tolerance and start-up")
    assert (done.budget_counts, 1.5 < done.budget_used_s < 10) == ("cpu", True)


async def test_wall_time_counts_where_the_arena_says_so(arena: Arena) -> None:
    await arena.open(spec(budget_counts="wall", budget_tolerance=1.25, startup_s=0.1))
    done = await arena.run(GOOD + "time.sleep(40)", deadline_s=50)
    assert over(done).endswith(" s of wall time; its budget of 1 s allows 1.35 s with tolerance and start-up")
    assert (done.budget_counts, 1.35 < done.budget_used_s < 40) == ("wall", True)


async def test_how_far_a_trial_is_says_the_worker_and_not_the_trial(arena: Arena) -> None:
    await arena.open(spec())
    report = """
    report = open(os.environ["MESH_REPORT"], "a", buffering=1)
    def tell(step, fraction):
        report.write(json.dumps({"step": step, "value": 1.0, "fraction": fraction}) + "\\n")
        time.sleep(0.5)
    tell(1, 1.0)
    burn(0.6)
    tell(2, 0.01)
    """
    done = await arena.run(GOOD + BURN + textwrap.dedent(report))
    assert isinstance(done.outcome, Scored)
    early, late = done.curve
    assert early.fraction < 0.5 < late.fraction
    assert late.fraction == pytest.approx(done.budget_used_s, abs=0.2)


ASK = """
import json, os
if "MESH_PREDICTOR" in os.environ: answer = os.fdopen(4, "rb").read(1)
print(json.dumps({"loss": 1.0}))
"""
PREDICT = 'import sys, time\nwhile time.process_time() < {seconds}: pass\nsys.stdout.write("x")\n'


async def test_the_code_that_answers_the_scorer_has_a_budget_too(arena: Arena) -> None:
    program = spec(predict=("python", "-c", PREDICT.format(seconds=9)), predict_budget_s=0.3)
    await arena.open(program, score=ASK)
    done = await arena.run("pass")
    assert over(done).startswith("the code that answers the score program used ")
    assert over(done).endswith(" s of CPU time; its budget allows 0.3 s")
    assert 0.3 < done.predict_s < 8


async def test_a_score_program_with_a_predictor_is_measured_apart(arena: Arena) -> None:
    program = spec(predict=("python", "-c", PREDICT.format(seconds=0.3)), predict_budget_s=5)
    await arena.open(program, score=ASK)
    done = await arena.run("pass")
    assert isinstance(done.outcome, Scored)
    assert 0.3 < done.predict_s < 3
    assert 0 < done.budget_used_s < 1


def test_what_counts_depends_on_the_slot_and_on_what_the_arena_says() -> None:
    def counts(says: str, slot: Slot, *, sees_gpu: bool = True) -> str:
        return trial_budget(spec(budget_counts=says), 4.0, slot, sees_gpu=sees_gpu).counts

    assert [counts(says, CPU) for says in ("auto", "cpu", "wall", "gpu")] == ["cpu", "cpu", "wall", "cpu"]
    assert [counts(says, GPU) for says in ("auto", "cpu", "wall", "gpu")] == ["wall", "cpu", "wall", "gpu"]
    assert counts("gpu", GPU, sees_gpu=False) == "wall"


def test_programs_that_know_of_no_budget_have_none() -> None:
    foreign = spec(command=())
    assert trial_budget(foreign, 300.0, CPU, sees_gpu=False) == TrialBudget("wall", 300.0, 0.0)


def test_scoring_is_counted_in_cpu_time_on_a_cpu_and_in_wall_time_on_a_gpu() -> None:
    assert score_budget(spec(), CPU) == ScoreBudget("cpu", 60.0, 305.0, 60.0)
    assert score_budget(spec(predict_budget_s=7), CPU) == ScoreBudget("cpu", 60.0, 305.0, 7.0)
    assert score_budget(spec(), GPU) == ScoreBudget("wall", 60.0, 60.0, 0.0)
