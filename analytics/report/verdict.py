"""The report in one sentence: from where to where, in how many runs, at what price; also where nothing was found."""

from analytics.report.facts import Facts
from analytics.report.wording import count, decimals, dollars, half, score_text, signed
from mesh.times import duration


def verdict(facts: Facts) -> str:
    """Return what came of the arena."""
    if not facts.runs:
        posted = sum(number for *_, number in facts.states)
        return f"No run has finished yet; {count(posted, 'proposal')} so far."
    ending = f"{'; '.join([_effort(facts), *_trust(facts), spent(facts)])}."
    return f"{_result(facts)} {ending}"


def _result(facts: Facts) -> str:
    places, champion, begin = decimals(facts), facts.champion, facts.baseline.mean
    values = [run.value for run in facts.runs if run.value is not None]
    if champion is None or champion.value.mean is None:
        if not values:
            return "No promotion yet, and no run has a score, after"
        best = score_text(max(values, key=lambda value: facts.goal.sign * value), places)
        began = f" (the artifact as it was: {score_text(begin, places)})" if begin is not None else ""
        return f"No promotion yet: the best single score is {best}{began}, unproven, after"
    mean, width = champion.value.mean, half(champion.value)
    now = score_text(mean, places) + (f" ± {score_text(width, places)}" if width is not None else "")
    claim = "" if champion.value.fresh else ", a claim that no fresh seed has proven,"
    if champion.proposal == facts.goal.base_tree:
        return f"Nothing is proven better than the artifact as it was, {now}, after"
    if begin is None:
        return f"The champion stands at {now}{claim} after"
    change = (
        f" ({signed(100 * (mean - begin) / abs(begin), 0)} %)" if begin and abs(mean - begin) < 50 * abs(begin) else ""
    )
    worse = ", which is worse," if facts.goal.sign * (mean - begin) < 0 else ""
    return f"From {score_text(begin, places)} to {now}{change}{worse}{claim} in"


def _effort(facts: Facts) -> str:
    """Return runs, worker time and fresh seeds."""
    amount, unit = duration(sum(run.seconds for run in facts.runs)).split()
    words = [count(len(facts.runs), "run"), f"{amount} worker-{unit}"]
    if facts.champion and facts.champion.value.fresh and not facts.goal.exact:
        words.append(count(facts.champion.value.fresh, "fresh seed"))
    return ", ".join(words)


def _trust(facts: Facts) -> list[str]:
    """Return the noise, and whether anybody but the candidate says so."""
    if facts.goal.exact:
        words = ["the metric is exact"]
    elif known := [row for row in facts.noise if row[4] is not None]:
        sd = max(known, key=lambda row: row[3])[4]
        words = [f"noise sd {score_text(sd, decimals(facts))}"]
    else:
        words = ["noise not measured"]
    return [*words, "scores are self-reported"] if facts.self_reported else words


def spent(facts: Facts) -> str:
    """Return the dollars that are known, and what is not."""
    known = [run.usd for run in facts.runs if run.usd is not None]
    thought = [usd for what, _, usd, *_ in facts.cost if what != "run" and usd is not None]
    free, total = len(facts.runs) - len(known), dollars(sum(known) + sum(thought)) if known or thought else ""
    unpriced = []
    if free:
        whose = "the workers" if free == len(facts.runs) else count(free, "run")
        unpriced.append(f"price of {whose} not given")
    if any(kind.how == "model" and kind.usd is None for kind in facts.kinds):
        unpriced.append("price of a model not known")
    words = ", ".join(unpriced)
    return f"{total} ({words})" if total and words else total or words
