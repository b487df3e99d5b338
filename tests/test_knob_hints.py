"""What is said of a file without knobs: how a comment of its language makes one."""

import pytest

from mesh.knobs import find_knobs
from mesh.literals import how_to_add_knobs


@pytest.mark.parametrize(
    ("file", "comment"),
    [
        ("main.rs", "// mesh: 1e-3..1.0 log"),
        ("fast.c", "// mesh: 1e-3..1.0 log"),
        ("query.sql", "-- mesh: 1e-3..1.0 log"),
        ("rules.lisp", "; mesh: 1e-3..1.0 log"),
        ("page.html", "<!-- mesh: 1e-3..1.0 log -->"),
        ("look.css", "/* mesh: 1e-3..1.0 log */"),
        ("paper.tex", "% mesh: 1e-3..1.0 log"),
    ],
)
def test_what_is_said_of_a_file_without_knobs_is_in_its_language_and_works(file: str, comment: str) -> None:
    words = how_to_add_knobs([file, "other.py"])
    assert words == f"give a number of {file} or other.py a range in a comment behind it, such as `0.1  {comment}`"
    [knob] = find_knobs(file, f"width: 0.1  {comment}\n")
    assert (knob.low, knob.high) == (1e-3, 1.0)


@pytest.mark.parametrize("file", ["train.py", "run.sh", "Makefile", "fit.R", "conf.yaml"])
def test_where_a_comment_begins_with_a_hash_a_constant_is_the_example(file: str) -> None:
    assert how_to_add_knobs([file]) == (
        f"add constants to {file}, such as `LEARNING_RATE = 0.1  # mesh: 1e-3..1.0 log`"
    )
