"""Every way in which a trial or its scoring can end is an outcome, and every failure is one sentence with its limit."""

import msgspec
import pytest
from msgspec.structs import replace

from gpu_worker.budget import TrialBudget
from gpu_worker.gpu_gauge import Reading
from gpu_worker.outcome import MAX_METRICS, score_outcome, trial_outcome
from gpu_worker.supervisor.protocol import Ending, Limits, Why
from mesh.events import Failed, FailureReason, Infeasible, RunFinished, Scored, ScreenedOut
from mesh.outcomes import how_it_ended
from mesh.testing import git_hash
from mesh_cli.render.words import say
from tests.test_worker import SPEC

LIMITS = Limits(30, memory_mb=2048, disk_mb=4096, processes=512)
SCORING = Limits(20, memory_mb=2048, budget_s=4, beside_budget_s=3)
BUDGET = TrialBudget("cpu", 4.0, 5.5)
NO_GPU = Reading()
SENTENCES: list[tuple[Why, FailureReason, str]] = [
    ("deadline", "timeout", "exceeded its 30 s deadline (killed at 30.1 s)"),
    ("memory", "out_of_memory", "used more than its 2 GB of memory (killed at 2,100 MB)"),
    ("output", "crash", "printed more than 64 MB and was killed"),
    ("disk", "crash", "wrote more than its 4 GB or 100,000 files, or nested folders deeper than 128, and was killed"),
    ("processes", "crash", "had more than 512 processes or 2,048 threads at a time and was killed"),
    ("start", "crash", "could not be started: No such file"),
]


def ending(why: Why = "", rc: int | None = None, out: str = "", err: str = "") -> Ending:
    return Ending(rc, why, seconds=30.1, peak_memory_mb=2100, out=out, err=err, used_s=2.0, beside_s=3.5)


@pytest.mark.parametrize(("why", "reason", "sentence"), SENTENCES)
def test_a_trial_that_exceeds_a_limit_fails_with_the_limit(why: Why, reason: FailureReason, sentence: str) -> None:
    found = trial_outcome(
        SPEC, ending(why, err="No such file"), LIMITS, NO_GPU, 0, killed=False, budget=BUDGET, used_s=1.0
    )
    assert found == Failed(reason=reason, message=f"the trial {sentence}")


@pytest.mark.parametrize("end", [ending("budget"), ending(rc=0), ending(rc=1, err="late"), ending("killed")])
def test_a_trial_that_used_too_much_is_over_budget_however_it_ended(end: Ending) -> None:
    found = trial_outcome(SPEC, end, LIMITS, NO_GPU, 0, killed=False, budget=BUDGET, used_s=5.6)
    text = "the trial used 5.6 s of CPU time; its budget of 4 s allows 5.5 s with tolerance and start-up"
    assert found == Failed(reason="over_budget", message=text)


CUDA_ASSERT = """IndexKernel.cu:111: operator(): block: [0,0,0], thread: [0,0,0] Assertion `index out of bounds` failed.
Traceback (most recent call last):
  File "train.py", line 7, in <module>
    print(x[i])
    ^^^^^^^^^^^
torch.AcceleratorError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call.

Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."""
CUDA_SAID = (
    "torch.AcceleratorError: CUDA error: device-side assert triggered CUDA kernel errors might be asynchronously "
    "reported at some other API call. Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
)


@pytest.mark.parametrize(
    ("end", "reason", "sentence"),
    [
        (ending("killed"), "killed", "the run was stopped after 30.1 s"),
        (ending(rc=1, err="x\nValueError: bad"), "crash", "the trial ended with exit code 1: ValueError: bad"),
        (ending(rc=1, err=CUDA_ASSERT), "crash", f"the trial ended with exit code 1: {CUDA_SAID}"),
        (
            ending(rc=1, err=CUDA_ASSERT + "\nKeyError\n"),
            "crash",
            f"the trial ended with exit code 1: {CUDA_SAID} KeyError",
        ),
        (ending(rc=1, err="  no frame\nA: b\nlast"), "crash", "the trial ended with exit code 1: last"),
        (ending(rc=-9), "crash", "the trial was ended by SIGKILL: it printed no error"),
        (ending(rc=1, err="MemoryError"), "out_of_memory", "the trial ran out of memory: MemoryError"),
    ],
)
def test_a_trial_that_ends_badly_fails_with_its_last_words(end: Ending, reason: FailureReason, sentence: str) -> None:
    found = trial_outcome(SPEC, end, LIMITS, NO_GPU, 0, killed=False, budget=BUDGET, used_s=1.0)
    assert found == Failed(reason=reason, message=sentence)


def test_a_trial_that_ends_well_is_scored_unless_it_was_stopped_or_took_too_much_of_its_gpu() -> None:
    well = ending(rc=0)
    assert trial_outcome(SPEC, well, LIMITS, NO_GPU, 0, killed=False, budget=BUDGET, used_s=1.0) is None
    stopped = trial_outcome(SPEC, well, LIMITS, NO_GPU, 0, killed=True, budget=BUDGET, used_s=1.0)
    assert stopped == Failed(reason="killed", message="the run was stopped after 30.1 s")
    much = Reading(5000, 50, exceeded=True)
    greedy = trial_outcome(SPEC, well, LIMITS, much, 4000, killed=True, budget=BUDGET, used_s=1.0)
    text = "the trial used 5,000 MB of GPU memory, more than its slot's 4,000 MB"
    assert greedy == Failed(reason="out_of_memory", message=text)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (ending(rc=0, out='hello\n{"loss": 2}\n'), Scored(value=2, metrics={"loss": 2})),
        (ending("killed"), Failed(reason="killed", message="the run was stopped while it was scored")),
        (ending("output"), Failed(reason="no_score", message="scoring printed more than 64 MB and was killed")),
        (
            ending("deadline"),
            Failed(
                reason="no_score",
                message="scoring waited too long: 30.1 s of wall time, 2.0 s of CPU time; "
                "its deadline of 4 s of CPU time allows 20 s of wall time",
            ),
        ),
        (
            ending("budget"),
            Failed(reason="no_score", message="scoring used more than its 4 s of CPU time (killed at 2.0 s)"),
        ),
        (
            ending("beside"),
            Failed(
                reason="over_budget",
                message="the code that answers the score program used 3.5 s of CPU time; its budget allows 3 s",
            ),
        ),
        (ending(rc=2, err="oops"), Failed(reason="no_score", message="scoring ended with exit code 2: oops")),
        (
            ending(rc=0),
            Failed(
                reason="no_score",
                message="the last line of the score program must be a JSON object of numbers; it printed nothing",
            ),
        ),
        (
            ending(rc=0, out='{"x": 1}'),
            Failed(reason="no_score", message="the score program did not give the metric 'loss'; it gave x"),
        ),
        (
            ending(rc=0, out='{"loss": 1e200}'),
            Failed(reason="bad_score", message="loss is not a finite number of at most 1e+100"),
        ),
        (ending(rc=0, out='{"loss": 101}'), Failed(reason="bad_score", message="loss is 101, outside [0, 100]")),
        (
            ending(rc=0, out='{"loss": null}'),
            Failed(reason="bad_score", message="loss is not a finite number of at most 1e+100"),
        ),
    ],
)
def test_the_last_line_of_the_score_program_decides(end: Ending, expected: Scored | Failed) -> None:
    assert score_outcome(SPEC, end, SCORING, NO_GPU, 0) == expected


def test_a_score_program_may_print_its_number_as_people_do() -> None:
    spec = replace(SPEC, score=replace(SPEC.score, pattern=r"loss: ([\d.]+)"))
    end = ending(rc=0, out="rows: 3\nloss: 9\nloss: 2.5 (5/2)\ndone\n")
    assert score_outcome(spec, end, SCORING, NO_GPU, 0) == Scored(
        value=2.5, metrics={"loss": 2.5, "rows": 3.0}, self_reported=False
    )
    found = score_outcome(spec, ending(rc=0, out="rows: 3\n"), SCORING, NO_GPU, 0)
    assert isinstance(found, Failed)
    assert "finds no loss" in found.message


def test_a_trial_that_wants_the_network_is_told_what_to_do() -> None:
    end = ending(rc=1, err="x\nopenai.APIConnectionError: Connection error.")
    found = trial_outcome(SPEC, end, LIMITS, NO_GPU, 0, killed=False, budget=BUDGET, used_s=1.0)
    assert isinstance(found, Failed)
    assert "Connection error.; trials have no network: where it asks a model, score with [judge]" in found.message
    online = replace(SPEC, trial=replace(SPEC.trial, network=True))
    found = trial_outcome(online, end, LIMITS, NO_GPU, 0, killed=False, budget=BUDGET, used_s=1.0)
    assert found == Failed(
        reason="crash", message="the trial ended with exit code 1: openai.APIConnectionError: Connection error."
    )


def test_metrics_beside_the_objective_are_bounded() -> None:
    many = msgspec.json.encode({"loss": 1} | {f"m{n}": n for n in range(1000)}).decode()
    found = score_outcome(SPEC, ending(rc=0, out=many), SCORING, NO_GPU, 0)
    assert isinstance(found, Scored)
    assert len(found.metrics) == MAX_METRICS


@pytest.mark.parametrize(
    ("outcome", "ended", "told"),
    [
        (Scored(value=0.5), "scored", "0.5000"),
        (Failed(reason="killed", message="the run was stopped after 1.3 s"), "stopped early", "stopped early"),
        (Failed(reason="over_budget", message="used 12 s"), "failed (over_budget)", "failed (over_budget): used 12 s"),
        (
            Infeasible(message="p95_ms is 60", value=1.0, violation=0.2),
            "infeasible",
            "infeasible (1.0000): p95_ms is 60",
        ),
        (ScreenedOut(message="smoke ended it", stage="smoke", value=1, violation=1), "screened out", "smoke ended it"),
    ],
)
def test_a_run_that_was_stopped_is_not_called_a_failure(outcome: Scored | Failed, ended: str, told: str) -> None:
    done = RunFinished(run="r1", proposal=git_hash("t"), outcome=outcome, worker="w", worker_class="cpu", trial_s=1.3)
    assert how_it_ended(outcome) == ended
    assert say(done) == f"finished r1: {told} in 1.3 s"
