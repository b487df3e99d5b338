"""The finished trials of a log with what samplers ask of all of them, kept up trial by trial.

A sampler that gets any other sequence of trials calculates the same from all of them.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from agents.search.samplers.protocol import Trial, best_first
from agents.search.sorted_blocks import SortedBlocks

_T = TypeVar("_T")

_NEAR_END = 256
"""Mostly, a trial that is asked for is among so many of the latest ones: the others need not be looked at."""

LATEST, BEST = 300, 100
"""Finished trials in a window: the latest ones, and the best of the older ones."""


class TrialLog(list[Trial]):
    """Finished trials in the order of the log. `put` and `take` alone change it.

    `scored` are those with a loss, in the same order; `made` counts the trials by sampler, and `crashed` those of them
    without a loss.
    """

    def __init__(self, trials: Sequence[Trial] = ()) -> None:
        super().__init__(sorted(trials, key=_seq))
        self.scored = [trial for trial in self if trial.loss is not None]
        self._seqs, self._scored_seqs = [trial.seq for trial in self], [trial.seq for trial in self.scored]
        ranked = ((trial.loss, trial.seq, trial) for trial in self.scored if trial.loss is not None)
        self._ranked: SortedBlocks[tuple[float, int, Trial]] = SortedBlocks(ranked)
        self.made = Counter(trial.by for trial in self)
        self.crashed = Counter(trial.by for trial in self if trial.loss is None)
        self._without = sum(not trial.values for trial in self)
        self._valued: TrialLog | None = None
        self._found: dict[object, Any] = {}

    def put(self, trial: Trial) -> None:
        """Add a trial, in the place of the one of the same entry if there is one."""
        old = self.find(trial.seq)
        if old == trial:
            return
        self._found = {}
        if old is None:
            _insert(self, self._seqs, trial)
        else:
            self[_at(self._seqs, trial.seq)] = trial
        if old is None or old.loss is None:
            if trial.loss is not None:
                _insert(self.scored, self._scored_seqs, trial)
        elif trial.loss is None:
            _remove(self.scored, self._scored_seqs, trial.seq)
        else:
            self.scored[_at(self._scored_seqs, trial.seq)] = trial
        if old is not None:
            self._count(old, -1)
        self._count(trial, 1)
        if self._valued is not None:
            if trial.values:
                self._valued.put(trial)
            else:
                self._valued.take(trial.seq)

    def take(self, seq: int) -> Trial | None:
        """Take the trial of an entry away and return it; None if there is none."""
        trial = self.find(seq)
        if trial is None:
            return None
        self._found = {}
        _remove(self, self._seqs, seq)
        if trial.loss is not None:
            _remove(self.scored, self._scored_seqs, seq)
        self._count(trial, -1)
        if self._valued is not None:
            self._valued.take(seq)
        return trial

    def _count(self, trial: Trial, times: int) -> None:
        self.made[trial.by] += times
        self._without += times * (not trial.values)
        if trial.loss is None:
            self.crashed[trial.by] += times
        elif times > 0:
            self._ranked.add((trial.loss, trial.seq, trial))
        else:
            self._ranked.remove((trial.loss, trial.seq, trial))

    def find(self, seq: int) -> Trial | None:
        """Return the trial of an entry; None if it is not among these."""
        at = _at(self._seqs, seq)
        return self[at] if at < len(self) and self._seqs[at] == seq else None

    def has(self, seq: int) -> bool:
        """Tell whether the proposal of an entry is among these trials."""
        return self.find(seq) is not None

    def best(self) -> Iterator[Trial]:
        """Yield the trials with a loss, best first; of equals the older one comes first."""
        return (trial for _, _, trial in self._ranked)

    def leading(self, count: int) -> list[tuple[float, int, Trial]]:
        """Return so many best trials, each after its loss and its entry; mostly the same list as before."""
        return self._ranked.leading(count)

    @property
    def valued(self) -> "TrialLog":
        """The trials whose code has knobs; this, if all have."""
        if not self._without:
            return self
        if self._valued is None:
            self._valued = TrialLog([trial for trial in self if trial.values])
        return self._valued

    def now(self, key: object, calculate: Callable[[], _T]) -> _T:
        """Return what was calculated from these trials under a key; calculate it if they have changed since."""
        if key not in self._found:
            self._found[key] = calculate()
        found: _T = self._found[key]
        return found


def _seq(trial: Trial) -> int:
    return trial.seq


def _at(seqs: list[int], seq: int) -> int:
    """Return the place of an entry among those of trials."""
    late = len(seqs) - _NEAR_END
    return bisect_left(seqs, seq, late if late > 0 and seqs[late] <= seq else 0)


def _insert(trials: list[Trial], seqs: list[int], trial: Trial) -> None:
    """Insert a trial into a list in the order of the log; `seqs` are the entries of its trials."""
    at = _at(seqs, trial.seq)
    seqs.insert(at, trial.seq)
    trials.insert(at, trial)


def _remove(trials: list[Trial], seqs: list[int], seq: int) -> None:
    at = _at(seqs, seq)
    del seqs[at], trials[at]


def with_values(trials: Sequence[Trial]) -> Sequence[Trial]:
    """Return the trials whose code has knobs."""
    return trials.valued if isinstance(trials, TrialLog) else [trial for trial in trials if trial.values]


def ranked(trials: Sequence[Trial]) -> Iterator[Trial]:
    """Yield the trials with a loss, best first; of equals the older one comes first."""
    return trials.best() if isinstance(trials, TrialLog) else iter(best_first(trials))


def scored_of(trials: Sequence[Trial]) -> Sequence[Trial]:
    """Return the trials with a loss, in the order of the log."""
    return trials.scored if isinstance(trials, TrialLog) else [trial for trial in trials if trial.loss is not None]


def best_before(trials: Sequence[Trial], seq: int, count: int) -> list[Trial]:
    """Return so many best trials of those before an entry, the best first."""
    return list(islice((trial for trial in ranked(trials) if trial.seq < seq), count))


def count_made(kind: str, trials: Sequence[Trial], pending: Sequence[Trial] = ()) -> int:
    """Return how many trials a sampler has made."""
    done = trials.made[kind] if isinstance(trials, TrialLog) else sum(trial.by == kind for trial in trials)
    return done + sum(trial.by == kind for trial in pending)


def window(trials: Sequence[Trial]) -> list[Trial]:
    """Return the `BEST` best of the older trials, then the `LATEST` latest ones."""
    if isinstance(trials, TrialLog):
        return trials.now("window", lambda: _window(trials))
    return _window(trials)


def _window(trials: Sequence[Trial]) -> list[Trial]:
    latest = list(trials[-LATEST:])
    older = best_before(trials, latest[0].seq, BEST) if len(trials) > LATEST else []
    return [*sorted(older, key=_seq), *latest]
