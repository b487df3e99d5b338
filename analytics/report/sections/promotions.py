"""Who was champion, in order, and how sure the promotion was."""

from analytics.report.data import Promotion, ReportData
from analytics.report.elements import ROWS, Block, Section, TableBlock, table_block
from analytics.report.formatting import count, decimals, harmless, made_by, measured, score_text, signed
from mesh.slowness import seconds_text, slower_sentence


def promotions(data: ReportData) -> Section:
    """Return the champions in order."""
    if not data.promotions:
        searched = sum(run.count for run in data.runs if run.lane == "explore")
        none = f"none of {count(searched, 'search run')} led to a confirmed improvement"
        return Section("Promotions", [f"No promotion yet: {none if searched else 'no search run has finished'}."])
    places, shown = decimals(data), data.promotions
    if len(shown) > ROWS:
        shown = [*shown[: ROWS // 2], *shown[-ROWS // 2 :]]
    rows = [_row(promotion, places) for promotion in shown]
    listed = table_block(
        "# | after run | proposal | made by | mean ± 95 % | fresh seeds | seconds | gain | chance to be better | state",
        rows,
        {2, 3, 9},
    )
    missing = len(data.promotions) - len(shown)
    blocks: list[Block] = [listed]
    if missing:
        blocks.append(f"{missing} promotions between the first and the last {ROWS // 2} are left out.")
    blocks.append(
        "Gain is the improvement over the champion before, in units of the metric; positive is better. The chance to "
        "be better than that champion is what the curator computed when it promoted the proposal. Seconds are the mean "
        "wall time of a trial."
    )
    if data.champion and (slower := slower_sentence(data.champion.value.trial_s, data.baseline.trial_s)):
        blocks.append(f"{slower[0].upper()}{slower[1:]}.")
    if names := list(dict.fromkeys(name for p in shown for name in p.value.also)):
        head = ("#", *(harmless(name, 40) for name in names))
        numbers = [
            (str(p.number), *(f"{p.value.also[name]:.4g}" if name in p.value.also else "–" for name in names))
            for p in shown
        ]
        blocks += ["Other numbers of their scores:", TableBlock(head, numbers)]
    if looks := [p for p in shown if p.value.sealed is not None]:
        head = ("#", "mean", "on the sealed split", "gap")
        seen: list[tuple[str, ...]] = [
            (str(p.number), measured(p.value, places), score_text(p.value.sealed, places), signed(p.value.gap, places))
            for p in looks
            if p.value.sealed is not None
        ]
        blocks += [
            "The sealed split decided nothing in the search. The gap is by how much better the mean looks than the "
            "sealed score; a gap that grows from champion to champion is overfitting.",
            TableBlock(head, seen),
        ]
    if data.self_reported:
        blocks.append("* self-reported: the candidate's own code ran in the process that computed this score.")
    return Section("Promotions", blocks)


def _row(p: Promotion, places: int) -> tuple[str, ...]:
    chance = "–" if p.p_better is None else f"{100 * p.p_better:.1f} %" if p.p_better < 0.9995 else ">99.9 %"
    return (
        str(p.number),
        f"{p.after_runs:,}",
        f"{harmless(p.title, 110)} ({p.proposal[:8]})",
        made_by(p.kind, p.author),
        measured(p.value, places),
        str(p.value.fresh),
        seconds_text(p.value.trial_s).replace("-", "–"),
        signed(p.gain, places),
        chance,
        p.state,
    )
