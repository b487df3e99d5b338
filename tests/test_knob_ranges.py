"""Ranges that authors give: those that say nothing are refused when the arena opens."""

from pathlib import Path

import pytest

from mesh.errors import BadArena
from mesh.knobs import range_faults
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.spec import KnobsSpec
from tests.support.arenas import ARENA


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("8..1", "the lower end comes first: write 1..8"),
        ("0..1 log", "a logarithmic range begins above 0: write 0.001..1 log, or leave out log"),
        ("-1..1 log", "a logarithmic range begins above 0: write 0.001..1 log, or leave out log"),
        ("3..3", "its ends are equal"),
        ("low..high", "write two numbers, such as 1e-4..1e-1"),
        ("0..inf", "both ends must be finite numbers"),
        ("choices a", "give at least two choices"),
    ],
)
def test_a_range_that_says_nothing_is_one_sentence(text: str, fault: str) -> None:
    files = {"t.py": f"a = 1\n\ndef f():\n    x = 0.5  # mesh: {text}\n".encode()}
    assert range_faults(files, ["t.py"]) == [f't.py:4 gives f.x the range "{text}", which says nothing: {fault}']
    assert range_faults({"t.py": b"x = 0.5  # mesh: 0..1\n"}, ["t.py", "missing.py"]) == []
    bounds = KnobsSpec(bounds={"f.*": text})
    assert range_faults({}, [], bounds) == [f'knobs.bounds gives f.* the range "{text}", which says nothing: {fault}']
    assert len(range_faults({}, [], KnobsSpec(bounds={"x": "large"}))) == 1


async def test_an_arena_with_such_a_range_is_not_opened(tmp_path: Path) -> None:
    arena = tmp_path / "a"
    arena.mkdir()
    (arena / "arena.toml").write_text(ARENA)
    (arena / "train.py").write_text("LR = 0.1  # mesh: 1..0.01 log\n")
    (arena / "score.py").write_text("")
    with pytest.raises(BadArena, match=r'train.py:1 gives LR the range "1..0.01 log", which says nothing'):
        await open_arena(MemoryHub(), arena, home=tmp_path / "home")
