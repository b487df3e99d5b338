"""The artifact as it is comes first, posted once, by whichever role comes first."""

from pathlib import Path

from agents.baseline import baseline
from agents.explorer import Explorer
from agents.researcher import Researcher
from mesh.agent.protocol import Agent, Context
from mesh.board import Board
from mesh.events import ArenaClosed, Origin, ProposalPosted
from tests.support.given import Arena
from tests.test_researcher import NAME


async def test_roles_that_propose_begin_with_the_same_words(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    first = ProposalPosted(tree=arena.base, commit=arena.base_commit, title="as it is", origin=Origin(how="baseline"))
    roles: list[Agent] = [
        Explorer(Context("ann", 0, arena.code)),
        Researcher(Context("bob", 0, arena.code, {"model": NAME})),
    ]
    assert [await role.handle(arena.opening, arena.board) for role in roles] == [[first], [first]]


def test_it_is_proposed_once_and_only_in_an_open_arena(tmp_path: Path) -> None:
    assert baseline(Board(arena="a")) == []
    closed, arena = Arena(tmp_path / "closed"), Arena(tmp_path / "open")
    closed.add("operator", ArenaClosed(version=1, reason="operator"))
    assert baseline(closed.board) == []
    [first] = baseline(arena.board)
    arena.add("ann", first)
    assert baseline(arena.board) == []
