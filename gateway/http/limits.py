"""How often somebody may do something in an hour. It is counted in this process alone, and forgotten with it."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from starlette.exceptions import HTTPException

HOUR_S = 3600.0
PER_HOUR = {"registration": 10, "join": 100, "post": 100, "push": 100, "fetch": 600, "diff": 60, "channel": 10}
"""Registrations, and joins and renewals that come to nothing, are counted by address, the others by member."""
_KNOWN = 20_000
"""Counts that are kept: those used last."""


class RateLimits:
    """Counts what was done in the last hour, for a bounded number of members and addresses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def check(self, what: str, who: str) -> None:
        """Check that somebody may do something once more.

        Args:
            what: a key of `PER_HOUR`.
            who: an author, or an address.

        Raises:
            HTTPException: 429, with when it may again.
        """
        now, done = self._clock(), self._done.get((what, who))
        while done and done[0] <= now - HOUR_S:
            done.popleft()
        if done and len(done) >= PER_HOUR[what]:
            wait_s = max(1, math.ceil(done[0] + HOUR_S - now))
            raise HTTPException(429, f"{what} rate limit exceeded", {"Retry-After": str(wait_s)})

    def count(self, what: str, who: str) -> None:
        """Count that it was done."""
        self._done.setdefault((what, who), deque(maxlen=PER_HOUR[what])).append(self._clock())
        self._done.move_to_end((what, who))
        while len(self._done) > _KNOWN:
            self._done.popitem(last=False)

    def take(self, what: str, who: str) -> None:
        """Check and count in one step, so that requests that run at the same time cannot pass together."""
        self.check(what, who)
        self.count(what, who)

    def give_back(self, what: str, who: str) -> None:
        """Take the last count back: it was not done after all."""
        if done := self._done.get((what, who)):
            done.pop()
