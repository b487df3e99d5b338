"""Ranges that authors give: those that say nothing are refused when the arena opens."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mesh.errors import BadArena
from mesh.knobs import range_faults, unmatched_rules
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


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"bounds": {"f.lr": "0..1"}}, "bounds names f.lr, which fits no literal of the artifact; did you mean f.LR?"),
        ({"include": ["f.*", "g.*"]}, "include names g.*, which fits no literal of the artifact; names are such as"),
        ({"exclude": ["other.py:a"]}, "exclude names other.py:a, which fits no literal of the artifact; did you mean"),
        ({"include": ["*"], "exclude": ["t.py:f.?R"], "bounds": {"a": "0..3", "t.py:a": "0..3"}}, ""),
    ],
)
def test_a_name_that_fits_no_literal_is_one_sentence(rules: dict[str, Any], said: str) -> None:
    spec = msgspec.convert(rules, KnobsSpec)
    found = unmatched_rules({"t.py": b"a = 1\n\ndef f():\n    LR = 0.5\n"}, ["t.py", "missing.py"], spec)
    assert [sentence.startswith(f"knobs.{said}") for sentence in found] == ([True] if said else [])


async def test_opening_says_once_that_names_fit_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arena = tmp_path / "a"
    arena.mkdir()
    (arena / "arena.toml").write_text(ARENA + '\n[knobs]\ninclude = ["LR"]\nexclude = ["MOMENTUM", "WARMUP"]\n')
    (arena / "train.py").write_text("LR = 0.1  # mesh: 0.01..1 log\n")
    (arena / "score.py").write_text("print(1)\n")
    await open_arena(MemoryHub(), arena, home=tmp_path / "home")
    [line] = [line for line in capsys.readouterr().err.splitlines() if "knobs." in line]
    assert line.startswith(f"mesh: warning: {arena}: knobs.exclude names MOMENTUM, which fits no literal")
    assert line.endswith("(and 1 more such names)")
