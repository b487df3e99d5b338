"""What the scores of one proposal in one worker class say together, folded one score after the other. Pure.

A sum of floating-point numbers depends on the order of its terms. Folded in the order in which the runs finished, the
board and SQL get the same numbers to the last bit, however the log was cut into batches.
"""

from typing import Self

import msgspec

from mesh.events import PROOF


class Rule(msgspec.Struct, frozen=True):
    """What decides which scores rank in an arena, and how; `sign` makes greater better."""

    evaluator: str
    base_tree: str
    sign: int
    exact: bool

    def is_fresh(self, proposal: str, lane: str) -> bool:
        """Tell whether a score proves something: the proposal was not chosen by it."""
        return self.exact or lane in PROOF or proposal == self.base_tree


class Standing(msgspec.Struct, frozen=True):
    """The scores of one proposal in one worker class; in units of the metric, seconds of its trials.

    `proven` are the fresh scores, `claimed` the others. `squares_added` is what the last score added to the sum of
    squared deviations from the mean of the fresh ones (B. P. Welford, Technometrics 4(3), 1962); of equal scores 0.
    """

    scores: int = 0
    least: float = float("inf")
    greatest: float = float("-inf")
    seconds: float = 0.0
    any_self_reported: bool = False
    proven_count: int = 0
    proven_mean: float | None = None
    squares_added: float = 0.0
    claimed_count: int = 0
    claimed_sum: float = 0.0

    def add(self, value: float, *, fresh: bool, seconds: float = 0.0, self_reported: bool = False) -> Self:
        """Return the standing after one more score."""
        count, mean, added = self.proven_count, self.proven_mean, 0.0
        if fresh:
            count += 1
            off = 0.0 if mean is None else value - mean
            mean = value if mean is None else mean + off / count
            added = off * (value - mean)
        return type(self)(
            self.scores + 1,
            min(self.least, value),
            max(self.greatest, value),
            self.seconds + seconds,
            self.any_self_reported or self_reported,
            count,
            mean,
            added,
            self.claimed_count + (not fresh),
            self.claimed_sum + (0.0 if fresh else value),
        )

    @property
    def claimed(self) -> float | None:
        """The mean of the claims; None where there is none."""
        return self.claimed_sum / self.claimed_count if self.claimed_count else None

    @property
    def mean(self) -> float:
        """The mean of the fresh scores, else of the claims."""
        return self.proven_mean if self.proven_mean is not None else self.claimed_sum / self.claimed_count

    @property
    def seeds(self) -> int:
        """How many scores `mean` is the mean of."""
        return self.proven_count or self.scores
