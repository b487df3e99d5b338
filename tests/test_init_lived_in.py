"""`mesh init` in folders that people live in: files that runs write, imported rules, prompts, environments."""

import re
import venv
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh_cli.setup.first_look.printed_numbers import printed_numbers
from mesh_cli.setup.init_arena import init_arena
from mesh_cli.setup.init_plan import InitWish
from tests.support.terminal import Terminal

RULES = '{"threshold": 0.9, "weights": {"amount": 0.2}}'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, so that the names of other arenas do not count."""
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))


def folder_of(tmp_path: Path, files: dict[str, str]) -> Path:
    (tmp_path / "mine").mkdir()
    for path, text in files.items():
        (tmp_path / "mine" / path).write_text(text)
    return tmp_path / "mine"


def made(folder: Path, wish: InitWish | None = None) -> None:
    """Run `mesh init` where nobody can be asked."""
    init_arena(folder, wish or InitWish(yes=True), None, lambda line: None)


LIVED_IN = """
import csv
import os
import joblib
RESULTS = "results.csv"
new = not os.path.exists("results.csv")
score = 0.9426
joblib.dump(score, "models/model.pkl")
print(f"Accuracy: {score:.4f}")
print(classification_report([1], [1]) if False else "")
with open(RESULTS, "a", newline="") as f:
    csv.writer(f).writerow([score])
open("plot.txt", "w").write("x")
old = open("table.csv").read()
"""


def test_files_that_a_run_writes_may_be_written(tmp_path: Path) -> None:
    files = {"train.py": LIVED_IN, "results.csv": "a\n", "plot.txt": "", "table.csv": "1\n", "README.md": "a\n"}
    folder = folder_of(tmp_path, files)
    made(folder)
    assert load_arena(folder).artifact.writes == ("models/model.pkl", "plot.txt", "results.csv")


def test_rules_that_an_imported_program_reads_may_change_with_it(tmp_path: Path) -> None:
    files = {
        "rules.json": RULES,
        "router.py": "import json\nRULES = json.load(open('rules.json'))\n",
        "evaluate.py": "from router import RULES\nprint(f\"Accuracy: {100 * RULES['threshold']:.2f}% (9/10)\")\n",
    }
    folder = folder_of(tmp_path, files)
    made(folder)
    assert load_arena(folder).artifact.editable == ("router.py", "rules.json")


def test_tables_and_what_is_logged_into_a_file_are_no_printed_numbers() -> None:
    text = """
import logging
logging.basicConfig(filename="a.log")
print(classification_report(y_test, y_pred))
logging.info("wrong %s: %s instead of %s", a, b, c)
print("Accuracy: %s" % accuracy)
"""
    assert [each.name for each in printed_numbers("a.py", text)] == ["accuracy"]
    logged = text.replace('filename="a.log"', "level=10").replace("wrong %s: %s instead of", "Loss: %s after")
    assert "loss" in [each.name for each in printed_numbers("a.py", logged)]


def test_a_program_runs_once_in_the_environment_that_was_agreed_to_and_says_why_it_fails(tmp_path: Path) -> None:
    text = 'import sys\nprint("rows:", 5)\nprint("score:", 0.5)\n'
    text += 'assert sys.prefix.endswith("taskenv"), "no env"\n'
    folder = folder_of(tmp_path, {"train.py": text})
    venv.create(folder / "taskenv", with_pip=False)
    for answer, seen in (("yes", r"it runs … [\d.]+ s\s"), ("none", r"exit code 1: AssertionError: no env")):
        with Terminal("init", str(folder), "--force", MESH_HOME=str(tmp_path / "home")) as screen:
            for question in (r"1\. What", r"2\. How is it run", r"How many seconds"):
                screen.until(question)
                screen.press("\r")
            screen.until(r"Run it in its taskenv")
            screen.press(f"{answer}\r")
            screen.until(r"3\. How is it scored\?")
            screen.press("score\r")
            screen.until(r"lower or a higher score")
            screen.press("higher\r")
            screen.until(r"Must every candidate print the same\?")
            screen.press("yes\r")
            screen.until(seen)
            screen.until(r"next: mesh check")
        (folder / "arena.toml").unlink()


ASKS = """
import json, os
from openai import OpenAI
client = OpenAI({address})
prompt = open("prompt.txt").read()
answer = client.chat.completions.create(model=os.environ.get("EVAL_MODEL", "qwen2.5-7b"), messages=[])
print(f"accuracy: {{1 / len(prompt):.3f}} (1/2)")
"""


@pytest.mark.parametrize(
    ("address", "upstream", "key", "usd"),
    [
        ('base_url="http://localhost:8000/v1"', "http://localhost:8000/v1", "", 0.0),
        ("", "https://api.openai.com/v1", "OPENAI_API_KEY", 1.0),
    ],
)
def test_a_scorer_that_asks_a_model_asks_it_as_a_score_program(
    address: str, upstream: str, key: str, usd: float, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, {"prompt.txt": "Sort it.\n", "eval_prompt.py": ASKS.format(address=address)})
    made(folder, InitWish(yes=True, environment="none"))
    spec = load_arena(folder)
    assert (spec.trial.command, spec.score.how, spec.score.command) == (
        ("true",),
        "command",
        ("python", "eval_prompt.py"),
    )
    assert re.findall(spec.score.pattern, "accuracy: 0.500 (1/2)") == ["0.500"]
    assert (spec.judge.models, spec.judge.upstream, spec.judge.key, spec.judge.usd) == (
        ("qwen2.5-7b",),
        upstream,
        key,
        usd,
    )
