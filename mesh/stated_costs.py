"""What authors say that model calls and judges have cost, and how much of it counts against a budget. Pure.

A cost is its author's word. The swarm's own processes, and who opened the arena, are believed. Of all others, where an
arena was opened with `BY_RESERVE` and has a budget of dollars, a cost counts only as far as it was reserved before:
that of a model call up to what its author said when it joined (`reserves_usd`), that of a judge up to the limits of
`[judge]`. The model calls that one name says and reserves count up to `NAME_SHARE` of the grants, and those of all such
names together up to `OTHERS_SHARE`. So nobody ends an arena for all by what it says. What exceeds this is not counted,
and shown.
"""

import math

import msgspec

from mesh.fact_values import JudgeUse
from mesh.own_names import is_reserved
from mesh.spec import ArenaSpec

BY_RESERVE = 2
"""`ArenaOpened.rules` from which costs count only as far as they were reserved."""

NAME_SHARE = 0.25
"""Share of the grants that what one name says counts up to."""

OTHERS_SHARE = 0.5
"""Share of the grants that what all names together say counts up to, but for the swarm's own."""

_ATTEMPTS = 3
"""Attempts of a run whose judges are paid for: after so many it is given up."""

_ROUNDING_USD = 1e-9
"""Differences that sums of the same numbers in another order may have, in dollars."""


class StatedCosts(msgspec.Struct):
    """What counts of the costs that authors have said, in dollars.

    `by_reserve` if the version in force bounds them. `opened_by` opened that version. `granted_usd` is the sum of the
    grants, None without one. `counted` has what counts by author, of those that are bounded, since they are, and
    `counted_usd` the sum; `judged` the same of judges, by worker. `uncounted` has what each has said beyond that.
    """

    by_reserve: bool = False
    opened_by: str = ""
    granted_usd: float | None = None
    counted: dict[str, float] = {}
    counted_usd: float = 0.0
    judged: dict[str, float] = {}
    uncounted: dict[str, float] = {}

    def is_bounded(self, author: str) -> bool:
        """Tell whether the costs of an author count only as far as they were reserved."""
        if not self.by_reserve or self.granted_usd is None:
            return False
        return author != self.opened_by and not is_reserved(author)

    def left_usd(self, author: str) -> float:
        """Return up to how many more dollars of an author count, infinity for the swarm's own."""
        if not self.is_bounded(author):
            return math.inf
        of_name = NAME_SHARE * (self.granted_usd or 0.0) - self.counted.get(author, 0.0)
        return max(0.0, min(of_name, self.others_left_usd))

    @property
    def others_left_usd(self) -> float:
        """Up to how many more dollars of all bounded authors together count; infinity where none is bounded."""
        if not self.by_reserve or self.granted_usd is None:
            return math.inf
        return max(0.0, OTHERS_SHARE * self.granted_usd - self.counted_usd)

    @property
    def uncounted_usd(self) -> float:
        """What was said in all and is not counted."""
        return sum(self.uncounted.values(), 0.0)

    def count(self, author: str, usd: float, reserved_usd: float) -> float:
        """Take the cost of a model call, and return how much of it counts.

        Args:
            author: Who says it.
            usd: What it says.
            reserved_usd: What it had reserved before.
        """
        if not self.is_bounded(author):
            return usd
        counts = self._count(self.counted, author, usd, min(reserved_usd, self.left_usd(author)))
        self.counted_usd += counts
        return counts

    def count_judge(self, author: str, use: JudgeUse, spec: ArenaSpec | None, attempts: int) -> JudgeUse:
        """Take what the scoring of a run has asked of models, and return it with the dollars that count.

        Args:
            author: The worker that says it.
            use: What it says.
            spec: The arena as it is in force, with the limits of judges; None if it was never opened.
            attempts: How many attempts of the run have begun.
        """
        if spec is None or not self.is_bounded(author):
            return use
        judge = spec.judge
        limits = [judge.usd_per_run * min(attempts, _ATTEMPTS)] if judge.usd_per_run else []
        limits += [max(0.0, judge.usd - self.judged.get(author, 0.0))] if judge.usd else []
        usd = self._count(self.judged, author, use.usd, min(limits, default=0.0))
        return use if usd == use.usd else msgspec.structs.replace(use, usd=usd)

    def _count(self, counted: dict[str, float], author: str, usd: float, most_usd: float) -> float:
        counts = usd if usd <= most_usd + _ROUNDING_USD else most_usd
        if counts:
            counted[author] = counted.get(author, 0.0) + counts
        if counts < usd:
            self.uncounted[author] = self.uncounted.get(author, 0.0) + (usd - counts)
        return counts
