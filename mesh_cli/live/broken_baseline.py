"""What `mesh up` does about a baseline that fails: nothing else can be scored, so it says why and ends, or waits."""

import sys

from mesh.arena_commands import import_cure
from mesh.baseline import baseline_failure, is_baseline_due
from mesh.board import Board, Run
from mesh.errors import MeshError
from mesh.events import Failed
from mesh.follow import Follower
from mesh.text import printable

_LOG_LINES = 15
"""Most lines of the log of a failed run that are shown."""


async def until_broken(follower: Follower, first: int, *, alone: bool) -> None:
    """Return once the baseline has failed after entry `first` of the log and this swarm cannot go on.

    If others serve the arena too, say once per failure what the swarm waits for, and go on.
    """
    seen = first
    while True:
        await follower.until(lambda board, after=seen: _failed_since(board, after) is not None)  # type: ignore[misc]
        run = _failed_since(follower.board, seen)
        if alone or run is None:
            return
        seen = run.finished_seq
        print(
            f"mesh: {reason(follower.board, run)}; waiting for the next version of the arena or for another worker",
            file=sys.stderr,
        )


def check_baseline(board: Board, first: int) -> None:
    """Show the log of a baseline that failed after entry `first`, and raise its reason.

    Raises:
        MeshError: The baseline has no score, because its last run failed.
    """
    run = _failed_since(board, first)
    if run is None or run.finished is None:
        return
    lines = run.finished.log_tail.strip().splitlines()[-_LOG_LINES:]
    if lines:
        print(f"the end of the log of run {run.requested.run}:", file=sys.stderr)
    for line in lines:
        print(f"  {printable(line, 500)}", file=sys.stderr)
    raise MeshError(f"{reason(board, run)}; mend the files or this machine, then start again: it is measured again")


def reason(board: Board, run: Run) -> str:
    """Return in one sentence why the baseline has no score."""
    outcome = run.finished.outcome if run.finished else None
    why = (
        f"{outcome.reason.replace('_', ' ')}: {printable(outcome.message, 500)}" if isinstance(outcome, Failed) else ""
    )
    cure = import_cure(board.spec.environment, why)
    why += f"; {cure}" if cure else ""
    return f"the baseline of arena {board.arena} has no score, so nothing can be compared ({why})"


def _failed_since(board: Board, seq: int) -> Run | None:
    run = baseline_failure(board)
    return run if run and run.finished_seq > seq and not is_baseline_due(board) else None
