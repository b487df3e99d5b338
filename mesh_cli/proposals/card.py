"""Draws the data of `mesh_cli.proposals.describe` as lines safe to print, for `mesh show` and `mesh top`. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from mesh.board import Board, Critique
from mesh.events import CurvePoint, Failed, Infeasible, KnobChange, RunFinished, RunRequested, ScreenedOut
from mesh.exactness import SAYS_NOTHING
from mesh.leaderboard import Ranking
from mesh.outcomes import how_it_ended, reason_words
from mesh.proposal_card import Relative, RunRow
from mesh.proposal_numbers import known_gain
from mesh.slowness import is_much_slower, seconds_text
from mesh.steady_results import odd_results
from mesh.text import chance, needed_places, plain_number, printable, short, signed_gain, signed_number
from mesh_cli.proposals.describe import About, critique_words
from mesh_cli.proposals.not_counted import not_counted_lines
from mesh_cli.render.columns import Column, aligned

BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60
LAST_LINES = 20
_MANY = 20
"""Rows of a table; JSON has them all."""
_RUN_COLUMNS = [
    Column("run"),
    Column("lane"),
    *(Column(name, right=True) for name in ("seed", "result", "seconds", "used", "MB")),
    Column("worker"),
]


def card(board: Board, about: About, ranking: Ranking | None = None) -> list[str]:
    """Return the lines that show a thing; `ranking` is one of the board."""
    if about["what"] == "proposal":
        return list(_proposal(ranking or Ranking(board), about))
    makers = {"run": _run, "agent": _agent, "worker": _worker, "fact": _fact}
    return list(makers[about["what"]](board, about))


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Return values as bars, lowest to highest; more than `width` values are averaged in groups."""
    if len(values) > width:
        edges = [at * len(values) // width for at in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    if not values:
        return ""
    low, high = min(values), max(values)
    step = (high - low) / (len(BARS) - 1)
    return "".join(BARS[round((value - low) / step) if step > 0 else 0] for value in values)


def knob_text(change: KnobChange, *, with_file: bool = False) -> str:
    """Return a changed knob as `LR 0.0003 → 0.001`; `-` where it does not exist."""
    old, new = ("-" if v is None else printable(str(v), 60) for v in (change.old, change.new))
    where = f"{printable(change.file, 60)}: " if with_file else ""
    return f"{where}{printable(change.name, 60)} {old} → {new}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def number_text(value: object, form: str) -> str:
    """Return a number, `-` for None."""
    return "-" if value is None else format(value, form)


def gain_text(gain: float | None) -> str:
    """Return a gain with its sign and the digits that it needs, `-` for None."""
    return "-" if gain is None else signed_number(gain)


def _proposal(ranking: Ranking, about: About) -> Iterator[str]:
    yield f"proposal {about['proposal']}"
    yield f"  {printable(about['title'], 200)}"
    origin = about["origin"]
    how = f"{origin.how}{f' {printable(origin.name, 60)}' if origin.name else ''}"
    when = f"{about['time']:%Y-%m-%d %H:%M:%S} UTC, #{about['seq']}"
    yield f"by {about['author']} ({how}) at {when}, commit {printable(about['commit'][:12])}"
    if about["rationale"]:
        yield f"why: {printable(about['rationale'], 1000)}"
    yield ""
    yield _standing(ranking, about)
    yield from _time(about)
    if odd := odd_results(ranking.board, about["proposal"]):
        yield f"odd: {odd}"
    yield from (_ruling(ranking, ruling) for ruling in about["rulings"])
    if about["predicted_gain"] is not None:
        sure = "" if about["confidence"] is None else f" ({about['confidence']:.0%} sure)"
        real = gain_text(about["parents"][0].gain) if about["parents"] else "-"
        predicted = gain_text(about["predicted_gain"])
        yield f"predicted gain {predicted}{sure}, measured gain over its first parent {real}"
    if about["knobs"]:
        yield "knobs: " + ", ".join(knob_text(change) for change in about["knobs"])
    yield _cost(about["cost"])
    for word in ("parents", "children"):
        yield from _relatives(word, about[word])
    yield from _runs("runs", about["runs"])
    yield from _critiques(about["critiques"])


def _standing(ranking: Ranking, about: About) -> str:
    if about["state"] == "ruled_out":
        return (
            f"state: ruled out since version {about['ruled_since']}: it {printable(about['why'], 300)}; no score counts"
        )
    why = reason_words(about["why"])
    state = f"{about['state']} ({why})" if why else about["state"]
    if about["mean"] is None:
        queue = f"; {about['queue']}" if about["queue"] else ""
        return f"state: {state}, no score yet{queue}"
    mark = " (self-reported)" if about["self_reported"] else ""
    parents = [about["mean"] + row.gain for row in about["parents"] if row.gain is not None]
    places = needed_places([about["mean"], *parents], about["low"], about["high"])
    low, mean, high = (
        "" if about[name] is None else plain_number(about[name], places) for name in ("low", "mean", "high")
    )
    bounds = f" (95 %: {low} … {high})" if low else ""
    proven = "confirmed" if about["state"] in ("champion", "past_champion") else "measured"
    so_far = " so far" if about["state"] == "confirming" else ""
    exact = ranking.exact if about["fresh"] else ""
    rests = (
        f"{exact}; {SAYS_NOTHING}"
        if exact
        else f"{proven} on {_count(about['fresh'], 'fresh seed')}{so_far}"
        if about["fresh"]
        else f"candidate score of {_count(about['seeds'], 'seed')}"
    )
    rank = "" if about["rank"] is None else f"rank {about['rank']}, "
    over = _over_baseline(ranking, about["proposal"], places)
    return f"state: {state}, {rank}{ranking.board.spec.objective.metric} {mean}{mark}{bounds}, {rests}{over}"


def _over_baseline(ranking: Ranking, tree: str, places: int) -> str:
    """Return the gain of a proposal over the baseline in words; "" for the baseline, or where it is not known."""
    opened = ranking.board.opened
    base = opened.base_tree if opened else ""
    row, gain = ranking.of(base), known_gain(ranking, tree, base)
    if tree == base or row is None or row.mean is None or gain is None:
        return ""
    said, mean = signed_gain(gain.value, places), plain_number(row.mean, places)
    if gain.is_side_by_side:
        return f"; gain {said} in runs side by side with the baseline, whose mean is {mean}"
    return f"; gain {said} over the baseline {mean}"


def _time(about: About) -> Iterator[str]:
    took, base = about["trial_s"], about["baseline_s"]
    if not took:
        return
    slower = ", much slower" if is_much_slower(took, base) else ""
    beside = f" (baseline {seconds_text(base)} s{slower})" if base else ""
    yield f"time: a trial takes {seconds_text(took)} s{beside}"


def _ruling(ranking: Ranking, ruling: About) -> str:
    low, high = ruling.get("low"), ruling.get("high")
    places = needed_places([], low, high)
    numbers = [f"mean {plain_number(ruling['mean'], places)}"] if ruling["mean"] is not None else []
    if low is not None and high is not None:
        numbers.append(f"95 %: {plain_number(low, places)} … {plain_number(high, places)}")
    exact = ranking.exact if ruling["p_better"] in (0.0, 1.0) else ""
    if ruling["p_better"] is not None:
        numbers.append(exact or chance(ruling["p_better"]))
    if ruling["seeds"] and not exact:
        numbers.append(f"{_count(len(ruling['seeds']), 'seed')}")
    why = f" ({reason_words(ruling['why'])})" if "why" in ruling else ""
    met = f" against {short(ruling['met'])}" if ruling["met"] else ""
    text = f": {printable(ruling['text'])}" if ruling["text"] else ""
    return f"  {ruling['verdict']}{why} in round {ruling['round']}{met}: {', '.join(numbers) or 'no scores'}{text}"


def _cost(cost: About) -> str:
    words = [f"{cost['runs']} runs, {cost['worker_s']:.1f} s of worker time"]
    words += [f"{cost['tokens']:,} tokens"] if cost["tokens"] is not None else []
    words += [f"${cost['usd']:.4f}"] if cost["usd"] is not None else []
    return f"cost: {', '.join(words)}"


def _relatives(word: str, rows: list[Relative]) -> Iterator[str]:
    if rows:
        yield f"{word}:"
    for row in rows[:_MANY]:
        title = printable(row.title, 80) if row.known else "(not in this arena)"
        proof = "" if row.proven else " (not proven)"
        yield f"  {printable(short(row.proposal))} {gain_text(row.gain):>9}{proof}  {title}"
    yield from _more(rows)


def _runs(word: str, rows: list[RunRow]) -> Iterator[str]:
    if rows:
        yield f"{word}:"
        header, *lines = aligned(_RUN_COLUMNS, [_run_cells(row) for row in rows[:_MANY]], None)
        yield f"  {header}"
        for row, line in zip(rows[:_MANY], lines, strict=True):
            yield f"  {line}"
            if row.message:
                yield f"    {printable(row.message, 200)}"
    yield from _more(rows)


def _run_cells(row: RunRow) -> list[str]:
    result = plain_number(row.value) if row.value is not None else reason_words(row.reason or row.state)
    seconds, memory = number_text(row.trial_s, ".1f"), number_text(row.peak_memory_mb, ".0f")
    used, worker = number_text(row.budget_used_s, ".1f"), printable(row.worker, 40)
    return [row.run, row.lane, str(row.seed), result, seconds, used, memory, worker]


def _more(rows: Sequence[object]) -> Iterator[str]:
    if len(rows) > _MANY:
        yield f"  … and {len(rows) - _MANY} more (mesh show --json has all)"


def _critiques(critiques: Sequence[Critique]) -> Iterator[str]:
    if critiques:
        yield "critiques:"
    for critique in critiques[:_MANY]:
        yield f"  {printable(critique_words(critique), 300)}"
    yield from _more(critiques)


def _run(board: Board, about: About) -> Iterator[str]:
    requested: RunRequested = about["requested"]
    finished: RunFinished | None = about["finished"]
    yield f"run {about['run']} of proposal {printable(short(about['proposal']))} {printable(about['title'], 100)}"
    avoid = f", not on worker {printable(requested.avoid, 40)}" if requested.avoid else ""
    yield (
        f"requested in #{about['seq']}: lane {requested.lane}, seed {requested.seed}, budget {requested.budget_s:g} s, "
        f"deadline {requested.deadline_s:g} s, on {printable(requested.worker_class, 60)}{avoid}"
    )
    yield f"attempts: {', '.join(printable(name, 40) for name in about['attempts']) or 'none yet'}"
    if finished is None:
        yield f"state: {about['state']}{', being stopped' if about['killed'] else ''}"
    else:
        yield from _ending(board, finished)
    yield from not_counted_lines(about.get("not_counted", []))
    yield from _critiques(about["critiques"])


def _ending(board: Board, finished: RunFinished) -> Iterator[str]:
    outcome, metric = finished.outcome, board.spec.objective.metric
    if isinstance(outcome, Infeasible):
        yield f"infeasible: {printable(outcome.message)} ({metric} {outcome.value:.6g} does not count)"
    elif isinstance(outcome, ScreenedOut):
        yield f"screened out: {printable(outcome.message)}"
    elif isinstance(outcome, Failed):
        yield f"{how_it_ended(outcome)}: {printable(outcome.message)}"
    else:
        yield f"{metric} {outcome.value:.6g}{' (self-reported)' if outcome.self_reported else ''}"
        if others := {name: value for name, value in outcome.metrics.items() if name != metric}:
            yield "  " + ", ".join(f"{printable(name, 40)} {value:.6g}" for name, value in others.items())
    if finished.stages:
        yield "stages: " + ", ".join(
            f"{printable(end.stage, 40)} {number_text(end.value, '.6g')} in {end.trial_s + end.score_s:.1f} s"
            for end in finished.stages
        )
    words = [f"trial {finished.trial_s:.1f} s", f"scoring {finished.score_s:.1f} s", f"CPU {finished.cpu_s:.1f} s"]
    if finished.budget_counts:
        words.append(f"{finished.budget_used_s:.1f} s of its budget ({finished.budget_counts})")
    if finished.predict_s:
        words.append(f"predictor {finished.predict_s:.1f} s")
    words.append(f"memory {finished.peak_memory_mb:,.0f} MB")
    if finished.peak_gpu_memory_mb is not None:
        words.append(f"GPU memory {finished.peak_gpu_memory_mb:,.0f} MB")
    if finished.gpu_utilisation is not None:
        words.append(f"GPU busy {finished.gpu_utilisation:.0f} %")
    if finished.cost and finished.cost.usd is not None:
        words.append(f"${finished.cost.usd:.4f}")
    yield ", ".join(words)
    where = f"{printable(finished.worker_class, 60)}, sandbox {printable(finished.tier, 10)}"
    yield f"on {where}, attempt {finished.attempt}"
    yield from _curve(finished.curve)
    if finished.log_tail.strip():
        lines = finished.log_tail.rstrip().splitlines()
        yield f"log, the last {min(len(lines), LAST_LINES)} lines:"
        yield from (f"  | {printable(line, 300)}" for line in lines[-LAST_LINES:])


def _curve(curve: Sequence[CurvePoint]) -> Iterator[str]:
    if curve:
        first, last = curve[0], curve[-1]
        yield f"curve {sparkline([p.value for p in curve])} {first.value:.4g} → {last.value:.4g}, {last.at_s:.1f} s"


def _lives(about: About) -> str:
    count = len(about["lives"])
    return f"{'present' if about['here'] else 'left'}, started {'once' if count == 1 else f'{count} times'}"


def _agent(board: Board, about: About) -> Iterator[str]:
    model = f", model {printable(about['model'], 80)}" if about["model"] else ""
    host = f" on {printable(about['host'], 60)}" if about["host"] else ""
    yield f"agent {about['name']}: {printable(about['role'], 60)}{model}{host}, {_lives(about)}"
    states = ", ".join(f"{count} {state}" for state, count in about["states"].items())
    if states:
        yield f"{_count(about['proposals'], 'proposal')} ({states}), {about['promoted']} promoted"
    if about["promoted"]:
        metric = board.spec.objective.metric
        yield f"earned {gain_text(about['earned'])} {metric} over the champions that it replaced"
    if about["critiques"]:
        yield "critiques: " + ", ".join(f"{count} {verdict}" for verdict, count in about["critiques"].items())
    if about["tokens"] is not None or about["usd"] is not None or about["failed_calls"]:
        usd = "unknown cost" if about["usd"] is None else f"${about['usd']:.4f}"
        failed = f", {about['failed_calls']} failed calls since its last proposal" if about["failed_calls"] else ""
        yield f"models: {about['tokens'] or 0:,} tokens, {usd}{failed}"
    if about["latest"]:
        yield "latest proposals:"
    for row in about["latest"]:
        yield f"  {short(row['proposal'])} {row['state']:<13} {printable(row['title'], 80)}"


def _worker(board: Board, about: About) -> Iterator[str]:
    host = f" on {printable(about['host'], 60)}" if about["host"] else ""
    device = f"{printable(about['worker_class'], 60)} ({printable(about['device'], 80)}, {about['memory_mb']:,} MB)"
    tier = printable(about["tier"], 10)
    yield f"worker {about['name']}: {device}{host}, {about['slots']} slots, sandbox {tier}, {_lives(about)}"
    if about["price_per_hour_usd"] is not None:
        yield f"price: ${about['price_per_hour_usd']:.2f} an hour"
    outcomes = ", ".join(f"{count} {reason_words(word)}" for word, count in about["outcomes"].items())
    yield f"{_count(about['runs'], 'run')} finished{f' ({outcomes})' if outcomes else ''}, {about['worker_s']:.1f} s"
    if about["running"]:
        yield f"running: {', '.join(about['running'][:_MANY])}"
    yield from _runs("latest runs", about["latest"])


def _fact(board: Board, about: About) -> Iterator[str]:
    yield f"#{about['seq']} {about['time']:%Y-%m-%d %H:%M:%S} UTC {printable(about['kind'], 60)}"
    yield f"key {printable(about['key'], 200)}, by {printable(about['author'], 128)}"
    if not about["understood"]:
        yield f"(not understood) {printable(about['post'], 4000)}"
        return
    text = msgspec.json.format(msgspec.json.encode(about["post"]), indent=2).decode()
    yield from (printable(line, 100_000) for line in text.splitlines())
