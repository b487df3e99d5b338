"""`wait`: how a proposal fares, and how that ends a wait. Every call is short; say it again to go on."""

from typing import Literal

import anyio

from gateway.answers import Outcome, OutcomeWord, closed_words, quote_of
from gateway.door import Door
from mesh.admission_order import QueuePlace, queue_place
from mesh.board import Board
from mesh.events import Failed
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import gain_of
from mesh.recall import recall

Awaited = Literal["score", "verdict"]

LONGEST_S = 50.0
"""Seconds that one call may take."""


async def await_outcome(
    door: Door, tree: str, *, until: Awaited = "verdict", seconds: float = LONGEST_S, seen: QueuePlace | None = None
) -> Outcome:
    """Return how a proposal fares, once it has what is awaited, or when the time is over.

    Args:
        door: The arena.
        tree: The proposal, by its tree hash.
        until: What is awaited: the first score, or the verdict. Whatever ends the case ends the wait as well.
        seconds: The longest time to wait, at most `LONGEST_S`.
        seen: The place in the queue that the caller knows: another one ends the call too.

    Raises:
        BusUnavailable: The log cannot be reached.
    """
    with anyio.move_on_after(min(seconds, LONGEST_S)):
        await door.follower.until(
            lambda board: bool(ending_of(board, tree, until)) or (seen is not None and queue_place(board, tree) != seen)
        )
    return await outcome_of(door, tree, until=until)


def ending_of(board: Board, tree: str, until: Awaited = "verdict") -> OutcomeWord:
    """Return what has become of a proposal, "" while that is open.

    Args:
        board: The board.
        tree: The proposal, by its tree hash.
        until: Whether a first score is enough.
    """
    proposal = board.proposals[tree]
    if proposal.ruled_out:
        return "refused"
    if proposal.verdict in ("champion", "past_champion"):
        return "promoted"
    if proposal.verdict == "retired":
        return "refused" if proposal.why == "blocked" else "no_score" if proposal.why == "failed" else "retired"
    if until == "score" and board.scores(tree) and board.missed(tree) is None:
        parent = proposal.event.parents[0] if proposal.event.parents else ""
        gain = gain_of(Ranking(board), tree, parent) if parent else None
        return "better" if gain is not None and gain > 0 else "not_better"
    return "closed" if board.closed else ""


async def outcome_of(door: Door, tree: str, *, until: Awaited = "verdict") -> Outcome:
    """Return how a proposal fares now; arguments as of `await_outcome`."""
    board = door.board
    await recall(door.bus, board, [tree])
    proposal, ranking = board.proposals[tree], Ranking(board)
    row = ranking.of(tree)
    parent = proposal.event.parents[0] if proposal.event.parents else ""
    before = ranking.of(parent) if parent in board.proposals else None
    blocks = [each for each in proposal.critiques if each.verdict == "block" and each.text]
    said = [(each.author, each.text) for each in blocks] if proposal.why == "blocked" else []
    said += [("the curator", ruling.text) for ruling in proposal.rulings[-1:] if ruling.text]
    if proposal.why == "killed":
        said.append(
            ("the curator", "its run was stopped before it had a score: others were ahead there, or somebody did")
        )
    if (missed := board.missed(tree)) and missed.message:
        said.append(("the worker", missed.message))
    ends = [run.finished.outcome for run in board.current_runs(tree) if run.finished]
    failures = [end for end in ends if isinstance(end, Failed) and end is not missed]
    said += [("the worker", end.message) for end in failures[-1:] if end.message]
    return Outcome(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        proposal=tree,
        posted=proposal.seq,
        author=proposal.author,
        state=ranking.state(tree),
        ending=ending_of(board, tree, until),
        queue=queue_place(board, tree),
        metric=board.spec.objective.metric,
        mean=row.mean if row else None,
        low=row.low if row else None,
        high=row.high if row else None,
        fresh=row.fresh if row else 0,
        parent=parent,
        parent_mean=before.mean if before else None,
        gain=gain_of(ranking, tree, parent) if parent and row else None,
        champion=board.champion,
        why="\n".join(quote_of(board, author, text) for author, text in said),
    )
