"""What `mesh check` says of a baseline without a score: one sentence for each cause, with what the run printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh.events import Failed
from mesh.labelled_numbers import missing_metric
from mesh_cli.setup.check_facts import ArenaFacts, KnobRange, arena_facts
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path)
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


def test_a_prepare_that_fails_leaves_its_output_beside_the_folder_and_nothing_in_it(tmp_path: Path) -> None:
    folder, temporary = tmp_path / "number", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    (folder / "number.py").write_text('print("F1: 0.75")\n')
    (folder / "prepare.py").write_text('print("reading the table")\nraise SystemExit("no table")\n')
    prepare = 'editable = ["number.py"]\nprepare = ["python", "prepare.py"]'
    (folder / "arena.toml").write_text(ARENA.replace('editable = ["number.py"]', prepare))
    env = {name: value for name, value in os.environ.items() if name != "MESH_HOME"} | {"TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "mesh_cli", "check", "."]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=folder, env=env)
    assert done.returncode == 2
    said = re.search(r"no table \(its whole output: (.*)\)$", done.stderr.splitlines()[-1])
    assert said
    assert "reading the table" in Path(said[1]).read_text()
    assert Path(said[1]).is_relative_to(temporary)
    assert sorted(path.name for path in folder.iterdir()) == ["arena.toml", "number.py", "prepare.py"]


def test_a_range_that_the_search_may_move_is_called_a_guess() -> None:
    for guesses in (0, 1, 2):
        knobs = tuple(KnobRange(f"K{n}", "1", "0.1 .. 10 log", "a.py", is_guess=n < guesses) for n in range(2))
        shown = " ".join(" ".join(check_lines(Checked("a", "loss", (), (), facts=ArenaFacts(knobs=knobs)), 80)).split())
        said = f"guessed from the value: {guesses} of 2 ranges. The search moves such a range along"
        assert (said in shown) is (guesses > 0)


def test_the_ranges_that_nobody_gave_are_guesses(tmp_path: Path) -> None:
    (tmp_path / "number.py").write_text("GIVEN = 1.0  # mesh: 0.5..2\nGUESSED = 1.0\n")
    (tmp_path / "arena.toml").write_text(ARENA)
    knobs = arena_facts(tmp_path, load_arena(tmp_path)).knobs
    assert {knob.name: knob.is_guess for knob in knobs} == {"GIVEN": False, "GUESSED": True}
