"""What was spent: worker time by class, dollars and tokens."""

from collections import Counter, defaultdict

from analytics.report.data import ReportData
from analytics.report.elements import Block, Section, table_block
from analytics.report.formatting import dollars, harmless
from mesh.spec import SelectionSpec
from mesh.times import duration
from mesh.worker_time import RunTime, time_advice, time_words, worker_time


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
    if spent:
        blocks.append(table_block("spent on | count | dollars | price not known | tokens", spent))
        blocks.append("Samplers cost nothing here: they run on the machine of their agent.")
    return Section("Cost", blocks)
