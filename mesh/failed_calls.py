"""Calls of an agent to its model that came to nothing, and how long it waits before the next one. Pure.

A provider that fails is asked again after pauses that double. An answer of no use is another matter: the provider is
there, and the next answer may be better. So the pause is short, and grows only after many such answers in a row, since
each of them may cost money.
"""

import datetime as dt

import msgspec

from mesh import events as e
from mesh.bounds import MAX_INTEGER
from mesh.wire import Entry

FIRST_PAUSE_S, _MAX_PAUSE_S = 15.0, 900.0
"""Pause after a call that the provider failed; it doubles with each further one in a row, up to the maximum."""

SHORT_PAUSE_S = 5.0
"""Pause after an answer of no use."""

MANY_UNUSABLE = 10
"""Answers of no use in a row from which on the pause grows."""

_LONG_PAUSE_S = 60.0
"""Pause after so many; it doubles with every second further one (a question and its repetition), up to the maximum."""

_REASONS, _TEXT = 3, 400
"""Reasons that are kept, the latest, and most characters of each."""

LOST = "lost"
"""Purpose of calls that ended with their process: they say nothing of the provider."""


class FailedCalls(msgspec.Struct):
    """The calls of one agent since its last usable answer.

    `calls` counts all of them, `unanswered` those in a row that the provider failed (calls at one time count once),
    `unusable` the answers of no use. `reasons` are the last ones why answers could not be used, the latest at the end,
    `trouble` why the provider failed last. `since` is the entry of the first of these calls. The agent asks again at
    `until`.
    """

    model: str
    since: int
    until: dt.datetime
    calls: int = 0
    unanswered: int = 0
    unusable: int = 0
    reasons: list[str] = []
    trouble: str = ""

    def add(self, event: e.ModelAsked, at: dt.datetime) -> None:
        """Add a call whose fact was posted at a time."""
        self.calls = min(self.calls + 1, MAX_INTEGER)
        text = event.text[:_TEXT]
        if event.ok:
            self.unanswered, self.trouble = 0, ""
            self.unusable = min(self.unusable + 1, MAX_INTEGER)
            self.reasons = [*(reason for reason in self.reasons if reason != text), text][-_REASONS:]
            pause_s = (
                SHORT_PAUSE_S
                if self.unusable < MANY_UNUSABLE
                else _doubled(_LONG_PAUSE_S, (self.unusable - MANY_UNUSABLE) // 2)
            )
        elif self.trouble and at < self.until:
            return  # it was asked at the same time as the one that began this pause
        else:
            self.unanswered = min(self.unanswered + 1, MAX_INTEGER)
            self.trouble = text or "it gave no answer"
            pause_s = _doubled(FIRST_PAUSE_S, self.unanswered - 1)
        self.until = max(self.until, at + dt.timedelta(seconds=pause_s))


def add_failed_call(failed: dict[str, FailedCalls], author: str, event: e.ModelAsked, entry: Entry) -> None:
    """Add a call, of which an entry of the log tells, to the failed calls of its author."""
    if event.purpose == LOST:
        return
    calls = failed.setdefault(author, FailedCalls(event.model, entry.seq, entry.time))
    calls.model = event.model
    calls.add(event, entry.time)


def forget_another_model(failed: dict[str, FailedCalls], author: str, model: str) -> None:
    """Forget the failed calls of an agent that joins with another model."""
    if author in failed and failed[author].model != model:
        del failed[author]


def _doubled(first_s: float, times: int) -> float:
    return min(_MAX_PAUSE_S, first_s * 2.0 ** min(16, times))
