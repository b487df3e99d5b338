"""What a worker does with a run that it is given: execute it, leave it to others, or end it without a trial. Pure."""

import msgspec

from mesh.board import Board, Run
from mesh.events import Failed, RunRequested
from mesh.hand_outs import is_quarantined

MAX_ATTEMPTS = 3
"""How many workers may die of a run before it is lost."""
OTHER_CLASS_S, OTHER_OWNER_S = 5.0, 1.0
"""How long a run rests that this worker cannot execute, and one that a worker of another owner should."""
MAX_DECLINES, DECLINED_S = 3, 0.2
"""How often a worker leaves a run to others that it should avoid, and how long they have to take it."""


class Drop(msgspec.Struct, frozen=True):
    """Take it off the queue: it is finished or replaced, or not a run of this arena."""


class Leave(msgspec.Struct, frozen=True):
    """Hand it back; it comes to a worker again after `delay_s`. `declined`: it should rather run elsewhere."""

    delay_s: float
    declined: bool = False


class End(msgspec.Struct, frozen=True):
    """Post this outcome without a trial."""

    outcome: Failed


class Execute(msgspec.Struct, frozen=True):
    """Run it."""


Decision = Drop | Leave | End | Execute


class Taker(msgspec.Struct, frozen=True):
    """The worker that was given the run.

    Args:
        is_fit: whether it may run the arena.
        has_others: whether other workers of its class are there.
        declines: how often it has declined this run.
        handed_back: how often it has begun this run and handed it back for trouble of its own.
        delivered: how often the queue has handed out this run, this time included.
    """

    boot: str
    name: str
    worker_class: str
    is_fit: bool
    has_others: bool
    declines: int
    handed_back: int
    delivered: int


def triage(board: Board, request: RunRequested, seq: int, taker: Taker) -> Decision:
    """Return what to do with the request that stands at `seq` of the log."""
    run = board.runs.get(request.run)
    if run is None or run.seq != seq or request.run not in board.unfinished or not board.opened:
        return Drop()
    if request.worker_class not in ("any", taker.worker_class) or not taker.is_fit:
        return Leave(OTHER_CLASS_S)
    if is_quarantined(board.doubts.contradictions, taker.name):
        return Leave(OTHER_CLASS_S)
    if taker.name in request.not_by:
        return Leave(OTHER_OWNER_S)
    if request.avoid == taker.boot and taker.declines < MAX_DECLINES and taker.has_others:
        return Leave(DECLINED_S, declined=True)
    if run.killed:
        return End(Failed(reason="killed", message="the run was stopped before it began"))
    if request.lane == "sealed" and request.proposal not in board.looks:
        text = "the sealed split is not open to this proposal: no holdout.opened of this version that counts names it"
        return End(Failed(reason="killed", message=text))
    if _deaths(board, run, taker) >= MAX_ATTEMPTS:
        text = f"the run was started {run.attempts} times and no worker finished it"
        return End(Failed(reason="lost", message=text))
    return Execute()


def _deaths(board: Board, run: Run, taker: Taker) -> int:
    """Return how many workers died of a run: not those that left in good order, nor the taker's own handing back.

    They are at most as many as the queue gave it to before: a start is a claim, which nobody's work has to follow.
    """
    workers = board.workers
    in_order = {boot for boot in run.begun if boot in workers and workers[boot].left and not workers[boot].silent}
    others = sum(boot != taker.boot and boot not in in_order for boot in run.begun)
    said = others + run.begun.count(taker.boot) - taker.handed_back
    return min(said, taker.delivered - 1)
