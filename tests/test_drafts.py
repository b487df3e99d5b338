"""What the runtime makes of a role's files and words."""

import math
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pygit2
import pytest

from mesh.agent.draft import Draft
from mesh.agent.protocol import Answers
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.errors import MeshError
from mesh.events import AgentJoined, NotePosted, Origin, ProposalPosted
from mesh.testing import FILES, SPEC, TRAIN, VALUES, Arena, opened
from mesh.wire import Post
from tests.test_runtime import said

WIDER = TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9")


class Widener:
    """Proposes a wider network, whatever it hears."""

    listens: ClassVar[tuple[str, ...]] = ("note.posted",)

    async def handle(self, post: Post, board: Board) -> Answers:
        return await self.joined(board)

    async def joined(self, board: Board) -> Answers:
        return [Draft({"train.py": WIDER}, "wider", "more is more")]


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    """An open arena whose baseline is proposed."""
    arena = Arena(tmp_path)
    arena.propose_baseline()
    return arena


async def test_a_draft_is_a_commit_on_its_parent_by_the_role(arena: Arena, tmp_path: Path) -> None:
    [made] = await arena.when(Widener(), arena.opening)
    assert isinstance(made, ProposalPosted)
    assert made == ProposalPosted(
        tree=arena.code.tree_of({**FILES, "train.py": WIDER}),
        commit=made.commit,
        parents=(arena.base,),
        title="wider",
        rationale="more is more",
        origin=Origin(how="sampler", name="widener"),
        as_of=arena.board.seq,
        values={"train.py": VALUES["train.py"] | {"WIDTH": 9}},
    )
    commit = pygit2.Repository(str(tmp_path / "code.git"))[made.commit]
    assert isinstance(commit, pygit2.Commit)
    assert (commit.message, commit.author.name) == ("wider\n\nmore is more\n", "ann")
    assert commit.commit_time == arena.opening.at.timestamp()
    assert await arena.when(Widener(), arena.opening) == [made]  # the same board leads to the same commit


async def test_a_recombination_has_a_commit_with_two_parents_and_the_files_of_the_first(
    arena: Arena, tmp_path: Path
) -> None:
    trees = []
    for old, new in ((b"LR = 1e-3", b"LR = 0.5"), (b"BIAS = False", b"BIAS = True")):
        post = arena.propose_files({**FILES, "train.py": TRAIN.replace(old, new)})
        assert isinstance(post.event, ProposalPosted)
        trees.append(post.event.tree)
    [made] = await arena.facts([Draft({}, "both", parents=tuple(trees))], Widener(), name="eve")
    assert made == NotePosted(
        channel="ops", text=f"eve: draft 'both' has the files of proposal {trees[0][:10]} by ann, so it is not posted"
    )
    text = TRAIN.replace(b"LR = 1e-3", b"LR = 0.5").replace(b"BIAS = False", b"BIAS = True").decode()
    [made] = await arena.facts([Draft({"train.py": text}, "both", parents=tuple(trees))], Widener())
    assert isinstance(made, ProposalPosted)
    assert made.parents == tuple(trees)
    commit = pygit2.Repository(str(tmp_path / "code.git"))[made.commit]
    assert isinstance(commit, pygit2.Commit)
    assert [str(parent.tree.id) for parent in commit.parents] == trees


@pytest.mark.parametrize(
    ("draft", "sentence"),
    [
        (
            Draft({"score.py": b"print(0)\n"}, "cheat"),
            "draft 'cheat' changes 'score.py', which is protected; change only train.py",
        ),
        (
            Draft({"new.py": ""}, "more"),
            "draft 'more' changes 'new.py', which is protected; change only train.py",
        ),
        (Draft({}, "lost", parents=("f" * 40,)), "proposal 'ffffffffff' is not on the board of arena a"),
        (Draft({}, " "), "title of a draft is empty; describe the change in one line"),
        (Draft({}, 7), "title of a draft is 7; use text"),  # type: ignore[arg-type]
        (Draft("x", "t"), "files of draft 't' is of type str; use a dict of contents by path"),  # type: ignore[arg-type]
        (
            Draft({"train.py": 3}, "t"),  # type: ignore[dict-item]
            "file 'train.py' of draft 't' is of type int; use bytes or text",
        ),
        (
            Draft({}, "t", parents="abc"),  # type: ignore[arg-type]
            "parents of draft 't' is 'abc'; use a tuple of trees, such as (board.champion,)",
        ),
        (
            Draft({"train.py": WIDER}, "t", predicted_gain=math.inf),
            "proposal.posted.predicted_gain is inf; use a finite number",
        ),
        (
            Draft({"train.py": WIDER}, "t", confidence=5),
            "proposal.posted.confidence is 5 (int): expected `float` <= 1.0; docs/events.md lists the allowed values",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
async def test_a_draft_that_cannot_be_a_proposal_is_refused_in_one_sentence(
    arena: Arena, draft: Any, sentence: str
) -> None:
    with pytest.raises(MeshError) as refused:
        await arena.facts([draft], Widener())
    assert str(refused.value) == sentence


async def test_protected_files_that_are_as_they_were_may_be_named(arena: Arena) -> None:
    [made] = await arena.facts([Draft({**FILES, "train.py": WIDER}, "wider")], Widener())
    assert isinstance(made, ProposalPosted)
    assert await arena.code.files(made.commit) == {**FILES, "train.py": WIDER}


async def test_in_the_loop_the_code_is_shared_and_an_idea_of_another_is_told_once(arena: Arena) -> None:
    bus = arena.bus
    await bus.post(Post.new("operator", opened(SPEC, arena.base_commit, arena.base)))
    seats = [Seat("ann", Widener()), Seat("bob", Widener())]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_agents, bus, seats, arena.code)
            baseline, wider = await said(bus, ProposalPosted, 2)
            await said(bus, AgentJoined, 2)
            for _ in range(3):
                await bus.post(Post.new("people", NotePosted(channel="general", text="well?")))
            loser = "bob" if wider.author == "ann" else "ann"
            notes = await said(bus, NotePosted, 1, loser)
            if "'as it is'" in str(notes[0].event):  # both had the baseline at the same time, too
                notes = await said(bus, NotePosted, 2, loser)
            tasks.cancel_scope.cancel()
    assert isinstance(baseline.event, ProposalPosted)
    assert isinstance(wider.event, ProposalPosted)
    assert (baseline.event.tree, wider.event.title) == (arena.base, "wider")
    assert await bus.get(wider.event.commit)
    known = f"proposal {wider.event.tree[:10]} by {wider.author}"
    text = f"{loser}: draft 'wider' has the files of {known}, so it is not posted"
    assert notes[-1].event == NotePosted(channel="ops", text=text)
