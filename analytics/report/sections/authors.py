"""What each member of the swarm, and each kind of author, took and earned."""

from collections import defaultdict

from analytics.report.data import Kind, ReportData
from analytics.report.elements import FEW, Section, table_block
from analytics.report.formatting import decimals, dollars, harmless, signed
from mesh.times import duration


def authors(data: ReportData) -> Section:
    """Return what each kind of author took and earned."""
    title, places = "What each kind of author earned", decimals(data)
    if not data.kinds:
        return Section(title, ["There is no proposal yet."])
    won: dict[str, list[float]] = defaultdict(list)
    for promotion in data.promotions:
        won[promotion.kind].append(promotion.gain or 0.0)
    rows = []
    for kind in sorted(data.kinds, key=lambda k: -sum(won[_name(k)])):
        gains = won[_name(kind)]
        hours = kind.worker_s / 3600
        per_hour = f"{sum(gains) / hours:+.3g}" if sum(gains) and hours else "–"
        rows.append(
            (
                f"{harmless(_name(kind), 50)}{' (model)' if kind.how == 'model' else ''}",
                *(f"{n:,}" for n in (kind.proposals, kind.runs, kind.failed, kind.killed, kind.bests, len(gains))),
                signed(sum(gains), places) if sum(gains) else "–",
                duration(kind.worker_s),
                per_hour,
                dollars(kind.usd) if kind.usd is not None or kind.how == "model" else "–",
            )
        )
    header = "author | proposals | runs | failed | stopped early | best so far | champions | gain | worker time"
    explained = (
        "Gain is the sum, over all promotions, of the improvement over the champion before, both on fresh seeds; "
        "positive is better. “Best so far” counts single scores, which include luck."
    )
    return Section(
        title, [table_block(f"{header} | gain per worker-hour | model cost", rows, limit=FEW * 2), explained]
    )


def members(data: ReportData) -> Section:
    """Return who took part, and what each of them earned and spent."""
    title, places = "Who took part", decimals(data)
    if not data.members:
        return Section(title, ["Nobody has proposed anything yet."])
    rows = [
        (
            harmless(each.name, 50),
            harmless(each.role, 20),
            harmless(each.model, 40) or "–",
            *(f"{n:,}" for n in (each.proposals, each.scored, each.promoted)),
            signed(each.improvement, places) if each.improvement else "–",
            duration(each.worker_s),
            dollars(each.usd) if each.usd is not None else ("not known" if each.tokens else "–"),
            f"{each.tokens:,}" if each.tokens else "–",
        )
        for each in data.members
    ]
    header = "name | role | model | proposals | scored | champions | gain | worker time | model cost | tokens"
    explained = (
        "Gain is by how much single scores went beyond the best before them, luck included. Worker time is of runs "
        "of search. Who came through a door of the swarm is an agent or a person; what such an agent spends is its own."
    )
    return Section(title, [table_block(header, rows, words={0, 1, 2}, limit=FEW * 2), explained])


def _name(kind: Kind) -> str:
    return kind.name or kind.how
