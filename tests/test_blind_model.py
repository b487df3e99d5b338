"""A model that answers right only if its prompt has the task's words, another metric and the evaluator's feedback."""

import re
import signal
from pathlib import Path

import pytest

from mesh.board import Board
from tests.support.model_server import Reply, model_server, say
from tests.test_researcher import NAME
from tests.test_up import log_of, mesh_up

TOML = """[arena]
name = "tiny"
summary = "The slope of a line"
brief = "task.md"

[objective]
metric = "combined_score"
direction = "maximize"
noise = "none"

[artifact]
editable = ["initial_program.py"]

[trial]
budget_s = 20.0
deadline_s = 20.0

[score]
how = "openevolve"
command = ["python", "evaluator.py"]
deadline_s = 20.0
"""
PROGRAM = "# EVOLVE-BLOCK-START\nSLOPE = 1.5\n\n\ndef predict(x):\n    return SLOPE * x\n# EVOLVE-BLOCK-END\n"
EVALUATOR = (
    """import importlib.util


def evaluate(program_path):
    spec = importlib.util.spec_from_file_location("candidate", program_path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    value = module.predict(1)
    score = 1 / (1 + (value - {target}) ** 2)
    off = {target} - value
    return {{
        "metrics": {{"combined_score": score, "speed": 3.25}},
        "artifacts": {{"feedback": f"ARTIFACT-WORDS: off by {{off:.3f}}"}},
    }}
""".replace("{target}", "(4.5 - 1.25)")
    .replace("{{", "{")
    .replace("}}", "}")
)
WORDS = "You are an expert of CALIBRATION-TASK-WORDS: find the slope of a line."


def answer(prompt: str) -> Reply:
    """The right slope if all three are there, told only by the feedback; else a wrong one, of which each is new."""
    off = re.search(r"ARTIFACT-WORDS: off by (-?[\d.]+)", prompt)
    slope = re.search(r"parent A\n<data-\w+>\n# EVOLVE-BLOCK-START\nSLOPE = ([\d.]+)", prompt)
    task = prompt.split("## Parent A")[0]
    if off and slope and "speed: 3.25" in prompt and WORDS in task:
        return say(
            f"I follow the feedback.\n\n```python\n{PROGRAM.replace('1.5', str(float(slope[1]) + float(off[1])))}```"
        )
    return say("I guess.\n\n```python\n" + PROGRAM.replace("1.5", f"0.{len(prompt)}") + "```")


async def test_a_model_sees_the_tasks_words_every_metric_and_the_artifacts(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = tmp_path / "task"
    folder.mkdir()
    for name, text in (("arena.toml", TOML), ("initial_program.py", PROGRAM), ("evaluator.py", EVALUATOR)):
        (folder / name).write_text(text)
    (folder / "task.md").write_text(WORDS)
    with model_server(*[answer] * 50) as server:
        options = ["--model", NAME, "--api-base", server.url, "--budget-tokens", "1000000"]
        async with mesh_up(folder, "--explorers", "0", "--slots", "1", *options) as up:
            await up.says("I follow the feedback")
            await up.says("champion of round 2")
            assert await up.ends(signal.SIGINT) == 0
    board: Board = await log_of(home)
    made = [tree for tree, proposal in board.proposals.items() if proposal.event.origin.how == "model"]
    assert board.proposals[made[0]].event.title == "improve: I follow the feedback."
    assert board.scores(made[0]) == [1.0]
