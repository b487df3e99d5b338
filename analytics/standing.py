"""How good each proposal stands after each of its scores, folded one score after the other.

A sum of floating-point numbers depends on the order of its terms: folded in the order of the log, a replay gives the
same numbers to the last bit, however it was cut into batches. Pure; `analytics.scores` reads and writes the rows.
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
    """What the scores of one proposal say together; in units of the metric, seconds of its trials.

    `proven_squares` is the sum of squared deviations from `proven_mean` (B. P. Welford, Technometrics 4(3), 1962),
    `previous` is the sequence of the score before this, None of the first.
    """

    previous: int | None = None
    scores: int = 0
    least: float = float("inf")
    greatest: float = float("-inf")
    seconds: float = 0.0
    any_self_reported: bool = False
    proven_count: int = 0
    proven_mean: float | None = None
    proven_squares: float = 0.0
    claimed_count: int = 0
    claimed_sum: float = 0.0

    def add(self, value: float, *, fresh: bool, seconds: float, self_reported: bool, previous: int | None) -> Self:
        """Return the standing after one more score; `previous` is the sequence at which this one was reached."""
        count, mean, squares = self.proven_count, self.proven_mean, self.proven_squares
        if fresh:
            count += 1
            off = value - (mean or 0.0) if count > 1 else value
            mean = (mean or 0.0) + off / count if count > 1 else value
            squares += off * (value - mean) if count > 1 else 0.0
        return type(self)(
            previous,
            self.scores + 1,
            min(self.least, value),
            max(self.greatest, value),
            self.seconds + seconds,
            self.any_self_reported or self_reported,
            count,
            mean,
            squares,
            self.claimed_count + (not fresh),
            self.claimed_sum + (0.0 if fresh else value),
        )
