"""How much of the workers' time proof may take. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

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
    return proof_time(board).is_within(board.spec.selection.proof_share, runs)


class ProofTime(NamedTuple):
    """The runs of proof that were requested, all finished runs, and the seconds of these by lane."""

    proven: int
    finished: int
    seconds: Mapping[str, float]

    def is_within(self, share: float, runs: int) -> bool:
        """Tell whether proof stays within its share of the workers' time with this many more runs."""
        seconds, whole = sum(self.seconds.get(lane, 0.0) for lane in PROOF), sum(self.seconds.values())
        if not seconds:
            seconds, whole = float(self.proven), float(self.finished)
        mean = seconds / self.proven if self.proven else 0.0
        return seconds + runs * mean <= share * (whole + runs * mean) + ALLOWANCE * mean


def proof_time(board: Board) -> ProofTime:
    """Return the time of proof and of all runs so far."""
    return ProofTime(len(board.proofs), board.finished, board.seconds)


def _is_searching(board: Board) -> bool:
    runs: Iterable[Run] = (board.runs[name] for name in board.unfinished)
    return any(run.requested.lane not in PROOF and is_awaited(board, run) for run in runs)
