"""How a role is tested: an arena in memory, facts written by hand, and what the role answers.

In this folder:

    python -m pytest test_role.py
"""

from pathlib import Path

import anyio
from role import Halver

from mesh.events import ProposalPosted
from mesh.testing import Arena


def test_the_role_goes_on_from_the_champion(tmp_path: Path) -> None:
    """Given a champion with half the rate, the role halves it again."""
    arena = Arena(tmp_path, {"train.py": b"LR = 0.1\n", "score.py": b"print(1)\n"})  # given an open arena,
    arena.propose_baseline()
    better = arena.propose_files({"train.py": b"LR = 0.05\n", "score.py": b"print(1)\n"})  # and a better proposal
    assert isinstance(better.event, ProposalPosted)
    arena.score(better.event.tree, 0.25)
    promoted = arena.promote(better.event.tree)
    halver = Halver(arena.context("ann"))
    [proposal] = anyio.run(arena.when, halver, promoted)  # when the role hears that it is champion,
    assert isinstance(proposal, ProposalPosted)
    assert proposal.title == "LR 0.05 → 0.025"  # then it proposes half of that
    assert proposal.parents == (better.event.tree,)


def test_the_role_waits_for_a_verdict(tmp_path: Path) -> None:
    """Given an undecided proposal of its own, the role proposes nothing."""
    arena = Arena(tmp_path)
    arena.propose_baseline("ann")
    post = arena.score(arena.base, 0.5)
    assert anyio.run(arena.when, Halver(arena.context("ann")), post) == []
