"""A new version of an arena says what it changes, and whether scores of the one before count."""

from pathlib import Path

import msgspec
import pytest

from mesh.arena_changes import arena_changes
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.testing import SPEC
from tests.support.arenas import write_arena

KEPT, FILES = {"train.py": b"LR = 1\n"}, {"train.py": b"LR = 1\n", "a.txt": b"a", "b.txt": b"b"}
SIX = "0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt"
SLOW = msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(SPEC.trial, budget_s=SPEC.trial.budget_s + 1))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (KEPT, KEPT | {"run.log": b"x"}, "run.log is new"),
        (FILES, KEPT, "a.txt and b.txt are gone"),
        (FILES, {**FILES, "b.txt": b"c", "train.py": b""}, "b.txt and train.py differ"),
        (
            KEPT,
            {f"{n}.txt": b"" for n in range(9)},
            "0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt and 3 more are new; train.py is gone",
        ),
    ],
)
def test_files_are_named(before: dict[str, bytes], after: dict[str, bytes], told: str) -> None:
    assert arena_changes(before, after, SPEC, SPEC, is_evaluator_new=False) == told


def test_rules_of_arena_toml_and_what_is_hidden_are_named() -> None:
    assert arena_changes(KEPT, KEPT, SPEC, SLOW, is_evaluator_new=True) == "trial.budget_s differs"
    assert arena_changes(KEPT, KEPT, SPEC, SPEC, is_evaluator_new=True) == "a hidden file or the data's source differs"
    assert arena_changes(KEPT, KEPT, SPEC, SPEC, is_evaluator_new=False) == "arena.toml differs"


async def test_opening_says_what_changed_and_whether_scores_count(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    await open_arena(hub, folder, home=home)
    (folder / "run.log").write_text("from last night\n")
    await open_arena(hub, folder, home=home)
    (folder / "arena.toml").write_text((folder / "arena.toml").read_text() + "\n# a comment\n")
    await open_arena(hub, folder, home=home)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mesh: version")]
    assert told == [
        "mesh: version 2 of tiny: run.log is new; scores of version 1 do not count any more",
        "mesh: version 3 of tiny: arena.toml differs; scores of version 2 count",
    ]
