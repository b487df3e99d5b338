"""The artifact as it is comes first, posted once, by whichever role proposes first."""

from pathlib import Path

import pytest

from agents.explorer import Explorer
from agents.researcher import Researcher
from mesh.agent.draft import BASELINE, Draft
from mesh.agent.protocol import Agent
from mesh.events import ArenaClosed, Origin, ProposalPosted
from mesh.testing import VALUES, Arena
from tests.test_researcher import NAME


def roles(arena: Arena) -> list[Agent]:
    return [Explorer(arena.context("ann")), Researcher(arena.context("bob", {"model": NAME}))]


def first(arena: Arena) -> ProposalPosted:
    origin = Origin(how="baseline")
    return ProposalPosted(tree=arena.base, commit=arena.base_commit, title="as it is", origin=origin, values=VALUES)


@pytest.mark.parametrize("number", [0, 1])
async def test_roles_that_propose_begin_with_the_same_words(tmp_path: Path, number: int) -> None:
    arena = Arena(tmp_path)
    role = roles(arena)[number]
    assert await arena.when(role, arena.opening) == await arena.when(role) == [first(arena)]


async def test_a_role_that_does_not_know_of_the_baseline_has_it_proposed_before_its_own_draft(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    [agent, _] = roles(arena)
    draft = Draft({"train.py": "LR = 1\n"}, "a rate of 1")
    baseline, own = await arena.facts([draft, BASELINE], agent)
    assert baseline == first(arena)
    assert isinstance(own, ProposalPosted)
    assert (own.title, own.parents) == ("a rate of 1", (arena.base,))
    arena.propose_baseline()
    [again] = await arena.facts([draft], agent)
    assert isinstance(again, ProposalPosted)
    assert (again.tree, again.title) == (own.tree, own.title)


async def test_nothing_is_proposed_to_an_arena_that_is_closed(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    arena.add("operator", ArenaClosed(version=1, reason="operator"))
    assert [await arena.when(role) for role in roles(arena)] == [[], []]
