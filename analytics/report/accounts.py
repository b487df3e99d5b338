"""The sections that count: how runs ended, what they cost, what each kind of agent earned, the critics. Pure."""

from collections import Counter, defaultdict

from analytics.report.blocks import FEW, Block, Section, table_block
from analytics.report.facts import Facts, Kind
from analytics.report.wording import decimals, dollars, harmless, percent, signed, spaced
from mesh.times import duration


def outcomes(facts: Facts) -> Section:
    """Return how runs ended, by lane, and what became of the proposals."""
    blocks: list[Block] = []
    if facts.runs:
        ended = Counter((run.lane, _ending(run.reason, run.value)) for run in facts.runs)
        endings = sorted(
            {e for _, e in ended}, key=lambda e: (e != "scored", -sum(n for (_, x), n in ended.items() if x == e), e)
        )
        lanes = [lane for lane in ("explore", "confirm", "control", "audit") if any(x == lane for x, _ in ended)]
        rows = [
            (lane, *(f"{ended[lane, e]:,}" for e in endings), f"{sum(ended[lane, e] for e in endings):,}")
            for lane in lanes
        ]
        total = [sum(ended[lane, e] for lane in lanes) for e in endings]
        rows.append(("all", *(f"{n:,} ({percent(n, len(facts.runs))})" for n in total), f"{len(facts.runs):,}"))
        blocks.append(table_block(" | ".join(["lane", *endings, "runs"]), rows))
    else:
        blocks.append("No run has finished yet.")
    if facts.states:
        rows = [
            (f"{state}: {spaced(why)}" if why not in ("", state) else state, f"{number:,}")
            for state, why, number in facts.states
        ]
        blocks.append(table_block("proposals | count", rows))
    else:
        blocks.append("Nobody has proposed anything yet.")
    return Section("Outcomes", blocks)


def _ending(reason: str, value: float | None) -> str:
    return spaced(reason) or ("scored" if value is not None else "scored by an earlier evaluator")


def cost(facts: Facts) -> Section:
    """Return what was spent: worker time by class, dollars and tokens."""
    if not facts.runs and not facts.cost:
        return Section("Cost", ["Nothing was spent yet."])
    blocks: list[Block] = []
    used: dict[str, list[float]] = defaultdict(list)
    for run in facts.runs:
        used[run.worker_class].append(run.seconds)
    gpu_s = sum(sum(times) for name, times in used.items() if name.startswith("cuda"))
    if used:
        gpu = f", of them {gpu_s:,.0f} GPU-seconds" if gpu_s else "; no GPU was used"
        blocks.append(f"Workers were busy for {sum(map(sum, used.values())):,.0f} seconds{gpu}.")
        rows = [(harmless(name, 40) or "–", f"{len(t):,}", duration(sum(t))) for name, t in sorted(used.items())]
        blocks.append(table_block("worker class | runs | time", rows))
    spent = []
    for what, number, usd, unknown, tokens_in, tokens_out, _ in facts.cost:
        tokens = "–" if tokens_in is None and tokens_out is None else f"{(tokens_in or 0) + (tokens_out or 0):,}"
        spent.append((what, f"{number:,}", dollars(usd), f"{unknown:,}" if unknown else "–", tokens))
    if spent:
        blocks.append(table_block("spent on | count | dollars | without a price | tokens", spent))
        blocks.append("Samplers think on the machine they run on, without a price.")
    return Section("Cost", blocks)


def earned(facts: Facts) -> Section:
    """Return what each kind of author took and earned."""
    title, places = "What each kind of agent earned", decimals(facts)
    if not facts.kinds:
        return Section(title, ["Nobody has proposed anything yet."])
    won: dict[str, list[float]] = defaultdict(list)
    for promotion in facts.promotions:
        won[promotion.kind].append(promotion.gain or 0.0)
    rows = []
    for kind in sorted(facts.kinds, key=lambda k: -sum(won[_name(k)])):
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
    header = "kind | proposals | runs | failed | killed early | best so far | champions | proven gain | worker time"
    said = (
        "Proven gain is the sum over promotions of the difference to the champion that they met, both on fresh seeds; "
        "positive is better. “Best so far” counts single scores, which luck has a share in."
    )
    return Section(title, [table_block(f"{header} | gain per worker-hour | thinking", rows, limit=FEW * 2), said])


def _name(kind: Kind) -> str:
    return kind.name or kind.how


def critics(facts: Facts) -> Section:
    """Return what the critics said and how it compares with what came true."""
    if not facts.critics:
        return Section("Critics", ["Nobody has judged a proposal yet."])
    rows = [
        (harmless(name, 40), *(f"{n:,}" for n in numbers), "–" if brier is None else f"{brier:.3f}")
        for name, *numbers, brier in facts.critics
    ]  # fmt: skip
    header = "critic | endorsed | warned | blocked | endorsed champions | forecasts | Brier score"
    said = "The Brier score is 0 for a critic that was certain and right, 0.25 for a coin."
    return Section("Critics", [table_block(header, rows, limit=FEW), said])
