"""What `mesh.testing` gives the author of a role: given some facts, when it hears one, then it answers."""

from pathlib import Path
from typing import ClassVar

import pytest

from mesh.agent.draft import Draft
from mesh.agent.protocol import Context
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import AnyEvent, CritiquePosted, NotePosted, ProposalPosted, RunFinished
from mesh.testing import FILES, Arena, git_hash, given
from mesh.wire import Post


class MyCritic:
    """Warns of titles that promise too much."""

    role: ClassVar[str] = "critic"
    listens: ClassVar[tuple[str, ...]] = ("proposal.posted",)

    def __init__(self, context: Context) -> None:
        self.name = context.name

    async def handle(self, post: Post, board: Board) -> list[AnyEvent]:
        if not isinstance(post.event, ProposalPosted) or "best" not in post.event.title:
            return []
        return [CritiquePosted(target=post.event.tree, verdict="warn", rule="boast", text="it says it is the best")]


class MyExplorer:
    """Halves the rate after every run."""

    listens: ClassVar[tuple[str, ...]] = ("run.finished",)

    def __init__(self, context: Context) -> None:
        self.code = context.code

    async def handle(self, post: Post, board: Board) -> list[Draft]:
        assert isinstance(post.event, RunFinished)
        text = (await self.code.files(board, post.event.proposal))["train.py"].decode()
        return [Draft({"train.py": text.replace("LR = 1e-3", "LR = 5e-4")}, "LR 1e-3 → 5e-4")]


async def test_a_critic_is_tested_on_a_board_written_by_hand(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    critic = MyCritic(arena.context("cid"))
    assert await arena.when(critic, arena.propose("t1")) == []
    boast = arena.propose("the-best")
    [word] = await arena.when(critic, boast)
    arena.add("cid", word)
    assert [each.rule for each in arena.board.proposals[git_hash("the-best")].critiques] == ["boast"]


async def test_an_explorer_is_tested_on_real_files(tmp_path: Path) -> None:
    # given an arena whose baseline has a score
    arena = Arena(tmp_path, FILES)
    arena.propose_baseline()
    post = arena.score(arena.base, 0.5)
    # when a role hears of it
    [proposal] = await arena.when(MyExplorer(arena.context("ann")), post)
    # then it is a proposal with code, and its result can be written by hand too
    assert isinstance(proposal, ProposalPosted)
    files = await arena.code.files(proposal.commit)
    assert b"LR = 5e-4" in files["train.py"]
    arena.add("ann", proposal)
    arena.score(proposal.tree, 0.4)
    assert arena.board.scores(proposal.tree) == [0.4]
    arena.retire(proposal.tree)
    assert arena.board.proposals[proposal.tree].why == "not_better"


async def test_what_cannot_be_posted_is_the_sentence_that_the_user_would_see(tmp_path: Path) -> None:
    class Wrong(MyExplorer):
        async def handle(self, post: Post, board: Board) -> list[Draft]:
            return [Draft({"score.py": "print(0)\n"}, "cheat")]

    arena = Arena(tmp_path)
    with pytest.raises(BadInput, match=r"^draft 'cheat' changes 'score.py', which is protected; change only train.py$"):
        await arena.when(Wrong(arena.context("ann")), arena.opening)


def test_a_board_is_given_by_facts_alone() -> None:
    board = given(
        ("ann", NotePosted(channel="general", text="hello")), ("bob", NotePosted(channel="ops", text="ready"))
    )
    assert ([note.text for note in board.latest], board.notes) == (["hello"], 2)
    assert board.opened is not None
    assert board.spec.artifact.editable == ("train.py",)
