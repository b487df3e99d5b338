"""`mesh init`: what it sees in folders of many kinds, what it asks, and the arena.toml that it writes."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh.errors import BadArena, BadInput
from mesh_cli.setup.first_look.folder_view import view_folder
from mesh_cli.setup.first_look.guesses import guess
from mesh_cli.setup.first_look.printed_numbers import named_pattern, printed_numbers
from mesh_cli.setup.first_look.run_lines import shown_command
from mesh_cli.setup.init_arena import init_arena
from mesh_cli.setup.init_plan import InitWish
from tests.support.terminal import Terminal

CLASSIFIER = """
import numpy as np
ALPHA = 0.5
score = np.tanh(ALPHA)
print(f"Train accuracy: {score + 0.1:.3f}")
print(f"Test accuracy: {score:.3f}")
"""
MAKEFILE = """CC = cc
sort: sort.c
\t$(CC) -O2 -o $@ $<

bench: sort
\t./sort 1000
"""
SORT = r"""
#include <stdio.h>
#define CUTOFF 16
int main(void) {
  printf("checksum: %d\n", CUTOFF);
  printf("elapsed: %.3f ms\n", 1.5);
  return 0;
}
"""
RULES = '{"threshold": 0.9, "weights": {"amount": 0.2}}'
SCORE = """
import json
rules = json.load(open("rules.json"))
rows = open("labels.csv").read()
print("precision: %.4f" % rules["threshold"])
print("f1: %.4f" % rules["threshold"])
"""
EVAL = """
import json
from pathlib import Path
prompt = Path("prompt.txt").read_text()
print(json.dumps({"pass_rate": len(prompt) / 100, "length": len(prompt)}))
"""
PROGRAM = """You may ONLY edit `train.py`. Run `uv run train.py > run.log`, then `grep "^val_loss:" run.log`.
The goal is the lowest val_loss. git reset if it is worse. Write to results.tsv."""
KINDS = {
    "script": (
        {"train.py": CLASSIFIER},
        ("train.py",),
        ("python", "train.py"),
        "test_accuracy",
        "maximize",
        "stdout",
    ),
    "c": (
        {"Makefile": MAKEFILE, "sort.c": SORT, "README.md": "Build it with `make`."},
        ("sort.c",),
        ("make", "-s", "bench"),
        "elapsed_ms",
        "minimize",
        "stdout",
    ),
    "rules": (
        {"rules.json": RULES, "score.py": SCORE, "labels.csv": "1\n", "README.md": "The higher f1 the better."},
        ("rules.json",),
        ("python", "score.py"),
        "f1",
        "maximize",
        "stdout",
    ),
    "prompt": (
        {"prompt.txt": "Answer.\n", "eval.py": EVAL},
        ("prompt.txt",),
        ("true",),
        "pass_rate",
        "maximize",
        "command",
    ),
    "node": (
        {
            "package.json": '{"scripts": {"bench": "node bench.js"}}',
            "bench.js": 'import {f} from "./lib.js";\nconsole.log(`ops_per_sec: ${f()}`);\n',
            "lib.js": "export const RATE = 0.5;\nexport function f() { return RATE; }\n",
        },
        ("lib.js",),
        ("node", "bench.js"),
        "ops_per_sec",
        "maximize",
        "stdout",
    ),
}


def folder_of(tmp_path: Path, files: dict[str, str], name: str = "mine") -> Path:
    """A folder with these files."""
    for path, text in files.items():
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_text(text)
    return tmp_path / name


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, so that the names of other arenas do not count."""
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))


def made(folder: Path, wish: InitWish | None = None) -> list[str]:
    """Run `mesh init` where nobody can be asked; return what it says."""
    said: list[str] = []
    init_arena(folder, wish or InitWish(yes=True), None, said.append)
    return said


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "node"])
def test_a_folder_becomes_an_arena_by_its_guesses(kind: str, tmp_path: Path) -> None:
    files, editable, command, metric, direction, how = KINDS[kind]
    folder = folder_of(tmp_path, files)
    made(folder)
    spec = load_arena(folder)
    assert (spec.artifact.editable, spec.trial.command) == (editable, command)
    assert (spec.objective.metric, spec.objective.direction, spec.score.how) == (metric, direction, how)
    assert spec.trial.exclusive == (kind == "c")


def test_a_package_of_node_is_run_by_its_script(tmp_path: Path) -> None:
    files, editable, command, metric, direction, _ = KINDS["node"]
    found = guess(view_folder(folder_of(tmp_path, files)))
    assert (found.editable, found.runs[0].words) == (editable, command)
    assert found.metric is not None
    assert (found.metric.name, found.direction) == (metric, direction)


@pytest.mark.parametrize(
    ("makefile", "line"),
    [
        ("run: sort.c\n\t$(CC) -O3 -o run sort.c\nfast: sort.c\n\tcc -o run sort.c\n", "make -s && ./run"),
        ("bench: sort.c\n\tcc sort.c -o b\nrun: bench\n\t./b 100\n", "make -s run"),
        ("lib.o: sort.c\n\tcc -c -o lib.o sort.c\nbench: lib.o\n\tcc lib.o -o b\n", "make -s bench && ./b"),
    ],
)
def test_a_target_that_only_builds_is_no_run(makefile: str, line: str, tmp_path: Path) -> None:
    found = guess(view_folder(folder_of(tmp_path, {"Makefile": makefile, "sort.c": SORT})))
    assert shown_command(found.runs[0].words) == line
    assert found.editable == ("sort.c",)


@pytest.mark.parametrize(
    ("file", "source", "name", "output"),
    [
        ("a.py", 'print(f"Accuracy: {x:.2f}")', "accuracy", "Accuracy: 0.25"),
        ("a.py", 'print("Accuracy:", x)', "accuracy", "Accuracy: 0.25"),
        ("a.py", 'print("val loss = %.3f" % x)', "val_loss", "val loss = 0.25"),
        ("a.py", 'print("score {:.3f}".format(x))', "score", "score 0.25"),
        ("a.py", 'print("AUC: " + str(x))', "auc", "AUC: 0.25"),
        ("a.py", 'print(json.dumps({"f1": x, "n": 3}))', "f1", '{"n": 3, "f1": 0.25}'),
        ("a.py", 'out = {"f1": x}\nprint(json.dumps(out))', "f1", '{"f1": 0.25}'),
        ("a.py", "rmse = 3\nprint(rmse)", "rmse", "0.25"),
        ("a.py", 'logger.info(f"time: {t:.1f} ms")', "time_ms", "time: 0.25 ms"),
        ("a.c", r'printf("Time: %.3f ms\n", ms);', "time_ms", "Time: 0.25 ms"),
        ("a.c", r'printf("{\"loss\": %f}\n", ms);', "loss", '{"loss": 0.25}'),
        ("a.cpp", 'std::cout << "elapsed: " << t << " s\\n";', "elapsed_s", "elapsed: 0.25 s"),
        ("a.rs", 'println!("score: {}", s);', "score", "score: 0.25"),
        ("a.rs", 'println!("score: {s:.3}");', "score", "score: 0.25"),
        ("a.go", r'fmt.Printf("loss=%v\n", l)', "loss", "loss=0.25"),
        ("a.js", "console.log(`Score: ${s}`);", "score", "Score: 0.25"),
        ("a.js", 'console.log("Score:", s);', "score", "Score: 0.25"),
        ("a.c", r'fprintf(stderr, "achieved tok/s: %f\n", s);', "achieved_tok_per_s", "achieved tok/s: 0.25"),
        ("a.sh", 'echo "wins: $W"', "wins", "wins: 0.25"),
        ("a.R", 'cat("rmse:", r, "\\n")', "rmse", "rmse: 0.25"),
        ("a.jl", 'println("cost = ", c)', "cost", "cost = 0.25"),
    ],
)
def test_what_programs_print_has_a_name_and_a_pattern_that_finds_it(
    file: str, source: str, name: str, output: str
) -> None:
    [number] = [each for each in printed_numbers(file, source) if each.name == name]
    assert re.findall(number.pattern, f"epoch 1\n{output}\n", re.MULTILINE) == ["0.25"]


@pytest.mark.parametrize("output", ["Val_Loss: 0.25", "val loss 0.25", '"val_loss": 0.25', "val-loss=0.25"])
def test_a_name_that_nobody_prints_by_a_known_call_has_a_pattern_too(output: str) -> None:
    assert re.findall(named_pattern("val_loss"), output, re.MULTILINE) == ["0.25"]


@pytest.mark.parametrize(
    ("files", "wish", "sentence"),
    [
        ({"a.py": 'print(f"zork: {1}")\n'}, InitWish(yes=True), "say it with --direction min or --direction max"),
        (
            {"a.py": "x = 1\n"},
            InitWish(yes=True),
            "it is not clear which number is the score: say it with --metric NAME",
        ),
        ({"notes.md": "words\n"}, InitWish(yes=True), "it is not clear which files may change: say it with --editable"),
        (
            {"train.py": CLASSIFIER},
            InitWish(),
            "nobody can be asked here. Guessed: what may change 'train.py', the command 'python train.py', the score "
            "'test_accuracy', its direction 'max'. Take the guesses with --yes, or say otherwise with --editable",
        ),
        (
            {"a.py": 'print(f"zork: {1}")\n'},
            InitWish(run="python a.py"),
            "guessed: what may change 'a.py', the score 'zork'; not clear: say its direction with --direction min or "
            "--direction max; --yes takes the guesses",
        ),
        ({"notes.md": "words\n"}, InitWish(), "nobody can be asked here. not clear: say what may change with --edit"),
        ({"train.py": CLASSIFIER}, InitWish(yes=True, editable=("x.py",)), "'x.py' is not a file in"),
        ({"train.py": CLASSIFIER}, InitWish(yes=True, pattern="acc"), "with one group around the number"),
        ({"train.py": CLASSIFIER}, InitWish(yes=True, run="python 'a"), "which no shell reads"),
        ({".gitignore": "*.pyc\n"}, InitWish(yes=True), "mesh new digits"),
        ({"a.csv": "1,2\n", "b.tsv": "1\t2\n"}, InitWish(yes=True), "mesh new invoices my-arena --data"),
    ],
)
def test_what_is_not_clear_is_refused_in_a_sentence_with_its_option(
    files: dict[str, str], wish: InitWish, sentence: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, files)
    with pytest.raises(BadInput) as caught:
        made(folder, wish)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "arena.toml").exists()


def test_an_arena_is_never_overwritten_and_force_keeps_the_former_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"train.py": CLASSIFIER, "arena.toml": "# mine\n"})
    with pytest.raises(BadArena, match=r"arena\.toml exists: change it there, or give --force"):
        made(folder)
    assert (folder / "arena.toml").read_text() == "# mine\n"
    with pytest.raises(BadInput, match="--direction"):
        made(folder, InitWish(yes=True, force=True, metric="zork"))
    assert (folder / "arena.toml").read_text() == "# mine\n"
    made(folder, InitWish(yes=True, force=True))
    assert (folder / "arena.toml.bak").read_text() == "# mine\n"
    assert "arena.toml.bak" in load_arena(folder).artifact.ignore


def test_what_people_leave_in_a_folder_is_left_out_and_what_git_tracks_is_not(tmp_path: Path) -> None:
    files = {"train.py": CLASSIFIER, "run.log": "x", "runs.sqlite3": "x", "logs/a.txt": "x", ".gitignore": "cache/\n"}
    folder = folder_of(tmp_path, files | {"cache/x": "x", "outputs/kept.csv": "x", "CACHE.log": "x"})
    (folder / "sort").write_bytes(b"\x7fELF\x02\x01\x01\x00")
    venv.create(folder / "env", with_pip=False)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-f", "train.py", "outputs/kept.csv", ".gitignore"], cwd=folder, check=True)
    view = view_folder(folder)
    assert view.names == (".gitignore", "outputs/kept.csv", "train.py")
    assert (view.tracked, view.environment) == (3, "env")
    assert set(view.apart) == {"env", "cache", "logs", "run.log", "runs.sqlite3", "CACHE.log", "sort"}


def test_a_fork_of_autoresearch_in_a_folder_that_is_lived_in_is_written_as_mesh_up_would(tmp_path: Path) -> None:
    files = {"program.md": PROGRAM, "train.py": 'LR = 0.1\nprint(f"val_loss: {LR}")\n', "run.log": "x"}
    folder = folder_of(tmp_path, files | {"prepare.py": "TIME_BUDGET = 3\n", "results.tsv": "commit\tval_loss\n"})
    said = made(folder)
    spec = load_arena(folder)
    assert (spec.objective.metric, spec.objective.direction, spec.trial.budget_s) == ("val_loss", "minimize", 3.0)
    assert "is a task of karpathy/autoresearch" in said[0]
    assert "`mesh up` opens such a task as it is" in said[0]


def test_a_file_that_is_too_large_becomes_data_at_its_place(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"train.py": CLASSIFIER + 'open("data/big.csv")\n'})
    (folder / "data").mkdir()
    (folder / "data" / "big.csv").write_bytes(b"1,2\n" * 2_200_000)
    made(folder)
    spec = load_arena(folder)
    assert (spec.data.source, spec.artifact.prepared) == ("data/big.csv", ("data/big.csv",))
    assert "/data/big.csv" in spec.artifact.ignore


def test_a_score_may_be_in_a_file_or_come_from_a_program(tmp_path: Path) -> None:
    files = {"train.py": "x = 1\n", "score.sh": "echo '{\"mae\": 1}'\n"}
    folder = folder_of(tmp_path, files)
    made(folder, InitWish(yes=True, editable=("train.py",), run="python3 train.py", file="out/m.json:test.f1"))
    spec = load_arena(folder)
    assert (spec.score.how, spec.score.file, spec.score.key) == ("file", "out/m.json", "test.f1")
    assert (spec.objective.metric, spec.objective.direction) == ("f1", "maximize")
    wish = InitWish(
        yes=True, force=True, editable=("train.py",), run="python train.py", scorer="bash score.sh", metric="mae"
    )
    made(folder, wish)
    spec = load_arena(folder)
    assert (spec.score.how, spec.score.command, spec.objective.direction) == (
        "command",
        ("bash", "score.sh"),
        "minimize",
    )


def test_the_terminal_shows_what_was_seen_and_asks_with_the_guesses(tmp_path: Path) -> None:
    files = KINDS["rules"][0]
    folder = folder_of(tmp_path, files)
    with Terminal("init", str(folder), MESH_HOME=str(tmp_path / "home")) as screen:
        screen.until(r"prints +f1")
        screen.until(r"1\. What may change\?[^\[]*\[rules\.json\]")
        screen.press("\r")
        screen.until(r"2\. How is it run\?[^\[]*\[python score\.py\]")
        screen.press("\r")
        screen.until(r"How many seconds")
        screen.press("5\r")
        screen.until(r"3\. How is it scored\?")
        screen.press("precision\r")
        screen.until(r"lower or a higher precision better\?")
        screen.press("higher\r")
        screen.until(r"next: mesh check")
    spec = load_arena(folder)
    assert (spec.objective.metric, spec.trial.budget_s) == ("precision", 5.0)


def test_a_metric_that_no_program_prints_is_said_at_once_with_the_nearest_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, {"train.py": CLASSIFIER})
    made(folder, InitWish(yes=True, metric="test_acuracy", direction="maximize"))
    said = capsys.readouterr().err
    assert said.startswith("mesh: no text of a program here prints test_acuracy; they print test_accuracy")
    assert said.endswith(": did you mean test_accuracy?\n")


def test_a_program_that_is_not_read_is_run_once_if_its_owner_agrees(tmp_path: Path) -> None:
    files = {"go.py": 'import sys\nLINE = "Hit rate: 0.5\\nMiss rate: 0.25\\n"\nsys.stdout.writelines([LINE])\n'}
    folder = folder_of(tmp_path, files)
    with Terminal(
        "init", str(folder), "--editable", "go.py", "--run", f"{sys.executable} go.py", "--budget", "5",
        "--metric", "hitrate", "--direction", "max", MESH_HOME=str(tmp_path / "home"),
    ) as screen:  # fmt: skip
        screen.until(r"No text of a program here prints hitrate")
        screen.press("yes\r")
        screen.until(r"it printed hit_rate 0\.5, miss_rate 0\.25")
        screen.until(r"Which number is the score\?[^\[]*\[hit_rate\]")
        screen.press("\r")
        screen.until(r"next: mesh check")
    spec = load_arena(folder)
    assert spec.objective.metric == "hit_rate"
    assert re.findall(spec.score.pattern, "Hit rate: 0.5", re.MULTILINE) == ["0.5"]


def test_the_command_says_what_it_saw_and_what_comes_next(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, KINDS["c"][0])
    command = [sys.executable, "-m", "mesh_cli", "init", "--yes", "--budget", "5"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "mine: 3 files"
    assert "  runs      make -s bench  (Makefile line 5)" in lines
    assert "  prints    elapsed: … ms  (sort.c line 6)" in lines
    assert lines[-1].startswith("next: mesh check")
    assert all(len(line) <= 80 for line in lines)


def test_a_number_that_is_printed_as_an_error_is_read_too_and_a_rate_is_better_where_it_is_higher(
    tmp_path: Path,
) -> None:
    source = 'int main(void) { fprintf(stderr, "speed tok/s: %f\\n", 2.5); return 0; }\n'
    folder = folder_of(tmp_path, {"run.c": source, "Makefile": "run: run.c\n\tcc -o run run.c\n"})
    made(folder)
    spec = load_arena(folder)
    assert spec.trial.command == ("sh", "-c", "make -s && ./run 2>&1")
    assert (spec.objective.metric, spec.objective.direction) == ("speed_tok_per_s", "maximize")
    assert spec.trial.exclusive


def test_pipes_and_links_to_nowhere_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CLASSIFIER)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latest").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    assert view_folder(tmp_path).names == ("train.py",)


def test_a_file_that_may_change_is_named_as_the_shell_completes_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CLASSIFIER)
    init_arena(tmp_path, InitWish(editable=("./train.py",), yes=True), None, print)
    assert load_arena(tmp_path).artifact.editable == ("train.py",)


def test_a_file_elsewhere_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CLASSIFIER)
    with pytest.raises(BadInput, match=r"train\.py' is not a file in .*--editable train\.py"):
        init_arena(tmp_path, InitWish(editable=(str(tmp_path / "train.py"),), yes=True), None, print)
    assert not (tmp_path / "arena.toml").exists()
