"""Answers as models really write them, of which each becomes the files that it means, or a sentence with the reason."""

import json

import pytest

from agents.llm.patch import Flaw, Patch, parse_answer

PROGRAM = """import math

# EVOLVE-BLOCK-START
STEP = 0.5  # mesh: 0.01..2 log


def scale(x):
    # half of it
    return x / 2


def predict(x):
    total = 0.0
    for n in range(3):
        total += STEP * scale(x)
    return total
# EVOLVE-BLOCK-END


def run(x):
    return math.floor(predict(x))
"""
FILES = {"initial_program.py": PROGRAM.encode(), "evaluator.py": b"print(1)\n", "README.md": b"# Task\n"}
ONE = ("initial_program.py",)
GOOD = PROGRAM.replace("STEP = 0.5", "STEP = 0.7")
BLOCK_ONLY = GOOD.split("# EVOLVE-BLOCK-START\n")[1].split("# EVOLVE-BLOCK-END")[0]
LOOP = PROGRAM.replace("range(3)", "range(4)")
HEAD = "TITLE: a longer step\nRATIONALE: it is too short\nPREDICTED_GAIN: 0.1\nCONFIDENCE: 0.6\n"
OLD, NEW = "STEP = 0.5  # mesh: 0.01..2 log", "STEP = 0.7  # mesh: 0.01..2 log"
SEARCH = f"<<<<<<< SEARCH\n{OLD}\n=======\n{NEW}\n>>>>>>> REPLACE"
DRAFT = SEARCH.replace("0.7", "99.0")
UDIFF = f" # EVOLVE-BLOCK-START\n-{OLD}\n+{NEW}\n \n \n def scale(x):\n"
PROSE = "I make the step longer, because the sum stays too low."


def fenced(text: str, info: str = "python", mark: str = "```") -> str:
    return f"{mark}{info}\n{text}\n{mark}"


def indented(text: str, by: str) -> str:
    return "\n".join(by + line if line else line for line in text.split("\n"))


def read(answer: str, files: dict[str, bytes] = FILES, editable: tuple[str, ...] = ONE, **how: bool) -> dict[str, str]:
    found = parse_answer(answer, files, editable, **how)
    assert isinstance(found, Patch), found
    return {name: data.decode() for name, data in found.files.items()}


ANSWERS = {
    # thoughts
    "a closed thought with a draft": f"<think>\nPerhaps\n{DRAFT}\nno.\n</think>\n\n{HEAD}\n{SEARCH}",
    "a lone closing mark": f"Perhaps\n{DRAFT}\nno, too much.\n</think>\n\n{PROSE}\n\n{fenced(SEARCH)}",
    "a lone closing mark within a line": f"{fenced(DRAFT)}\nSo 0.7 it is.</think>{HEAD}\n{SEARCH}",
    "a thought of another name": f"<thinking>\n{DRAFT}\n</thinking>\n{SEARCH}",
    "a thought in brackets": f"[THINK]{DRAFT}[/THINK]\n{SEARCH}",
    "two thoughts around the answer": f"<think>\na\n</think>\n{SEARCH}\n<think>\n{DRAFT}\n</think>\nDone.",
    "a thought never closed behind the answer": f"{SEARCH}\n<think>\n{DRAFT}",
    "channels": (
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{SEARCH}<|return|>"
    ),
    "a whole file as a draft": f"{fenced(PROGRAM.replace('0.5', '99.0'))}\nno\n</think>\n{fenced(GOOD)}",
    # whole files
    "one fence with the whole file": f"Here is the improved program:\n\n{fenced(GOOD)}\n\nIt should be better.",
    "a fence without a language": fenced(GOOD, ""),
    "a fence of tildes": fenced(GOOD, "python", "~~~"),
    "four backticks": fenced(GOOD, "python", "````"),
    "the inside of the evolved block": fenced(BLOCK_ONLY),
    "the block with its marks": fenced(f"# EVOLVE-BLOCK-START\n{BLOCK_ONLY}# EVOLVE-BLOCK-END"),
    "the whole file without marks": fenced(
        GOOD.replace("# EVOLVE-BLOCK-START\n", "").replace("# EVOLVE-BLOCK-END\n", "")
    ),
    "an unclosed last fence": f"{PROSE}\n```python\n{GOOD}",
    "carriage returns": fenced(GOOD).replace("\n", "\r\n"),
    "a byte order mark": f"\ufeff{HEAD}\n{SEARCH}",
    "the old file first": f"Current:\n{fenced(PROGRAM)}\nImproved:\n{fenced(GOOD)}",
    "a first try, then a better one": f"{fenced(LOOP)}\nOn second thought:\n{fenced(GOOD)}",
    "a command beside it": f"{fenced(GOOD)}\nRun it with\n{fenced('python initial_program.py', 'bash')}",
    "a fence in a list": f"1. The change:\n\n   {indented(fenced(GOOD), '   ').strip()}\n\n2. Done.",
    "the tags of a system": f"<NAME>longer</NAME>\n<DESCRIPTION>\nwhy\n</DESCRIPTION>\n<CODE>\n{fenced(GOOD)}\n</CODE>",
    # names
    "a dot and a slash": f"FILE: ./initial_program.py\n{SEARCH}",
    "a prefix of git": f"FILE: b/initial_program.py\n{SEARCH}",
    "a word behind the name": f"FILE: `initial_program.py` (modified)\n{SEARCH}",
    "a sentence that begins as a name does": f"File: I change one constant only.\n\n{SEARCH}",
    "a folder before it": f"File: /workspace/task/initial_program.py\n{SEARCH}",
    "a name before the fence": f"**initial_program.py**\n\n{fenced(GOOD)}",
    "a heading before the fence": f"### `initial_program.py`\n{fenced(GOOD)}",
    "a sentence before the fence": f"Here is the updated `initial_program.py`:\n{fenced(GOOD)}",
    "a name behind the language": fenced(GOOD, "python initial_program.py"),
    "a name after a colon": fenced(GOOD, "python:initial_program.py"),
    "a title": fenced(GOOD, 'python title="initial_program.py"'),
    "a name behind the fence": f"{fenced(GOOD)}\n\nFILE: initial_program.py\n",
    "a fence around the name": f"{fenced('initial_program.py')}\n{fenced(SEARCH)}",
    "a name as the first line of the fence": fenced(f"initial_program.py\n{SEARCH}"),
    # marks of blocks
    "original and updated": SEARCH.replace("SEARCH", "ORIGINAL").replace("REPLACE", "UPDATED"),
    "marks of git": SEARCH.replace("SEARCH", "HEAD").replace("REPLACE", "new"),
    "five signs": f"<<<<< SEARCH\n{OLD}\n=====\n{NEW}\n>>>>> REPLACE",
    "a sign behind the word": SEARCH.replace("SEARCH", "SEARCH>"),
    "no space": SEARCH.replace("< SEARCH", "<SEARCH").replace("> REPLACE", ">REPLACE"),
    "dashes and pluses": f"------- SEARCH\n{OLD}\n=======\n{NEW}\n+++++++ REPLACE",
    "a line number before the lines": SEARCH.replace("SEARCH\n", "SEARCH\n:start_line:4\n-------\n"),
    "a name behind the mark": SEARCH.replace("SEARCH\n", "SEARCH initial_program.py\n"),
    "an indented block": f"- like so:\n\n{indented(SEARCH, '    ')}",
    "a block in a fence in a list": f"* like so:\n  {indented(fenced(SEARCH, 'diff'), '  ').strip()}",
    "a block that its fence ends": f"```\n{SEARCH.removesuffix('>>>>>>> REPLACE')}```\nDone.",
    "tags around a block": f"<NAME>\nlonger\n</NAME>\n<DIFF>\n{SEARCH}\n</DIFF>",
    "an idea as a snippet beside a block": f"The idea:\n{fenced('STEP = 0.7')}\n\n{SEARCH}",
    # diffs
    "a unified diff": fenced(f"--- a/initial_program.py\n+++ b/initial_program.py\n@@ -3,6 +3,6 @@\n{UDIFF}", "diff"),
    "wrong line numbers": fenced(f"--- initial_program.py\n+++ initial_program.py\n@@ -90,2 +91,7 @@\n{UDIFF}", "diff"),
    "no line numbers": fenced(f"--- a/initial_program.py\n+++ b/initial_program.py\n@@ ... @@\n{UDIFF}", "diff"),
    "a diff of git": fenced(
        "diff --git a/initial_program.py b/initial_program.py\nindex 1a2b3c4..5d6e7f8 100644\n"
        f"--- a/initial_program.py\n+++ b/initial_program.py\n@@ -3,6 +3,6 @@ import math\n{UDIFF}",
        "",
    ),
    "a diff without a fence": (
        f"{PROSE}\n\n--- a/initial_program.py\n+++ b/initial_program.py\n@@ -4 +4 @@\n-{OLD}\n+{NEW}\n\nDone."
    ),
    "only lines with signs": fenced(f"-{OLD}\n+{NEW}", "diff"),
    "context that is not there": fenced(
        f"@@ -1,4 +1,4 @@\n # a comment of nobody\n-{OLD}\n+{NEW}\n \n def other():", "diff"
    ),
    "context without its space": fenced(f"@@\n# EVOLVE-BLOCK-START\n-{OLD}\n+{NEW}\n\n\ndef scale(x):", "diff"),
    "a patch with stars": f"*** Begin Patch\n*** Update File: initial_program.py\n@@\n-{OLD}\n+{NEW}\n*** End Patch",
    # white space and comments
    "the comment left out": "<<<<<<< SEARCH\nSTEP = 0.5\n=======\nSTEP = 0.7\n>>>>>>> REPLACE",
    "the comment left out of two lines": (
        "<<<<<<< SEARCH\n# EVOLVE-BLOCK-START\nSTEP = 0.5\n=======\n# EVOLVE-BLOCK-START\nSTEP = 0.7\n>>>>>>> REPLACE"
    ),
    "other spaces": SEARCH.replace("STEP = 0.5  # mesh", "STEP  =  0.5 # mesh"),
    "empty lines around": SEARCH.replace("SEARCH\n", "SEARCH\n\n").replace("=======\n", "\n=======\n"),
    # JSON
    "an object with files": json.dumps({"title": "t", "files": {"initial_program.py": GOOD}}),
    "an object with a list of files": json.dumps({"files": [{"path": "./initial_program.py", "content": GOOD}]}),
    "an object with edits": json.dumps({"edits": [{"name": "initial_program.py", "search": OLD, "replace": NEW}]}),
    "an object in a fence": fenced(json.dumps({"title": "t", "code": GOOD}, indent=1), "json"),
    "an object with line feeds in its texts": f'{{"changes": [{{"search": "{OLD}\n", "replace": "{NEW}\n"}}]}}',
    "an object with a diff": json.dumps({"rationale": "r", "diff": f"@@ -4 +4 @@\n-{OLD}\n+{NEW}\n"}),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_in_any_form_becomes_the_file_that_it_means(answer: str) -> None:
    assert read(answer) == {"initial_program.py": GOOD}


LACKING = {
    "I cannot help with that.": "the answer has no change; write FILE:",
    f"<think>\n{SEARCH}\nno, wait": "the answer is only thought, because <think> is not closed; write",
    f"{SEARCH}\n</think>\n\nI have nothing better.": "the answer has no change; write FILE:",
    fenced("STEP = 0.7"): (
        "the code in the fence has 1 line and is only a part of initial_program.py, which has 21; write SEARCH"
    ),
    fenced(
        "def scale(x):\n    return x / 3"
    ): "the code in the fence has 2 lines and is only a part of initial_program.py",
    fenced(PROGRAM.replace("    total = 0.0", "    # ... existing code ...")): (
        "the text of initial_program.py leaves code out ('# ... existing code ...'); write every line of the file"
    ),
    fenced(GOOD.replace("    # half of it\n    return x / 2", "    # rest of the function remains unchanged")): (
        "the text of initial_program.py leaves code out ('# rest of the function remains unchanged')"
    ),
    fenced("pip install numpy", "bash"): "the answer has no change",
    f"FILE: evaluator.py\n{fenced('print(2)')}": "evaluator.py may not be changed; change only initial_program.py",
    f"FILE: ./evaluator.py\n{SEARCH}": "./evaluator.py may not be changed; change only initial_program.py",
    fenced("--- a/evaluator.py\n+++ b/evaluator.py\n@@ -1 +1 @@\n-print(1)\n+print(2)", "diff"): (
        "b/evaluator.py may not be changed"
    ),
    fenced("--- a/initial_program.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-import math", "diff"): (
        "the diff deletes a/initial_program.py; change files, but do not delete them"
    ),
    fenced("@@ -1 +1 @@\n-STEP = 7\n+STEP = 8", "diff"): (
        "the lines of a hunk that begin with 'STEP = 7' are not in initial_program.py; copy lines of the file exactly"
    ),
    fenced("@@ -2,0 +3 @@\n+STEP = 8", "diff"): "a hunk for initial_program.py has no line of the file around what it",
    SEARCH.replace(OLD, "STEPS = 0.5  # mesh: 0.01..2 log"): (
        "the SEARCH text that begins with 'STEPS = 0.5 # mesh: 0.01..2 log' is not in initial_program.py; copy whole "
        "lines of the file exactly (line 4 is 'STEP = 0.5 # mesh: 0.01..2 log')"
    ),
    '{"title": "t", "files": {"initial_program.py": "import': "the JSON object of the answer cannot be read: ",
}


@pytest.mark.parametrize(("answer", "reason"), LACKING.items(), ids=range(len(LACKING)))
def test_an_answer_that_cannot_be_used_has_one_sentence_with_the_reason(answer: str, reason: str) -> None:
    found = parse_answer(answer, FILES, ONE)
    assert isinstance(found, Flaw), found
    assert found.text.startswith(reason)
    assert "\n" not in found.text


def test_what_is_cut_off_is_not_used() -> None:
    for answer in (f"```python\n{GOOD[:-40]}", f"```diff\n@@\n-{OLD}\n+{NEW}"):
        found = parse_answer(answer, FILES, ONE, cut=True)
        assert isinstance(found, Flaw)
        assert "cut off" in found.text or "not complete" in found.text
    assert read(f"{SEARCH}\nThis should", cut=True) == {"initial_program.py": GOOD}


@pytest.mark.parametrize("answer", [f"Thus 0.7.\n\n{HEAD}\n{SEARCH}", f"{HEAD}\n{DRAFT}\nno\n{HEAD}\n{fenced(GOOD)}\n"])
def test_an_answer_at_the_end_of_reasoning_counts_if_there_is_no_other(answer: str) -> None:
    assert read(answer, thought=True) == {"initial_program.py": GOOD}


@pytest.mark.parametrize("answer", [f"Perhaps\n{DRAFT}", f"{HEAD}\n{DRAFT}\nNo, 99 is too much.", fenced(GOOD), "Hm."])
def test_what_was_only_thought_is_never_used(answer: str) -> None:
    found = parse_answer(answer, FILES, ONE, thought=True)
    assert isinstance(found, Flaw)
    assert found.text.startswith("the answer is only reasoning, without an answer at its end")


def test_a_text_in_two_places_is_in_none_unless_a_line_number_tells() -> None:
    files = {"a.py": b"x = 1\ny = 1\nx = 1\ny = 2\n"}
    diff = "@@ -{n} +{n} @@\n-x = 1\n+x = 3"
    assert read(fenced(diff.format(n=3), "diff"), files, ("a.py",)) == {"a.py": "x = 1\ny = 1\nx = 3\ny = 2\n"}
    for answer in (fenced(diff.format(n=9), "diff"), "<<<<<<< SEARCH\nx  = 1\n=======\nx = 3\n>>>>>>> REPLACE"):
        found = parse_answer(answer, files, ["a.py"])
        assert isinstance(found, Flaw)
        assert " 2 " in found.text


def test_hunks_after_a_longer_one_are_counted_on() -> None:
    files = {"a.py": b"a = 1\nx = 1\nb = 1\nx = 1\nc = 1\n"}
    diff = "@@ -1 +1,3 @@\n-a = 1\n+a = 2\n+a += 1\n+a += 1\n@@ -4 +6 @@\n-x = 1\n+x = 2\n"
    text = "a = 2\na += 1\na += 1\nx = 1\nb = 1\nx = 2\nc = 1\n"
    assert read(fenced(diff, "diff"), files, ("a.py",)) == {"a.py": text}


def test_a_heading_of_equal_signs_divides_nothing() -> None:
    files = {"a.txt": b"Title\n=======\n\nwords\n"}
    answer = "<<<<<<< SEARCH\nTitle\n=======\n=======\nNew\n=======\n>>>>>>> REPLACE"
    assert read(answer, files, ("a.txt",)) == {"a.txt": "New\n=======\n\nwords\n"}


def test_a_fence_within_a_string_of_the_program_does_not_end_it() -> None:
    program = 'DOC = """\n```\nx\n```\n"""\nA = 1\nB = 2\n'
    files = {"a.py": program.encode()}
    assert read(f"{fenced(program.replace('A = 1', 'A = 3').strip())}\nDone.", files, ("a.py",)) == {
        "a.py": program.replace("A = 1", "A = 3")
    }


def test_of_several_files_a_fence_is_the_one_that_it_names_or_resembles() -> None:
    files = {"a.py": b"import math\nA = 1\nprint(A)\n", "b.py": b"import os\nB = 1\nos.getpid()\n", "c.cu": b"int c;\n"}
    editable = tuple(files)
    both = {"a.py": "import math\nA = 2\nprint(A)\n", "b.py": "import os\nB = 2\nos.getpid()\n"}
    assert read("\n".join(f"# {name}\n{fenced(text)}" for name, text in both.items()), files, editable) == both
    assert read(fenced("int d;", "cuda"), files, editable) == {"c.cu": "int d;\n"}
    assert read(fenced("import os\nB = 3\nos.getpid()"), files, editable) == {"b.py": "import os\nB = 3\nos.getpid()\n"}
    found = parse_answer(fenced("C = 3"), files, editable)
    assert found == Flaw("a change has no file name; write FILE: and one of a.py, b.py, c.cu before it")


def test_words_around_an_answer_without_a_header_are_its_title_and_reason() -> None:
    found = parse_answer(f"Sure!\n{PROSE}\nHere it is:\n{fenced(GOOD)}", FILES, ONE)
    assert isinstance(found, Patch)
    assert (found.title, found.rationale, found.predicted_gain) == (PROSE, PROSE, None)
    tagged = parse_answer(ANSWERS["the tags of a system"], FILES, ONE)
    assert isinstance(tagged, Patch)
    assert (tagged.title, tagged.rationale) == ("longer", "why")
    fields = json.dumps({"title": "t", "rationale": "r", "predicted_gain": 0.5, "confidence": 0.7, "code": GOOD})
    assert parse_answer(fields, FILES, ONE) == Patch(
        title="t", rationale="r", predicted_gain=0.5, confidence=0.7, files={"initial_program.py": GOOD.encode()}
    )
