"""Files are compared by lines and knobs."""

from mesh.file_changes import file_changes
from mesh_cli.proposals import card, diff


def test_files_are_compared_by_lines_and_what_is_no_text_is_said() -> None:
    old = {"a.py": b"x = 1\ny = 2", "gone": b"bye\n", "same": b"s", "bin": b"\xff\x00", "long": b"\n" * 30_000}
    new = {"a.py": b"x = 1\ny = 3", "new": b"", "same": b"s", "bin": b"\xfe", "long": b"\n" * 30_001}
    changes = {change.file: change for change in file_changes(old, new)}
    assert list(changes) == ["a.py", "bin", "gone", "long", "new"]
    assert changes["a.py"].lines == (
        "--- a/a.py",
        "+++ b/a.py",
        "@@ -1,2 +1,2 @@",
        " x = 1",
        "-y = 2",
        "\\ No newline at end of file",
        "+y = 3",
        "\\ No newline at end of file",
    )
    assert (changes["a.py"].added, changes["a.py"].removed) == (1, 1)
    assert changes["bin"].remark == "binary, 2 → 1 bytes"
    assert changes["long"].remark == "too long to compare, 30,000 → 30,001 lines"
    assert changes["gone"].lines[1] == "+++ /dev/null"


def test_knobs_that_differ_are_shown_with_both_values() -> None:
    old, new = {"t.py": b"LR = 3e-4\nN = 2\nGONE = 1\n"}, {"t.py": b"LR = 1e-3\nN = 2\nNEW = True\n"}
    changes = diff.knob_changes(old, new, ("t.py",))
    assert [card.knob_text(change) for change in changes] == ["LR 0.0003 → 0.001", "GONE 1 → -", "NEW - → True"]
