"""Proposals whose code is missing, damaged, forged or hostile: each fails alone, with a sentence."""

from pathlib import Path

import pytest

from agents.critic import Critic
from agents.explorer import Explorer
from agents.search.history import History
from mesh.agent.code_reader import CodeReader
from mesh.errors import ObjectMissing
from mesh.events import CritiquePosted, KnobChange, Origin, ProposalPosted
from mesh.testing import FILES, TRAIN, Arena
from tests.support.bad_code import READABLE, Bad, bad_commits

BAD = bad_commits(TRAIN)


SLOW = ("bomb", "300,000", "5,000")


def claim(bad: Bad) -> ProposalPosted:
    """A proposal that claims to come from a sampler, with a change that a model could learn from."""
    change = KnobChange(file="train.py", name="WIDTH", old=8, new=9)
    return ProposalPosted(
        tree=bad.tree, commit=bad.commit, title=bad.what, origin=Origin(how="sampler", name="tpe"), knobs=(change,)
    )


async def share(arena: Arena, bad: Bad) -> None:
    if bad.pack is not None:
        await arena.bus.put(bad.commit, bad.pack)


@pytest.mark.parametrize("what", BAD)
async def test_its_code_is_files_or_one_error(tmp_path: Path, what: str) -> None:
    arena, bad = Arena(tmp_path), BAD[what]()
    await share(arena, bad)
    base = arena.base_commit
    if bad.what in READABLE:
        files = await arena.code.files(bad.commit, base=base)
        assert not any(name.startswith("/") or ".." in name.split("/") for name in files)
        return
    for _ in range(1 if "bomb" in bad.what else 2):  # the second time with what the first left in the cache
        with pytest.raises(ObjectMissing) as caught:
            await arena.code.files(bad.commit, base=base)
        assert "\n" not in str(caught.value)
    assert await arena.code.files(base) == FILES


async def test_every_role_goes_on_beside_bad_proposals(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    await arena.code.push(arena.base_commit)
    arena.propose_baseline()
    arena.score(arena.base, 1.0)
    critic, explorer = Critic(arena.context("critic")), Explorer(arena.context("ann"))
    blocked: dict[str, CritiquePosted] = {}
    quick = [make() for what, make in BAD.items() if not any(word in what for word in SLOW)]
    for bad in quick:
        await share(arena, bad)
        post = arena.add("eve", claim(bad))
        [word] = await arena.when(critic, post, name="critic")
        assert isinstance(word, CritiquePosted)
        blocked[bad.what] = word
        arena.score(bad.tree, 0.5)  # a forged score makes it look like the best
    assert {what: word.verdict for what, word in blocked.items() if word.verdict != "block"} == {}
    known = await History(CodeReader(arena.code).files).read(arena.board)
    assert {trial.tree for trial in known.every} == {*arena.board.proposals}
    made = await arena.when(explorer, name="ann")
    proposals = [fact for fact in made if isinstance(fact, ProposalPosted)]
    assert proposals
    readable = {arena.base, *(bad.tree for bad in quick if bad.what in READABLE)}
    assert {parent for fact in proposals for parent in fact.parents} <= readable
