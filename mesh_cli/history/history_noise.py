"""The noise that a history of others shows, and how sure its gains are by it. Pure.

Others run each experiment once, so that a gain may be luck. Experiments that were run again, with the same code and the
same words, show the noise. Where there are too few, the discarded ones do: many changes matter little, so the smallest
quarter of their distances from what they met is mostly noise. Of a normal distribution a quarter lies within 0.319
standard deviations. Changes that matter make this estimate too large rather than too small.
"""

import math
from collections.abc import Sequence

import msgspec

from mesh.evidence import pooled

_QUARTER = 0.3186
_ENOUGH_REPEATS, _ENOUGH_DISCARDS = 3, 6
REAL_GAIN = 0.95
"""A gain that is real with less than this probability is within the noise."""


class HistoryNoise(msgspec.Struct, frozen=True):
    """The standard deviation of one score, in units of the metric, and the degrees of freedom of this estimate.

    `source` is `repeats` or `discards`, "" where the history shows no noise; then nothing is known of its gains.
    """

    sd: float = math.inf
    dof: int = 0
    source: str = ""

    def p_better(self, gain: float) -> float | None:
        """Return the probability that a gain of one score over another is real, by Student's t; None if not known."""
        if not self.source:
            return None
        if self.sd == 0:
            return 1.0 if gain > 0 else 0.0 if gain < 0 else 0.5
        from scipy.special import stdtr

        return float(stdtr(self.dof, gain / (self.sd * math.sqrt(2))))


def history_noise(repeats: Sequence[Sequence[float]], discards: Sequence[float]) -> HistoryNoise:
    """Return the noise of a history.

    Args:
        repeats: the scores of each experiment that was run several times.
        discards: the differences between discarded experiments and what they met, in units of the metric.
    """
    found = pooled(repeats)
    if found.dof >= _ENOUGH_REPEATS:
        return HistoryNoise(found.sd, found.dof, "repeats")
    if len(discards) >= _ENOUGH_DISCARDS:
        ordered = sorted(map(abs, discards))
        quarter = ordered[(len(ordered) - 1) // 4]
        if quarter:
            return HistoryNoise(quarter / (_QUARTER * math.sqrt(2)), len(ordered) - 1, "discards")
    return HistoryNoise(found.sd, found.dof, "repeats") if found.dof else HistoryNoise()
