"""Running statistics of the scores of one proposal in one worker class. Pure.

A sum of floating-point numbers depends on the order of its terms. The board and SQL both add scores in the order in
which the runs finished. So they get the same numbers to the last bit, whatever batches the log was read in.
"""

from typing import Self

import msgspec

from mesh.events import PROOF


class Rule(msgspec.Struct, frozen=True):
    """Which scores of an arena rank, and in which direction.

    Attributes:
        evaluator: hash of the evaluator whose scores count.
        base_tree: tree of the baseline, whose scores are all fresh.
        sign: 1 if greater is better, -1 if less is.
        exact: whether the metric has no noise, so that all scores are fresh.
        ruled_out: proposals whose scores do not rank, in tables that keep scores; a board knows them itself.
    """

    evaluator: str
    base_tree: str
    sign: int
    exact: bool
    ruled_out: frozenset[str] = frozenset()

    def is_fresh(self, proposal: str, lane: str) -> bool:
        """Tell whether a score is fresh: it played no part in choosing the proposal."""
        return self.exact or lane in PROOF or proposal == self.base_tree


class Standing(msgspec.Struct, frozen=True):
    """The scores of one proposal in one worker class, in units of the metric; `seconds` is the time of its trials.

    Fields that begin with `proven` are of fresh scores, those that begin with `claimed` of the others. `squares_added`
    is the last score's part in the sum of squared deviations from the mean of the fresh scores (B. P. Welford,
    Technometrics 4(3), 1962). It is 0 for equal scores. `used_s` is what the trials used of their budgets, and
    `margin_sum` the sum of the margins of fresh scores over their items.
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
    used_s: float = 0.0
    margin_sum: float = 0.0

    def add(
        self,
        value: float,
        *,
        fresh: bool,
        seconds: float = 0.0,
        used_s: float = 0.0,
        self_reported: bool = False,
        margin: float = 0.0,
    ) -> Self:
        """Return the standing with one more score.

        Args:
            value: the score.
            fresh: whether it is fresh (`Rule.is_fresh`).
            seconds: wall seconds of its trial.
            used_s: seconds of its budget that its trial used.
            self_reported: whether the candidate's own code could forge it.
            margin: half of its interval over its items, 0 without items.
        """
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
            self.used_s + used_s,
            self.margin_sum + (margin if fresh else 0.0),
        )

    @property
    def claimed(self) -> float | None:
        """The mean of the claims; None if there is none."""
        return self.claimed_sum / self.claimed_count if self.claimed_count else None

    @property
    def mean(self) -> float:
        """The mean of the fresh scores, else of the claims."""
        return self.proven_mean if self.proven_mean is not None else self.claimed_sum / self.claimed_count

    @property
    def seeds(self) -> int:
        """The number of scores in `mean`."""
        return self.proven_count or self.scores
