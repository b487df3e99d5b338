"""The order in which proposals get their first run, and the place of one of them. Pure.

The baseline runs first; nothing else is admitted until it has a number. Then come the proposals of people and of
models, then those of samplers, which make as many as there is room for. Each group is in the order of the log.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from mesh.baseline import is_measured
from mesh.board import Board
from mesh.changes import ChangeReader
from mesh.fleet import waiting
from mesh.last_boards import LastBoards

Stage = Literal["queued", "requested", "running", "measured", "decided"]


class QueuePlace(msgspec.Struct, frozen=True):
    """How far a proposal is on its way to a verdict.

    `queued`: no run of it is requested yet, and it is number `place` of `of` in the order of admission. `requested`:
    `place - 1` runs that wait were requested before its own. `running`: a worker executes its run. `measured`: its
    first run has ended, and the curator decides. `decided`: it has a verdict. `place` and `of` are 0 in the last three.
    """

    stage: Stage
    place: int = 0
    of: int = 0


def admission_order(board: Board) -> Iterator[str]:
    """Yield the undecided proposals in the order in which the curator admits them; the first ones cost little.

    Until the baseline has a number that is the baseline alone. A baseline of an earlier version that never had one is
    left out: the present one stands in its place.
    """
    base = board.opened.base_tree if board.opened else ""
    if base in board.proposals and not is_measured(board):
        return iter([base] if base in board.undecided else [])
    return _in_order(board, base)


def queue_place(board: Board, tree: str) -> QueuePlace:
    """Return how far a proposal of the board is.

    Args:
        board: A board that has all proposals and runs.
        tree: The proposal, by its tree hash.
    """
    proposal = board.proposals[tree]
    if proposal.verdict != "open" or proposal.ruled_out:
        return QueuePlace("decided")
    runs = board.current_runs(tree)
    unfinished = [run for run in runs if run.finished is None]
    if any(run.attempts for run in unfinished):
        return QueuePlace("running")
    if unfinished:
        queue = waiting(board)
        names = {run.requested.run for run in unfinished}
        first = next((place for place, name in enumerate(queue, 1) if name in names), 0)
        return QueuePlace("requested", first, len(queue))
    if runs:
        return QueuePlace("measured")
    base = board.opened.base_tree if board.opened else ""
    queued = [each for each in _in_order(board, base) if not board.current_runs(each)]
    return QueuePlace("queued", queued.index(tree) + 1 if tree in queued else 0, len(queued))


def place_words(place: QueuePlace) -> str:
    """Return the place of a proposal in words; "" if it is decided."""
    match place.stage:
        case "queued":
            return f"place {place.place} of {place.of} in the queue; people and models come before samplers"
        case "requested":
            before = place.place - 1
            waits = f"{before} {'run waits' if before == 1 else 'runs wait'} before it" if before else "it is the next"
            return f"its run is requested; {waits}"
        case "running":
            return "its run is under way"
        case "measured":
            return "its run has ended; the curator decides"
    return ""


def _in_order(board: Board, base: str) -> Iterator[str]:
    """Yield the undecided proposals: the baseline, those of people and models, those of samplers."""
    known = board.proposals
    if base in board.undecided:
        yield base
    yield from [tree for tree in _asked_by(board) if tree != base]
    yield from (tree for tree in board.undecided if tree != base and known[tree].event.origin.how == "sampler")


def _asked_by(board: Board) -> dict[str, None]:
    """Return the undecided proposals of people and models, kept up for the boards that were asked about last."""
    reader, trees = _kept.of(board)
    changes = reader.look(board)
    if changes.is_new:
        trees.clear()
    for tree in changes.touched(board):
        if tree in board.undecided and board.proposals[tree].event.origin.how not in ("sampler", "baseline"):
            trees[tree] = None
        else:
            trees.pop(tree, None)
    return trees


_kept: LastBoards[tuple[ChangeReader, dict[str, None]]] = LastBoards(lambda: (ChangeReader(), {}))
