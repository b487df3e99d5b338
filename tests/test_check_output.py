"""What `mesh check` says of a baseline without a score: one sentence for each cause, with what the run printed."""

import subprocess
import sys
from pathlib import Path

import pytest

from mesh.events import Failed
from mesh.labelled_numbers import missing_metric
from mesh_cli.setup.check_result import BaselineRun, Checked
from mesh_cli.setup.check_view import check_lines, check_problems

ARENA = """
[arena]
name = "number"
[objective]
metric = "number"
direction = "maximize"
[artifact]
editable = ["number.py"]
[trial]
command = ["python", "number.py"]
budget_s = 2.0
deadline_s = 20.0
[score]
how = "stdout"
pattern = "F1: (.*)"
"""


def test_a_baseline_that_prints_another_number_says_which_it_prints(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.mkdir()
    (number / "number.py").write_text('print("Accuracy: 0.75")\nprint("Loss: 0.1")\n')
    (number / "arena.toml").write_text(ARENA)
    command = [sys.executable, "-m", "mesh_cli", "check", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path)
    assert done.returncode == 1
    why = "score.pattern finds no number in what the run printed; it printed accuracy 0.75, loss 0.1"
    lines = done.stdout.splitlines()
    assert f"because no_score: {why}" in " ".join(done.stdout.split())
    assert not any(line.lstrip().startswith("output") for line in lines)
    assert lines[-1] == "not ready: 1 problem"
    assert done.stderr.splitlines()[-1] == f"mesh: the baseline failed on every seed: no_score: {why}"


def test_a_cause_that_fails_several_seeds_is_one_problem_and_two_causes_are_two() -> None:
    late = [f"the trial used {seconds} s of CPU time" for seconds in (3.1, 3.2)]
    ended = [Failed(reason="over_budget", message=text) for text in late]
    crash = Failed(reason="crash", message="the trial ended with exit code 1: no module")
    two = tuple(BaselineRun(seed, outcome, 1.0, 0.0) for seed, outcome in enumerate(ended, 1))
    assert check_problems(Checked("a", "loss", two, ())) == [
        f"the baseline failed on every seed: over_budget: {late[0]}"
    ]
    both = Checked("a", "loss", (*two, BaselineRun(3, crash, 1.0, 0.0)), ())
    assert check_problems(both)[0].startswith("the baseline failed on seeds 1, 2: over_budget")
    assert check_lines(both)[-1] == "not ready: 2 problems"


@pytest.mark.parametrize(
    ("metric", "out", "err", "sentence"),
    [
        (
            "accurcy",
            "Accuracy: 0.9\nloss = 1e-3\n",
            "",
            "in what the run printed; it printed accuracy 0.9, loss 0.001: did you mean accuracy?",
        ),
        ("f1", "step 1 acc: 1\nstep 2 acc: 2\n", "", "it printed acc 2"),
        ("f1", "done\n", "", "its last line is 'done'"),
        ("f1", "", "f1: 0.5\n", "but numbers to standard error: f1; add 2>&1 to the command"),
        ("f1", "", "", "the run printed nothing, so it has no f1"),
    ],
)
def test_a_metric_that_a_run_does_not_print_is_named_beside_those_that_it_prints(
    metric: str, out: str, err: str, sentence: str
) -> None:
    assert sentence in missing_metric(metric, out, err)
