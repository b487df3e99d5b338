"""The layout of the picture: the range of the scores, which promotions have a label, and where. Pure."""

from collections.abc import Sequence

from analytics.report.data import FinishedRun, Promotion, ReportData

LABELS = 12
"""Promotions with a label; the others are only in the table."""
MARGIN = 0.06
BEYOND = 1e100
"""Scores of this size or more are not drawn."""
STRETCH = 2.0
"""The height of the picture, at most, in heights of the better scores: room to show the baseline."""


def score_range(data: ReportData) -> tuple[float, float]:
    """Return the lowest and the highest score to show.

    The better half of the search scores, the means of all champions and the intervals of the last ones always fit.
    Other scores fit if that does not flatten these; a single score far better than every champion does not.
    """
    sign = data.goal.sign
    scores = _scores(data, data.runs)
    if not scores:
        return 0.0, 1.0
    bounds = [[sign * v for v in _bounds(p) if v is not None and abs(v) < BEYOND] for p in data.promotions]
    proven = [value for values in bounds for value in values]
    recent = [value for values in bounds[-2:] for value in values]
    found = _scores(data, [run for run in data.runs if run.lane == "explore"]) or scores
    worst = min([_quantile(found, 0.5), *recent])
    top = max([_quantile(scores, 0.999 if len(scores) > 2000 else 1.0), *recent])
    if recent:
        top = min(top, max(recent) + max(2 * (max(recent) - worst), _tiny(top)))
    bottom = max(min([_quantile(found, 0.05), *proven]), top - STRETCH * (top - worst))
    means = [values[0] for values in bounds if values]
    bottom, top = min([bottom, *means]), max([top, *means])
    pad = MARGIN * (top - bottom) or _tiny(top)
    low, high = sorted((sign * (bottom - pad), sign * (top + pad)))
    return low, high


def _scores(data: ReportData, runs: Sequence[FinishedRun]) -> list[float]:
    """Return the scores, worst first, greater is better; absurdly large ones are left out."""
    return sorted(data.goal.sign * run.value for run in runs if run.value is not None and abs(run.value) < BEYOND)


def _bounds(promotion: Promotion) -> tuple[float | None, float | None, float | None]:
    value = promotion.value
    return value.mean, value.low, value.high


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[round(part * (len(ordered) - 1))]


def _tiny(value: float) -> float:
    return abs(value) * 0.05 or 1.0


def labelled(promotions: Sequence[Promotion], limit: int = LABELS) -> list[Promotion]:
    """Return the promotions to label, in their order: the first, the last, and those that gained most."""
    ends = {p.number for p in [*promotions[:1], *promotions[-1:]]}
    by_gain = sorted(promotions, key=lambda p: (p.number not in ends, -(p.gain or 0.0), p.number))
    return sorted(by_gain[:limit], key=lambda p: p.number)


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return places in the order of `wanted` and near them, at least `apart` from each other, within `low`..`high`.

    If they do not all fit, they are set closer.
    """
    if not wanted:
        return []
    apart = min(apart, (high - low) / len(wanted))
    places: list[float] = []
    for want in wanted:
        places.append(max(want, places[-1] + apart if places else low))
    last = high
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], last)
        last = places[index] - apart
    return places
