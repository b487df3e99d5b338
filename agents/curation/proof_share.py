"""How much of the workers' time proof may take. Pure."""

from collections.abc import Iterable

from mesh.board import Board, Run
from mesh.events import PROOF
from mesh.fleet import is_awaited
from mesh.worker_time import ALLOWANCE


def affords(board: Board, runs: int) -> bool:
    """Tell whether proof may take this many more runs now.

    It may while its share of the workers' time stays within `proof_share`, and whenever search has nothing to run.
    Where the log has no times, runs count.
    """
    return not _is_searching(board) or is_within_share(board, runs)


def is_within_share(board: Board, runs: int) -> bool:
    """Tell whether the share of proof stays within `proof_share` with this many more runs, whatever search does."""
    proven = len(board.proofs)
    seconds, whole = sum(board.seconds.get(lane, 0.0) for lane in PROOF), sum(board.seconds.values())
    if not seconds:
        seconds, whole = float(proven), float(board.finished)
    mean = seconds / proven if proven else 0.0
    return seconds + runs * mean <= board.spec.selection.proof_share * (whole + runs * mean) + ALLOWANCE * mean


def _is_searching(board: Board) -> bool:
    runs: Iterable[Run] = (board.runs[name] for name in board.unfinished)
    return any(run.requested.lane not in PROOF and is_awaited(board, run) for run in runs)
