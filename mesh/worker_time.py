"""Into what the workers' time went: search, proof, controls; and advice where that is odd. Pure."""

from collections.abc import Iterable

import msgspec

from mesh.board import Board
from mesh.events import PROOF, Failed
from mesh.times import duration

ODD_FAILED = 0.25
"""Share of the time of search in failed runs, from which advice is given."""
ODD_BEYOND = 0.1
"""By how much the share of proof must be above its limit for advice."""
FEWEST_RUNS = 20
"""Finished runs before there is advice."""
ALLOWANCE = 8
"""Runs of proof beyond its share: those of the baseline, and the first of the first race."""


class RunTime(msgspec.Struct, frozen=True):
    """The seconds that a finished run took a worker; `failed` if it has no number and was not killed.

    Several runs that are alike may be one, with their sum.
    """

    lane: str
    seconds: float
    failed: bool
    count: int = 1


class WorkerTime(msgspec.Struct, frozen=True):
    """Seconds of workers; `failed_s` is the part of `search_s` in failed runs.

    `runs` and `proofs` are the numbers of finished runs, and of those that prove.
    """

    search_s: float
    failed_s: float
    proof_s: float
    controls_s: float
    looks_s: float
    runs: int
    proofs: int

    @property
    def total_s(self) -> float:
        """All seconds."""
        return self.search_s + self.proof_s + self.controls_s + self.looks_s

    @property
    def proof_share(self) -> float:
        """The share of proof with its controls, 0 without any time."""
        return (self.proof_s + self.controls_s) / self.total_s if self.total_s else 0.0


def worker_time(runs: Iterable[RunTime]) -> WorkerTime:
    """Return the sums over finished runs."""
    seconds = dict[str, float]()
    failed_s, count, proofs = 0.0, 0, 0
    for run in runs:
        count, proofs = count + run.count, proofs + run.count * (run.lane in PROOF)
        seconds[run.lane] = seconds.get(run.lane, 0.0) + run.seconds
        failed_s += run.seconds if run.failed and run.lane == "explore" else 0.0
    looks_s = sum(seconds.get(lane, 0.0) for lane in ("sealed", "audit"))
    search_s, proof_s, controls_s = (seconds.get(lane, 0.0) for lane in ("explore", "confirm", "control"))
    return WorkerTime(search_s, failed_s, proof_s, controls_s, looks_s, count, proofs)


def times_of(board: Board) -> Iterable[RunTime]:
    """Yield the times of the finished runs of a board."""
    for run in board.runs.values():
        if (ended := run.finished) is not None:
            outcome = ended.outcome
            failed = isinstance(outcome, Failed) and not run.has_number and outcome.reason != "killed"
            yield RunTime(run.requested.lane, ended.trial_s + ended.score_s, failed)


def time_words(time: WorkerTime) -> str:
    """Return the total and the shares in one line; "" without any time."""
    if not time.total_s:
        return ""
    parts = [f"search {time.search_s / time.total_s:.0%}", f"proof {time.proof_s / time.total_s:.0%}"]
    parts[0] += f" (failed runs {time.failed_s / time.total_s:.0%})" if time.failed_s else ""
    for name, seconds in (("controls", time.controls_s), ("sealed looks", time.looks_s)):
        parts += [f"{name} {seconds / time.total_s:.0%}"] if seconds else []
    return f"{duration(time.total_s)}: {', '.join(parts)}"


def time_advice(time: WorkerTime, proof_share: float) -> list[str]:
    """Return a sentence for each share that is odd.

    Args:
        time: What the workers' time went into.
        proof_share: `selection.proof_share`, the largest share of proof while search has runs.
    """
    if time.runs < FEWEST_RUNS or not time.total_s:
        return []
    found = list[str]()
    if time.search_s and time.failed_s / time.search_s > ODD_FAILED:
        found.append(
            f"{time.failed_s / time.search_s:.0%} of the time of search went into failed runs: "
            "`mesh sql \"FROM runs WHERE state = 'failed'\"` shows why; a narrower range of a knob may help"
        )
    if time.proof_share * max(0.0, 1 - ALLOWANCE / max(1, time.proofs)) > proof_share + ODD_BEYOND:
        found.append(
            f"proof took {time.proof_share:.0%} of the time, more than the {proof_share:.0%} that it may take from "
            "search: search had too little to run; start more explorers or a model"
        )
    return found
