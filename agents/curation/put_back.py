"""Claims whose changes may be needless wait until an explorer has put back what does not matter. Pure.

Where literals are knobs, a search drifts: it leaves absurd numbers where they have no effect. So a claim of a sampler
that changes several of them waits a moment for proposals that put back some (`agents.search.structure.needless`). One
that is not worse, and puts back most, takes the place of the claim; it is proven as any other. A single score compares
them, so this holds for metrics without noise alone.
"""

import datetime as dt
from itertools import islice, takewhile

from agents.curation.verdicts import retired
from agents.search.structure.needless import PUT_BACK
from mesh.board import Board, Proposal
from mesh.events import ProposalRetired
from mesh.evidence import claim, fresh
from mesh.fleet import agents_here

PUT_BACK_WITHIN_S = 3.0
"""Longest wait for the next proposal that puts something back, in seconds."""

_WALKED = 100
"""Among this many first proposals a walk shows that literals are knobs."""


def awaits_put_back(board: Board, tree: str, now: dt.datetime) -> bool:
    """Tell whether a claim waits for a proposal that puts back some of its changes, or for its run.

    Args:
        board: The board of the arena.
        tree: The claim.
        now: The present time.
    """
    proposal = board.proposals[tree]
    if not _may_put_back(board):
        return False
    of = _origin(board, proposal)
    if of is None or not _is_worth_it(board, board.proposals[of]):
        return False
    steps = [of, *_steps(board, of)]
    ends = [board.runs[run].finished_at for step in steps for run in board.proposals[step].runs]
    if any(board.proposals[step].verdict == "open" and not board.scores(step) for step in steps):
        waited = max((board.proposals[step].time for step in steps), default=now)
        return (now - waited).total_seconds() < 20 * PUT_BACK_WITHIN_S
    latest = max((end for end in ends if end), default=now)
    return (now - latest).total_seconds() < PUT_BACK_WITHIN_S


def superseded(board: Board, waiting: list[str], now: dt.datetime) -> list[ProposalRetired]:
    """Retire claims of which a proposal that is not worse puts back the most, and the other ones of its kind.

    Args:
        board: The board of the arena.
        waiting: The claims that may race.
        now: The present time.
    """
    found: list[ProposalRetired] = []
    for of in waiting:
        steps = _steps(board, of)
        if board.proposals[of].event.origin.name == PUT_BACK or not steps or awaits_put_back(board, of, now):
            continue
        value = claim(board, of)
        good = [step for step in steps if _is_as_good(board, step, value[0] if value else None)]
        if not good:
            continue
        best = max(good, key=lambda step: len(board.proposals[step].event.knobs))
        count = len(board.proposals[best].event.knobs)
        for each in [of, *(step for step in good if step != best)]:
            text = f"as good as {best[:10]}, which puts back {count} needless {'change' if count == 1 else 'changes'}"
            found.append(retired(board, each, "not_better", text, (claim(board, each) or (None, ""))[0]))
    return found


def claims_to_put_back(board: Board) -> list[str]:
    """Return the undecided claims of samplers, better than the champion, of which changes may be put back."""
    if not _may_put_back(board):
        return []
    best = next(iter(fresh(board, board.champion).values()))
    found = []
    for tree in board.undecided:
        proposal, value = board.proposals[tree], claim(board, tree)
        is_claim = value is not None and board.spec.objective.better(value[0], best)
        if is_claim and _origin(board, proposal) == tree and _is_worth_it(board, proposal):
            found.append(tree)
    return found


def results(board: Board, of: str) -> dict[frozenset[tuple[str, str]], bool | None]:
    """Return what proposals put back of a claim, and whether they are not worse; None while they have no result."""
    value = claim(board, of)
    return {
        frozenset((change.file, change.name) for change in each.event.knobs): None
        if each.verdict == "open" and not board.scores(tree)
        else _is_as_good(board, tree, value[0] if value else None)
        for tree, each in _after(board, of)
        if each.event.origin.name == PUT_BACK and each.event.parents[:1] == (of,)
    }


def _after(board: Board, of: str) -> list[tuple[str, Proposal]]:
    """Return the proposals that came after one, in the order of the log: no earlier one puts its changes back."""
    seq = board.proposals[of].seq
    return [*takewhile(lambda item: item[1].seq > seq, reversed(board.proposals.items()))][::-1]


def _may_put_back(board: Board) -> bool:
    """Tell whether literals are knobs, an explorer is there, and the champion's scores show no noise."""
    scores = (
        board.scores(board.champion) if board.champion else []
    )  # a proof without noise is one run: its claim counts
    return (
        len(scores) > 1
        and len({*scores}) == 1
        and bool(agents_here(board, "explorer"))
        and any(each.event.origin.name == "walk" for each in islice(board.proposals.values(), _WALKED))
    )


def _origin(board: Board, proposal: Proposal) -> str | None:
    """Return the claim whose changes are put back: this one, or the one that it puts back changes of."""
    event = proposal.event
    if event.origin.how != "sampler":
        return None
    if event.origin.name != PUT_BACK:
        return event.tree
    return event.parents[0] if event.parents and event.parents[0] in board.proposals else None


def _is_worth_it(board: Board, proposal: Proposal) -> bool:
    event = proposal.event
    return len(event.knobs) > 1 or event.parents[:1] != (board.champion,)


def _steps(board: Board, of: str) -> list[str]:
    """Return the undecided proposals that put back changes of a claim."""
    found = ((tree, board.proposals[tree].event) for tree in board.undecided)
    return [tree for tree, event in found if event.origin.name == PUT_BACK and event.parents[:1] == (of,)]


def _is_as_good(board: Board, tree: str, value: float | None) -> bool:
    found = claim(board, tree)
    return found is not None and value is not None and not board.spec.objective.better(value, found[0])
