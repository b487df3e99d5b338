"""The report in one sentence: the improvement, the runs, the noise and the price."""

from collections.abc import Sequence
from typing import Any

from analytics.report.data import ReportData
from analytics.report.formatting import count, decimals, dollars, half, percent_change, score_text
from mesh.text import chance
from mesh.times import duration

_SURE = 0.95
_NO_MORE = "on the same cases, and says nothing about others"


def headline(data: ReportData) -> str:
    """Return the result of the arena in one sentence."""
    if not data.runs:
        posted = sum(number for *_, number in data.states)
        return f"No run has finished yet; {count(posted, 'proposal')} so far."
    ending = f"{'; '.join([_effort(data), *_trust(data), spent(data)])}."
    return f"{_result(data)} {ending}"


def _result(data: ReportData) -> str:
    places, champion, begin = decimals(data), data.champion, data.baseline.mean
    values = [run.value for run in data.runs if run.value is not None]
    if champion is None or champion.value.mean is None:
        if not values:
            return "No promotion yet, and no run has a score, after"
        best = score_text(max(values, key=lambda value: data.goal.sign * value), places)
        baseline = f" (baseline: {score_text(begin, places)})" if begin is not None else ""
        return f"No promotion yet: the best single score is {best}{baseline}, not confirmed, after"
    mean, width = champion.value.mean, half(champion.value)
    now = score_text(mean, places) + (f" ± {score_text(width, places)}" if width is not None else "")
    claim = "" if champion.value.fresh else ", claimed but not confirmed on fresh seeds,"
    if champion.proposal == data.goal.base_tree:
        return f"Nothing is proven better than the baseline, {now}, after"
    if begin is None:
        return f"The champion scores {now}{claim} after"
    change = (
        f" ({percent_change((mean - begin) / abs(begin))})" if begin and abs(mean - begin) < 50 * abs(begin) else ""
    )
    worse = ""
    if data.goal.sign * (mean - begin) < 0:
        worse = ", which is worse,"
        if champion.value.fresh and champion.p_better is not None and champion.p_better >= _SURE:
            worse = (
                f", which is worse by runs of other times (side by side, when promoted: {chance(champion.p_better)}),"
            )
    return f"From {score_text(begin, places)} to {now}{change}{worse}{claim} in"


def _effort(data: ReportData) -> str:
    """Return runs, worker time and fresh seeds."""
    amount, unit = duration(sum(run.seconds for run in data.runs)).split()
    words = [count(data.finished, "run"), f"{amount} worker-{unit}"]
    if data.champion and data.champion.value.fresh and not data.goal.exact and not seeds_agree(data.noise):
        words.append(count(data.champion.value.fresh, "fresh seed"))
    return ", ".join(words)


def _trust(data: ReportData) -> list[str]:
    """Return the noise, and whether scores are self-reported."""
    if data.goal.exact:
        words = [f"the metric is taken as exact {_NO_MORE}"]
    elif seeds_agree(data.noise):
        words = [f"every seed gave the same score: it is exact {_NO_MORE}"]
    elif known := [row for row in data.noise if row[4] is not None]:
        sd = max(known, key=lambda row: row[3])[4]
        words = [f"noise sd {score_text(sd, decimals(data))}"]
    else:
        words = ["noise not measured"]
    return [*words, "scores are self-reported"] if data.self_reported else words


def seeds_agree(noise: Sequence[Sequence[Any]]) -> bool:
    """Tell by rows of the view `noise` whether the fresh scores of each worker class are equal: seeds say no more."""
    return bool(noise) and all(sd == 0 and dof > 1 for _, _, _, dof, sd in noise)


def spent(data: ReportData) -> str:
    """Return the dollars spent, and what has no known price."""
    known = [run.usd for run in data.runs if run.usd is not None]
    priced = sum(run.count for run in data.runs if run.usd is not None)
    thought = [usd for what, _, usd, *_ in data.cost if what != "run" and usd is not None]
    free, total = data.finished - priced, dollars(sum(known) + sum(thought)) if known or thought else ""
    unpriced = []
    if free:
        whose = "the workers" if free == data.finished else count(free, "run")
        unpriced.append(f"price of {whose} not known")
    if any(kind.how == "model" and kind.usd is None for kind in data.kinds):
        unpriced.append("price of a model not known")
    words = ", ".join(unpriced)
    return f"{total} ({words})" if total and words else total or words
