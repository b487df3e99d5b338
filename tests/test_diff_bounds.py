"""A patch of a stranger is put into a file in bounded time, whatever it has, and its lines are found as before."""

import random

import pytest

from gateway.commit_diff import _diff
from mesh import matching
from mesh.answer_flaw import Unusable
from mesh.diffs import apply_diff
from mesh.matching import find_lines

HEAD = "--- a/train.py\n+++ b/train.py\n"
SAME = b"x = 1\n"


@pytest.mark.parametrize(
    ("size", "hunks"),
    [
        (2000, "@@ -1 +1 @@\n x = 1\n-x = 1\n+x = 1\n" * 20_000),
        (20_000, "@@ -1 +1 @@\n" + " x = 1\n" * 9000 + "-q\n+z\n" + " x = 1\n" * 9000),
    ],
    ids=["many hunks", "a long hunk in equal lines"],
)
def test_a_patch_whose_places_take_too_long_to_find_is_refused(size: int, hunks: str) -> None:
    with pytest.raises(Unusable, match="take too long to find; give whole files instead"):
        apply_diff({"train.py": SAME * size}, HEAD + hunks, most_lines=100_000)


def test_a_hundred_hunks_in_a_long_file_are_no_such_patch() -> None:
    lines = [f"line {n}\n" for n in range(5000)]
    hunks = "".join(f"@@ -{n} +{n} @@\n {lines[n]}-{lines[n + 1]}+new\n" for n in range(0, 4900, 49))
    found = apply_diff({"train.py": "".join(lines).encode()}, HEAD + hunks, most_lines=1_000_000)
    assert found["train.py"].count(b"new\n") == 100


def test_two_commits_with_a_file_of_very_many_lines_are_not_compared_line_by_line() -> None:
    shown = _diff({"a": b"0\n1\n" * 60_000, "b": b"1\n"}, {"a": b"1\n0\n" * 60_000, "b": b"2\n"})
    assert "Files a/a and b/a differ, and are too large to show\n" in shown
    assert "-1\n+2\n" in shown


def test_lines_are_found_in_the_same_places_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    for _ in range(500):
        have, wanted = ([chance.choice("ab") for _ in range(chance.randint(1, most))] for most in (30, 5))
        monkeypatch.setattr(matching, "_AT_ONCE", 1_000_000)
        usual = find_lines(wanted, have)
        monkeypatch.setattr(matching, "_AT_ONCE", 0)
        assert find_lines(wanted, have) == usual
