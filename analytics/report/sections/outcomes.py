"""How runs ended, by lane, and the states of the proposals."""

from collections import Counter

from analytics.report.data import ReportData
from analytics.report.elements import Block, Section, table_block
from analytics.report.formatting import harmless, percent
from mesh.outcomes import reason_words


def outcomes(data: ReportData) -> Section:
    """Return how runs ended, by lane, and how many proposals have each state."""
    blocks: list[Block] = []
    if data.runs:
        ended = Counter[tuple[str, str]]()
        for run in data.runs:
            ended[run.lane, _outcome(run.reason, run.value)] += run.count
        endings = sorted(
            {e for _, e in ended}, key=lambda e: (e != "scored", -sum(n for (_, x), n in ended.items() if x == e), e)
        )
        lanes = [
            lane for lane in ("explore", "confirm", "control", "sealed", "audit") if any(x == lane for x, _ in ended)
        ]
        rows = [
            (lane, *(f"{ended[lane, e]:,}" for e in endings), f"{sum(ended[lane, e] for e in endings):,}")
            for lane in lanes
        ]
        total = [sum(ended[lane, e] for lane in lanes) for e in endings]
        rows.append(("all", *(f"{n:,} ({percent(n, data.finished)})" for n in total), f"{data.finished:,}"))
        blocks.append(table_block(" | ".join(["lane", *endings, "runs"]), rows))
    else:
        blocks.append("No run has finished yet.")
    if data.states:
        rows = [
            (f"{state}: {reason_words(why)}" if why not in ("", state) else state, f"{number:,}")
            for state, why, number in data.states
        ]
        blocks.append(table_block("proposals | count", rows))
    else:
        blocks.append("There is no proposal yet.")
    if data.not_counted:
        blocks.append("These claimed runs that they had not begun, or may not begin; that does not count.")
        rows = [(harmless(author), kind, f"{number:,}") for author, kind, number in data.not_counted]
        blocks.append(table_block("author | fact | entries", rows, {0, 1}))
    return Section("Outcomes", blocks)


def _outcome(reason: str, value: float | None) -> str:
    return reason_words(reason) if reason else "scored" if value is not None else "scored by an earlier evaluator"
