"""A critic's model knows the task: the operator's words, the evaluator, the numbers of the parent, within its limit."""

from pathlib import Path

from msgspec.structs import replace

from agents.llm.digest import brief
from mesh.data_marks import tokens_of
from mesh.events import Origin, ProposalPosted, RunFinished, Scored
from mesh.testing import BEGAN, FILES, SPEC, TRAIN, Arena

WIDER = TRAIN.replace(b"LR = 1e-3", b"LR = 0.5")


def shown(folder: Path, words: str, score: bytes, max_tokens: int) -> str:
    """What a critic reads about a model's proposal, whose parent has a score."""
    base = {**FILES, "score.py": score}
    arena = Arena(folder, base, replace(SPEC, brief=words))
    arena.propose_baseline()
    run = arena.request(arena.base)
    outcome = Scored(value=3.0, metrics={"loss": 3.0, "rows_read": 77.0})
    arena.add("w", RunFinished(run=run, proposal=arena.base, outcome=outcome, worker="w", worker_class="cpu"))
    files = {**base, "train.py": WIDER}
    made = arena.code.commit(files, parents=[arena.base_commit], message="m", author="ann", at=BEGAN)
    origin = Origin(how="model")
    arena.add(
        "ann",
        ProposalPosted(tree=made.tree, commit=made.commit, parents=(arena.base,), title="faster", origin=origin),
    )
    return brief(arena.board, made.tree, {arena.base: base, made.tree: files}, max_tokens=max_tokens)


def test_the_critic_knows_the_task_and_how_it_is_scored(tmp_path: Path) -> None:
    text = shown(tmp_path, "Find the BRIEF slope.", b"# counts the CALIBRATED rows\nprint(1)\n", 5000)
    places = [text.index(word) for word in ("rows_read: 77", "+LR = 0.5", "Find the BRIEF slope.", "CALIBRATED")]
    assert places == sorted(places)
    assert "Other files of the task" not in text


def test_a_large_task_leaves_room_for_the_proposal_to_judge(tmp_path: Path) -> None:
    for tokens in (700, 1500, 6000):
        text = shown(tmp_path / str(tokens), "many words " * 3000, b"x = 1  # " + b"scored " * 9000, tokens)
        assert "+LR = 0.5" in text
        assert tokens_of(text) <= tokens
