"""Where things go in the picture: the range of the scores, which promotions have a label, where it stands. Pure."""

from collections.abc import Sequence

from analytics.report.facts import Facts, FinishedRun, Promotion

LABELS = 12
"""Promotions with a label; the others are in the list below the picture."""
MARGIN = 0.06
BEYOND = 1e100
"""Scores of such a size have no place in a picture."""
STRETCH = 2.0
"""How many times the height of the better scores the picture may have, to show where it all began."""


def score_range(facts: Facts) -> tuple[float, float]:
    """Return the lowest and the highest score to show.

    The better half of the scores of search and the last champions always fit. Earlier champions fit where that
    does not squash the others; a lone score far better than every champion does not.
    """
    sign = facts.goal.sign
    scores = _scores(facts, facts.runs)
    if not scores:
        return 0.0, 1.0
    bounds = [[sign * v for v in _bounds(p) if v is not None and abs(v) < BEYOND] for p in facts.promotions]
    proven = [value for values in bounds for value in values]
    recent = [value for values in bounds[-2:] for value in values]
    found = _scores(facts, [run for run in facts.runs if run.lane == "explore"]) or scores
    worst = min([_quantile(found, 0.5), *recent])
    top = max([_quantile(scores, 0.999 if len(scores) > 2000 else 1.0), *recent])
    if recent:
        top = min(top, max(recent) + max(2 * (max(recent) - worst), _tiny(top)))
    bottom = max(min([_quantile(found, 0.05), *proven]), top - STRETCH * (top - worst))
    pad = MARGIN * (top - bottom) or _tiny(top)
    low, high = sorted((sign * (bottom - pad), sign * (top + pad)))
    return low, high


def _scores(facts: Facts, runs: Sequence[FinishedRun]) -> list[float]:
    """Return the scores, worst first, greater is better; those beyond all measure are left out."""
    return sorted(facts.goal.sign * run.value for run in runs if run.value is not None and abs(run.value) < BEYOND)


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

    Where they do not all fit, they are set closer.
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
