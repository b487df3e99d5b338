"""What a new version of an arena makes of earlier proposals: which are ruled out, and who is champion then. Pure.

A proposal is ruled out while the version in force fixes what it changed. `arena.opened` lists those that were there; a
critic's block by the rule `FIXED` rules out one that came later. It must be one of the hub's own critics, or whoever
opened the version (`may_rule`): a member could take the title from any champion. No score of such a proposal counts.
If the champion is among them, the last champion that keeps to the version becomes champion again, by its old scores. A
later version that fixes less brings proposals back: the former champion at once if it was proven better than the
present one.
"""

from typing import Protocol

from mesh import events as e
from mesh.hand_outs import are_strict
from mesh.kept import KeptProposals
from mesh.own_names import is_reserved
from mesh.records import Proposal

FIXED = "fixed"
"""The rule of a critic that blocks what changed something that the version in force fixes."""


class Reign(Protocol):
    """The part of a board that this is about; `mesh.board.Board` says what the fields are."""

    opened: e.ArenaOpened | None
    opened_by: str
    champion: str
    champions: list[str]
    promoted_seq: int
    heir: str
    round: int
    proposals: KeptProposals
    undecided: dict[str, None]


def rule_out(board: Reign, seq: int, event: e.ArenaOpened) -> None:
    """Fold what a new version rules out into the board; entry `seq` opened it."""
    now = {tree: group.text for group in event.ruled_out for tree in group.proposals if tree in board.proposals}
    before = {tree for tree, proposal in board.proposals.items() if proposal.ruled_out}
    if not now and not before:
        return
    champions = [tree for tree in board.champions if tree in now]
    for tree, known in board.proposals.items():
        last = known.rulings[-1] if known.rulings else None
        is_void = isinstance(last, e.ProposalRetired) and last.why == "not_better" and last.met in champions
        if (tree in before or tree in now or is_void) and (proposal := board.proposals.take_out(tree)):
            proposal.ruled_out = now.get(tree, "")
            proposal.ruled_since = (proposal.ruled_since or event.version) if proposal.ruled_out else 0
            proposal.back_seq = proposal.back_seq if proposal.ruled_out else seq
    open_ones = ((tree, p) for tree, p in board.proposals.items() if p.verdict == "open")
    board.undecided = {tree: None for tree, proposal in open_ones if not proposal.ruled_out}
    _dethrone(board)
    board.heir = _heir(board, before)


def may_rule(opened: e.ArenaOpened | None, opened_by: str, event: e.CritiquePosted, author: str) -> bool:
    """Tell whether a critique rules out its target: a block by the rule `FIXED`, of somebody who may say so.

    Args:
        opened: The version in force.
        opened_by: Who opened it.
        event: The critique.
        author: Who posted it.
    """
    if (event.verdict, event.rule) != ("block", FIXED):
        return False
    return not are_strict(opened) or author == opened_by or is_reserved(author)


def rule_out_one(board: Reign, proposal: Proposal, event: e.CritiquePosted, author: str) -> bool:
    """Fold a critique of a proposal into the board, and tell whether it rules that out.

    The baseline keeps to its version.
    """
    if not may_rule(board.opened, board.opened_by, event, author):
        return False
    if board.opened is None or proposal.event.tree == board.opened.base_tree or proposal.ruled_out:
        return False
    proposal.ruled_out = event.text or "changed what this version fixes"
    proposal.ruled_since = board.opened.version
    board.undecided.pop(proposal.event.tree, None)
    if board.champion == proposal.event.tree:
        _dethrone(board)
        board.heir = _heir(board, set())
    return True


def reinstated(board: Reign) -> e.ProposalPromoted | None:
    """Return the promotion of the past champion that the version in force makes champion again; None if there is none.

    Its numbers are those of its last promotion: nothing is measured again.
    """
    if not board.heir or board.opened is None:
        return None
    proposal, version = board.proposals[board.heir], board.opened.version
    last = next(each for each in reversed(proposal.rulings) if isinstance(each, e.ProposalPromoted))
    why = f"version {version} fixes what a later champion changed"
    return e.ProposalPromoted(
        proposal=board.heir,
        round=board.round + 1,
        met=board.champion,
        mean=last.mean,
        low=last.low,
        high=last.high,
        seeds=last.seeds,
        p_better=last.p_better if board.champion else None,
        text=f"champion again: {f'version {version} allows what it changed' if board.champion else why}",
    )


def _dethrone(board: Reign) -> None:
    """Take the title from a champion that is ruled out."""
    champion = board.proposals.take_out(board.champion)
    if champion and champion.ruled_out:
        champion.verdict, board.champion, board.promoted_seq = "past_champion", "", 0


def _heir(board: Reign, before: set[str]) -> str:
    """Return the past champion that becomes champion: the last one allowed, or one that was proven better than it.

    Args:
        board: The board.
        before: The proposals that the version before ruled out.
    """
    allowed = [tree for tree in board.champions if _may_reign(board, tree)]
    current = board.champion or next(reversed(allowed), "")
    if not current:
        return ""
    later = board.champions[board.champions.index(current) + 1 :]
    returned = [tree for tree in later if tree in before and tree in allowed and tree != current]
    return returned[-1] if returned else "" if board.champion else current


def _may_reign(board: Reign, tree: str) -> bool:
    proposal = board.proposals[tree]
    return proposal.verdict in ("champion", "past_champion") and not proposal.ruled_out
