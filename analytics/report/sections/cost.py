"""What was spent: worker time by class, dollars and tokens."""

from collections import Counter, defaultdict

from analytics.report.data import ReportData
from analytics.report.elements import Block, Section, table_block
from analytics.report.formatting import decimals, dollars, harmless, score_text
from mesh.spec import SelectionSpec
from mesh.times import duration
from mesh.worker_time import RunTime, time_advice, time_words, worker_time


def gain_for(data: ReportData) -> str:
    """Return what the champion's gain over the baseline cost in hours, hours of workers and dollars; "" without one."""
    champion, base = data.champion, data.baseline.mean
    if champion is None or champion.value.mean is None or base is None or champion.proposal == data.goal.base_tree:
        return ""
    gain = data.goal.sign * (champion.value.mean - base)
    if gain <= 0:
        return ""
    gpu_s = sum(run.seconds for run in data.runs if run.worker_class.startswith("cuda"))
    hours = [
        ("hour", data.goal.whole_s / 3600),
        ("GPU-hour", gpu_s / 3600) if gpu_s else ("worker-hour", sum(run.seconds for run in data.runs) / 3600),
    ]
    parts = [f"{gain / amount:.3g} per {unit}" for unit, amount in hours if amount]
    known, unknown = _dollars_known(data)
    if not unknown and known:
        parts.append(f"{gain / known:.3g} per dollar")
    elif known:
        parts.append(f"per dollar not known, because {unknown} {'prices are' if unknown > 1 else 'price is'} not")
    places = decimals(data)
    return f"The gain of {score_text(gain, places)} over the baseline is {', '.join(parts)}."


def _dollars_known(data: ReportData) -> tuple[float, int]:
    """Return the known dollars, and how many parts have no known price: samplers' proposals cost nothing."""
    unknown = sum(row[3] for row in data.cost if row[0] != "proposal")
    unknown += sum(kind.how == "model" and kind.usd is None for kind in data.kinds)
    return sum(row[2] or 0.0 for row in data.cost), unknown


def cost(data: ReportData) -> Section:
    """Return what was spent: worker time by class, dollars and tokens."""
    if not data.runs and not data.cost:
        return Section("Cost", ["Nothing has been spent yet."])
    blocks: list[Block] = []
    used: dict[str, list[float]] = defaultdict(list)
    counts = Counter[str]()
    for run in data.runs:
        used[run.worker_class].append(run.seconds)
        counts[run.worker_class] += run.count
    gpu_s = sum(sum(times) for name, times in used.items() if name.startswith("cuda"))
    if used:
        gpu = f", {gpu_s:,.0f} of them on a GPU" if gpu_s else "; no GPU was used"
        blocks.append(f"Workers were busy for {sum(map(sum, used.values())):,.0f} seconds{gpu}.")
        rows = [(harmless(name, 40) or "–", f"{counts[name]:,}", duration(sum(t))) for name, t in sorted(used.items())]
        blocks.append(table_block("worker class | runs | time", rows))
        time = worker_time(RunTime(run.lane, run.seconds, run.failed, run.count) for run in data.runs)
        if words := time_words(time):
            blocks.append(f"Worker time: {words}.")
        share = data.goal.proof_share or SelectionSpec().proof_share
        blocks += [f"{advice[:1].upper()}{advice[1:]}." for advice in time_advice(time, share)]
    if any(ended for _, _, ended, _, _ in data.screening):
        stages = [
            (harmless(stage, 40), f"{reached:,}", f"{ended:,}", f"{seconds:,.1f} s", duration(saved_s))
            for stage, reached, ended, seconds, saved_s in data.screening
        ]
        blocks.append(table_block("stage of scoring | reached by | screened out | median time | saved", stages))
        blocks.append("Saved is an estimate: what the median scored run of search took more.")
    spent = []
    for what, number, usd, unknown, tokens_in, tokens_out, _ in data.cost:
        tokens = "–" if tokens_in is None and tokens_out is None else f"{(tokens_in or 0) + (tokens_out or 0):,}"
        spent.append((what, f"{number:,}", dollars(usd), f"{unknown:,}" if unknown else "–", tokens))
    if gained := gain_for(data):
        blocks.append(gained)
    if spent:
        blocks.append(table_block("spent on | count | dollars | price not known | tokens", spent))
        blocks.append("Samplers cost nothing here: they run on the machine of their agent.")
        if any(what in ("lost", "idle") for what, *_ in spent):
            blocks.append(
                "Workers cost from their joining until they leave: run is the time of finished runs, lost that of "
                "attempts that no finish came of, idle the rest."
            )
    return Section("Cost", blocks)
