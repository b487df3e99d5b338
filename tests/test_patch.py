"""What a model answers becomes whole files, or one sentence about what is wrong with it."""

import pytest

from agents.llm.patch import Flaw, Patch, parse_answer

TRAIN = b"""LR = 0.1
WIDTH = 8


def loss() -> float:
    if WIDTH:
        return LR
    return LR
"""
FILES = {"train.py": TRAIN, "net.py": b"A = 1\n", "score.py": b"print(1)\n"}
EDITABLE = ("train.py", "net.py")
HEADER = """TITLE: A smaller rate
RATIONALE: The curve jumps,
so the steps are too long.
PREDICTED_GAIN: 0.02
CONFIDENCE: 0.6
"""


def block(old: str, new: str, file: str = "train.py") -> str:
    return f"FILE: {file}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def files_of(answer: str) -> dict[str, bytes]:
    found = parse_answer(answer, FILES, EDITABLE)
    assert isinstance(found, Patch), found
    return found.files


def test_an_answer_is_a_header_and_an_edit() -> None:
    assert parse_answer(f"{HEADER}\n{block('LR = 0.1', 'LR = 0.05')}", FILES, EDITABLE) == Patch(
        title="A smaller rate",
        rationale="The curve jumps,\nso the steps are too long.",
        predicted_gain=0.02,
        confidence=0.6,
        files={"train.py": TRAIN.replace(b"LR = 0.1", b"LR = 0.05")},
    )


def test_several_blocks_in_several_files_are_done_in_turn() -> None:
    answer = block("LR = 0.1", "LR = 0.2") + block("LR = 0.2", "LR = 0.3") + block("A = 1", "A = 2", "net.py")
    assert files_of(answer) == {"train.py": TRAIN.replace(b"0.1", b"0.3"), "net.py": b"A = 2\n"}


def test_a_file_may_be_given_whole() -> None:
    whole = 'A = 2\nDOC = """\n```\nfenced\n```\n"""'
    assert files_of(f"{HEADER}\nFILE: net.py\n````python\n{whole}\n````\n") == {"net.py": f"{whole}\n".encode()}


@pytest.mark.parametrize(
    "answer",
    [
        f"**Title:** x\n\n`train.py`\n```python\n{block('LR = 0.1', 'LR = 1')[15:]}```\nThat is all.",
        f"Sure! Such as\n```python\nLR = 3\n```\n{block('LR = 0.1', 'LR = 1', '`train.py`')}",
        block("LR = 0.1", "LR = 1").replace("\n", "\r\n"),
        block("LR = 0.1   ", "LR = 1"),
        block("  LR = 0.1", "  LR = 1"),
    ],
)
def test_what_models_do_to_the_format_is_understood(answer: str) -> None:
    assert files_of(answer) == {"train.py": TRAIN.replace(b"LR = 0.1", b"LR = 1")}


def test_new_lines_are_moved_as_the_old_ones_were() -> None:
    answer = block("if WIDTH:\n    return LR", "if WIDTH > 1:\n    x = 2\n\n    return LR")
    moved = b"    if WIDTH > 1:\n        x = 2\n\n        return LR\n"
    assert files_of(answer) == {"train.py": TRAIN.replace(b"    if WIDTH:\n        return LR\n", moved)}


def test_the_ends_of_lines_stay_what_they_were() -> None:
    found = parse_answer(block("A = 1", "A = 2", "net.py"), {"net.py": b"A = 1\r\nB = 1\r\n"}, ["net.py"])
    assert isinstance(found, Patch)
    assert found.files == {"net.py": b"A = 2\r\nB = 1\r\n"}


def test_an_editable_file_that_is_not_there_yet_can_be_made() -> None:
    found = parse_answer(block("", "B = 1", "new.py"), FILES, [*EDITABLE, "new.py"])
    assert isinstance(found, Patch)
    assert found.files == {"new.py": b"B = 1\n"}


@pytest.mark.parametrize(
    ("gain", "confidence", "read"),
    [
        ("about +1e-3 of loss", "60%", (0.001, 0.6)),
        ("2 %", "high", (None, None)),
        ("-0.5", "7", (-0.5, None)),
        ("1e999", "0", (None, 0.0)),
    ],
)
def test_numbers_are_read_where_they_mean_something(
    gain: str, confidence: str, read: tuple[float | None, float | None]
) -> None:
    found = parse_answer(
        f"PREDICTED_GAIN: {gain}\nCONFIDENCE: {confidence}\n{block('A = 1', 'A = 2', 'net.py')}", FILES, EDITABLE
    )
    assert isinstance(found, Patch)
    assert (found.predicted_gain, found.confidence) == read
    assert found.title == "a change to net.py"


def test_words_are_kept_short_and_printable() -> None:
    found = parse_answer(
        f"TITLE: \x1b[31m{'x' * 999}\nRATIONALE: \x07{'y' * 9999}\n{block('A = 1', 'A = 2', 'net.py')}", FILES, EDITABLE
    )
    assert isinstance(found, Patch)
    assert found.title == f"[31m{'x' * 116}"
    assert found.rationale == "y" * 2000


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("I cannot help with that.", "the answer has no change; write FILE: and SEARCH/REPLACE blocks"),
        ("", "the answer has no change"),
        (block("LR = 0.1", "LR = 0.1"), "the answer does not change train.py; change something"),
        (block("LR = 9", "LR = 1"), "the SEARCH text that begins with 'LR = 9' is not in train.py; copy whole lines"),
        (
            block("return LR", "return 1"),
            "the SEARCH text that begins with 'return LR' occurs 2 times in train.py; add",
        ),
        (block("", "x"), "a SEARCH block for train.py is empty; copy the lines"),
        (block("A", "B", "score.py"), "score.py may not be changed; change only train.py, net.py"),
        (block("A", "B", "../../etc/passwd"), "../../etc/passwd may not be changed; change only train.py, net.py"),
        ("FILE: score.py\n```\nx\n```\n", "score.py may not be changed"),
        (block("A = 1", "A = 2")[15:], "a change has no file name; write FILE: and one of train.py, net.py before it"),
        ("FILE: net.py\n<<<<<<< SEARCH\nA = 1\n", "a SEARCH block has no ======= line"),
        ("FILE: net.py\n<<<<<<< SEARCH\nA = 1\n=======\nA", "a SEARCH block does not end with >>>>>>> REPLACE"),
        (block("A = 1", "A = (", "net.py"), "net.py does not parse after the change: '(' was never closed ('A = ("),
        (block("A = 1", "A = '\x00'", "net.py"), "net.py does not parse after the change: "),
    ],
)
def test_each_way_to_be_wrong_is_one_sentence(answer: str, sentence: str) -> None:
    found = parse_answer(answer, FILES, EDITABLE)
    assert isinstance(found, Flaw), found
    assert found.text.startswith(sentence)
    assert "\n" not in found.text
