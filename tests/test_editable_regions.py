"""Markers bound what may be edited, in every language, at every place where a proposal comes in."""

import datetime as dt
import random
from pathlib import Path

import pytest

from agents.critic import judge
from agents.critique.earlier import Earlier
from agents.llm.patch import Flaw, Patch, parse_answer
from mesh import arena
from mesh.agent.draft import Draft
from mesh.editable_regions import bounded, editable_spans, protected_text, trespass, trouble_with_markers
from mesh.errors import BadArena, BadInput
from mesh.events import Origin, ProposalPosted, RunRequested, Scored
from mesh.memory import MemoryHub
from mesh.testing import SPEC, Arena
from tests.support.arenas import write_arena
from tests.test_drafts import Widener
from tests.test_worker import GOOD, WRITE
from tests.test_worker import Arena as WorkerArena

BASE = b"import os\n# EVOLVE-BLOCK-START\nX = 1\n# EVOLVE-BLOCK-END\nprint(X)\n"
TWO = b"a\n  // EVOLVE-BLOCK-START one\nb\n  // EVOLVE-BLOCK-END\nc\n// EVOLVE-BLOCK-START\n// EVOLVE-BLOCK-END\n"
FILES = {"train.py": BASE, "score.py": b"print(1)\n"}
INSIDE = BASE.replace(b"X = 1\n", b"X = 2\nY = 3\n")
OUTSIDE = BASE.replace(b"import os", b"import sys").replace(b"X = 1", b"X = 2")
SENTENCE = (
    "train.py is changed outside of its markers, in line 1: change only lines between EVOLVE-BLOCK-START and "
    "EVOLVE-BLOCK-END"
)


@pytest.mark.parametrize(
    "style",
    ["# {}", "// {}", "  -- {}", ";; {}", "/* {} */", "<!-- {} -->", "% {}", "(* {} *)", "{{- {} -}}", "{}", "#{}: x"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_markers_are_known_in_every_comment_style(style: str, end: str) -> None:
    start, stop = style.format("EVOLVE-BLOCK-START"), style.format("EVOLVE-BLOCK-END")
    data = end.join(["before", start, "x = 1", stop, "after", ""]).encode()
    [(first, last)] = editable_spans(data)
    assert data[first:last] == f"x = 1{end}".encode()
    assert trouble_with_markers("f", data) == ""


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n",
        "",
        "print('# EVOLVE-BLOCK-START')\n",
        '"# EVOLVE-BLOCK-START"\n',
        "EVOLVE-BLOCK-STARTED\n# see EVOLVE-BLOCK-END",
    ],
)
def test_a_file_without_markers_is_editable_as_a_whole(text: str) -> None:
    data = text.encode()
    assert editable_spans(data) == [(0, len(data))]
    assert trespass("f", data, b"anything") == protected_text(data).decode() == ""
    assert bounded(data, b"anything") == b"anything"


def test_several_regions_are_each_free_and_what_is_between_them_is_not() -> None:
    new = TWO.replace(b"b\n", b"B\nB\n").replace(b"START\n//", b"START\nD\n//")
    assert [TWO[slice(*span)] for span in editable_spans(TWO)] == [b"b\n", b""]
    assert (trespass("f", TWO, new), bounded(TWO, new)) == ("", new)
    assert bounded(TWO, new.replace(b"c\n", b"C\n")) == new
    assert "in line 5" in trespass("f", TWO, new.replace(b"c\n", b"C\n"))
    assert "in line 1" in trespass("f", TWO, b"\n" + new)
    assert "must keep its 2 pairs of markers" in trespass("f", TWO, new.replace(b"  // EVOLVE-BLOCK-END\n", b""))


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("a\n# EVOLVE-BLOCK-START\n", "f has EVOLVE-BLOCK-START in line 2 without EVOLVE-BLOCK-END after it"),
        ("# EVOLVE-BLOCK-END\n", "f has EVOLVE-BLOCK-END in line 1 without EVOLVE-BLOCK-START before it"),
        (
            "# EVOLVE-BLOCK-START\n\n# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END",
            "f has EVOLVE-BLOCK-START in line 1 and again in line 3",
        ),
        (
            "# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n# EVOLVE-BLOCK-END",
            "f has EVOLVE-BLOCK-END in line 3 without EVOLVE-BLOCK-START before it",
        ),
    ],
)
def test_markers_that_do_not_match_are_one_sentence_at_opening(text: str, trouble: str, tmp_path: Path) -> None:
    assert trouble_with_markers("f", text.encode()).startswith(trouble)
    with pytest.raises(BadArena, match=trouble.replace("f has", "artifact.editable: train.py has")):
        arena.load_arena(write_arena(tmp_path / "a", train=text))


def test_ends_of_lines_and_of_the_file_do_not_count_and_are_restored() -> None:
    windows = INSIDE.replace(b"\n", b"\r\n").rstrip()
    assert trespass("f", BASE, windows) == ""
    assert bounded(BASE, windows) == INSIDE.replace(b"X = 2\nY = 3\n", b"X = 2\r\nY = 3\r\n")


def test_whatever_is_proposed_the_protected_text_runs() -> None:
    rng = random.Random(1)
    pieces = [b"# EVOLVE-BLOCK-START\n", b"# EVOLVE-BLOCK-END\n", b"x\n", b"y", b"\n", b"import os\n", b"  "]
    for base in (BASE, TWO):
        for _ in range(2000):
            ran = bounded(base, b"".join(rng.choices(pieces, k=rng.randrange(9))))
            assert protected_text(ran) == protected_text(base)
            assert trespass("f", base, ran) == ""


def test_a_models_answer_that_leaves_the_region_is_refused_in_a_sentence() -> None:
    edit = "FILE: train.py\n<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE\n"
    assert parse_answer(edit.format("import os", "import sys"), FILES, ["train.py"]) == Flaw(SENTENCE)
    whole = f"FILE: train.py\n```python\n{INSIDE.decode()}\n```\n"
    found = parse_answer(whole, FILES, ["train.py"])
    assert isinstance(found, Patch)
    inside = parse_answer("FILE: train.py\n```\nX = 2\n```\n", FILES, ["train.py"])
    assert isinstance(inside, Patch)
    assert protected_text(inside.files["train.py"]) == protected_text(BASE)
    lost = parse_answer(edit.format("# EVOLVE-BLOCK-START", "X = 0"), FILES, ["train.py"])
    assert isinstance(lost, Flaw)
    assert lost.text.startswith("train.py must keep its 1 pair of markers EVOLVE-BLOCK-START and EVOLVE-BLOCK-END")


async def test_a_draft_outside_is_refused_and_one_inside_keeps_the_protected_bytes(tmp_path: Path) -> None:
    place = Arena(tmp_path, FILES)
    place.propose_baseline()
    with pytest.raises(BadInput) as refused:
        await place.facts([Draft({"train.py": OUTSIDE}, "t")], Widener())
    assert str(refused.value) == f"draft 't' leaves what it may change: {SENTENCE}"
    [made] = await place.facts([Draft({"train.py": INSIDE + b"\n\n"}, "t")], Widener())
    assert isinstance(made, ProposalPosted)
    assert (await place.code.files(made.commit))["train.py"] == INSIDE


def test_the_critic_blocks_what_is_outside() -> None:
    critique = judge(SPEC, "t", {**FILES, "train.py": OUTSIDE}, FILES, Earlier())
    assert (critique.verdict, critique.rule, critique.text) == ("block", "protected", SENTENCE)
    assert judge(SPEC, "t", {**FILES, "train.py": INSIDE}, FILES, Earlier()).verdict == "endorse"


def test_the_protected_text_of_a_file_is_part_of_what_scores() -> None:
    assert arena.evaluator_hash(SPEC, FILES) == arena.evaluator_hash(SPEC, {**FILES, "train.py": INSIDE})
    assert arena.evaluator_hash(SPEC, FILES) != arena.evaluator_hash(SPEC, {**FILES, "train.py": OUTSIDE})


async def test_a_worker_runs_the_protected_text_of_the_arena_whatever_the_proposal_has(tmp_path: Path) -> None:
    place = WorkerArena(await MemoryHub().arena("a", create=True), tmp_path)
    marked = f"{WRITE}LOSS = 4\n# EVOLVE-BLOCK-START\nX = 2\n# EVOLVE-BLOCK-END\n" + GOOD.replace("1.5", "LOSS * X")
    await place.open(train=marked)
    cheat = marked.replace("LOSS = 4", "LOSS = 0").replace("X = 2", "X = 3")
    made = place.code.commit(
        {"train.py": cheat.encode()}, parents=[], message="m", author="eve", at=dt.datetime.now(dt.UTC)
    )
    await place.code.push(made.commit)
    await place.post(ProposalPosted(tree=made.tree, commit=made.commit, title="t", origin=Origin(how="human")))
    await place.post(
        RunRequested(
            run="r1", lane="explore", proposal=made.tree, commit=made.commit, seed=7, budget_s=1, deadline_s=20
        )
    )
    async with place.worker(sandbox="none"):
        done = await place.finished()
    assert isinstance(done.outcome, Scored)
    assert done.outcome.value == 12
