"""What a coder may spend, and what it refuses before it starts."""

import re
from pathlib import Path

import pytest

from mesh.errors import BadInput
from mesh.events import ModelAsked, NotePosted
from mesh.testing import Arena
from tests.support.scripted_agent import coder, measured_arena, work, write_agent

WELL = "edit('LR = 0.5')\nreport('a better rate')\n"


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    return measured_arena(tmp_path / "given")


async def test_calls_are_counted_over_restarts_and_stop_the_coder(arena: Arena, tmp_path: Path) -> None:
    command = write_agent(tmp_path / "bin", "pass")
    for _ in range(2):
        [asked] = await work(arena, coder(arena, tmp_path / "coders", command, budget_calls="2"))
        assert isinstance(asked, ModelAsked)
    [note] = await work(arena, coder(arena, tmp_path / "coders", command, budget_calls="2"))
    assert isinstance(note, NotePosted)
    assert note.text == "ann has run agent 2 times, as --budget-calls allows; it stops"


async def test_dollars_are_counted_by_the_log_and_stop_the_coder(arena: Arena, tmp_path: Path) -> None:
    spends = "print(json.dumps({'type': 'result', 'total_cost_usd': 0.6, 'result': 'no idea'}))"
    who = coder(arena, tmp_path / "coders", write_agent(tmp_path / "bin", spends), budget_usd="1")
    [asked] = await work(arena, who)
    arena.add("ann", asked)
    arena.opening = arena.add("eve", NotePosted(channel="general", text="later"), after_s=100)
    [note] = await work(arena, who)
    assert isinstance(note, NotePosted)
    assert note.text == "ann has spent $0.6000 of --budget-usd 1, and one more run may cost $0.6000; it stops"


async def test_an_agent_that_prints_no_dollars_cannot_have_a_budget_in_dollars(arena: Arena, tmp_path: Path) -> None:
    who = coder(arena, tmp_path / "coders", write_agent(tmp_path / "bin", WELL), budget_usd="1")
    [proposal] = await work(arena, who)
    arena.add("ann", proposal)
    [note] = await work(arena, who)
    assert isinstance(note, NotePosted)
    assert note.text == "ann: agent printed no dollars, so --budget-usd 1 cannot be kept; it stops"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"command": ""}, "a coder needs a coding agent; give --command claude"),
        ({"command": "no-such-agent {prompt}"}, "the program 'no-such-agent' is not installed"),
        ({"command": "cat"}, "does not say where the task goes; write {prompt}"),
        ({"command": "cat '{prompt}"}, "is not a valid command line"),
        ({"budget_calls": ""}, "needs a limit of what it may spend"),
        ({"budget_calls": "0"}, "is not a valid number"),
        ({"ports": "80,x"}, "option ports=80,x has 'x'"),
        ({"minuts": "5"}, "option minuts is not one of a coder; use minutes, memory_gb"),
        ({"sandbox": "maybe"}, "option sandbox=maybe is not valid; use auto, weak, none"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(
    arena: Arena, tmp_path: Path, options: dict[str, str], said: str
) -> None:
    whole = {"command": "cat {prompt_file}", **options}
    with pytest.raises(BadInput, match=re.escape(said)):
        coder(arena, tmp_path, whole.pop("command"), **whole)
