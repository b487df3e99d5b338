"""Which move an agent makes next, of which parents, and whether it may make it now: for roles that change code. Pure.

The next move depends on the agent's name and the number of its proposals, so that several agents make different ones.
"""

import datetime as dt
import hashlib
from collections.abc import Collection
from itertools import islice

from agents.llm.digest import ranked_proposals
from mesh.agent.code_reader import CodeReader
from mesh.board import Board
from mesh.fleet import agents_here
from mesh.model_pauses import pauses

UNDECIDED = 2
"""Limit of an agent's proposals that wait for their first result."""

_SHARE, _LATEST = 0.3, 40
"""Share of the proposals that models may make beside explorers, and the number of the latest in which it is counted."""

EXPLORERS_IDLE_S = 10.0
"""Seconds without a waiting proposal of a sampler after which explorers are taken to have nothing to propose."""

MOVES = ("improve",) * 6 + ("recombine",) * 3 + ("simplify",)
"""The moves, each as often as its frequency out of 10."""

_PARENTS = 5
"""Number of the best proposals among which parents are."""


class IdleExplorers:
    """Tells whether explorers propose nothing: none of their proposals has waited for a result for some seconds.

    They have no knobs, have tried all values, or are dead. Else they would propose at once.
    """

    def __init__(self) -> None:
        self._since: dt.datetime | None = None

    def seen(self, board: Board, now: dt.datetime) -> bool:
        """Look at the board, and return whether they are idle now."""
        if any(board.proposals[tree].event.origin.how == "sampler" and _waits(board, tree) for tree in board.undecided):
            self._since = None
            return False
        self._since = self._since or now
        return (now - self._since).total_seconds() >= EXPLORERS_IDLE_S


def is_due(board: Board, name: str, now: dt.datetime, *, alone: bool = False) -> bool:
    """Tell whether an agent may ask a model now.

    It does not while too many of its proposals wait for a result, in a pause, and while models are ahead of samplers.

    Args:
        board: The board of the arena.
        name: The name of the agent.
        now: The time.
        alone: Whether explorers can propose nothing, so that no share is kept for them.
    """
    if sum(board.proposals[tree].author == name and _waits(board, tree) for tree in board.undecided) >= UNDECIDED:
        return False
    if pauses(board, name, now):
        return False
    if alone or not agents_here(board, "explorer"):
        return True
    origins = [proposal.event.origin.how for proposal in islice(reversed(board.proposals.values()), _LATEST)]
    models, samplers = origins.count("model"), origins.count("sampler")
    return models <= _SHARE * (models + samplers)


async def choose_with_code(board: Board, name: str, code: CodeReader) -> tuple[str, tuple[str, ...]]:
    """Return the next move and its parents, all of which have code: an author may never share it."""
    assert board.opened is not None
    made = sum(proposal.author == name for proposal in board.proposals.values())
    failed = board.failed_calls.get(name)
    without: set[str] = set()
    while True:
        move, parents = choose(board, name, made, without, unusable=failed.unusable if failed else 0)
        lost = {*parents} - (await code.at_hand(board, parents)).keys() - {board.opened.base_tree}
        if not lost:
            return move, parents
        without |= lost


def choose(
    board: Board, name: str, made: int, without: Collection[str] = (), *, unusable: int = 0
) -> tuple[str, tuple[str, ...]]:
    """Return the next move and its parent proposals; the move changes the first one.

    After answers of no use the same question would get such an answer again: the move and the parents are others then.

    Args:
        board: The board of the arena.
        name: The name of the agent.
        made: The number of proposals it has made.
        without: Proposals that cannot be a parent.
        unusable: The number of answers in a row that could not be used.
    """
    assert board.opened is not None
    draw = int.from_bytes(hashlib.sha256(f"{name} {made + unusable}".encode()).digest()[:8])
    move = MOVES[draw % len(MOVES)]
    ranked = [tree for tree in ranked_proposals(board) if tree not in without][:_PARENTS]
    first = ranked[unusable // 2 % len(ranked)] if ranked else board.opened.base_tree
    others = [tree for tree in ranked if tree not in (first, board.opened.base_tree)]
    if move == "recombine" and others:
        return move, (first, others[draw // len(MOVES) % len(others)])
    return ("improve" if move == "recombine" else move), (first,)


def _waits(board: Board, tree: str) -> bool:
    """Tell whether an undecided proposal waits for its first result. One with a result may wait long for proof."""
    return not any(run.finished for run in board.current_runs(tree))
