"""Two proposals side by side: code, knobs, metric, cost. Pure; `mesh diff` brings the files."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mesh.board import Board
from mesh.editable_paths import editable_paths
from mesh.events import KnobChange
from mesh.exactness import SAYS_NOTHING, exact_on
from mesh.file_changes import file_changes
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import cost_of, gain_of
from mesh.spec import KnobsSpec
from mesh.text import chance, needed_places, plain_number, printable, short, signed_gain
from mesh_cli.proposals.card import knob_text, number_text
from mesh_cli.render.colour import Ink

_Files = Mapping[str, bytes]
_EVERY = KnobsSpec()
SURE = 0.975
"""A difference is beyond the noise if the chance to be better is above this or below 1 minus this: two-sided, 95 %."""


class Metric(msgspec.Struct, frozen=True):
    """Two means of one metric with their 95 % intervals, and whether their difference is beyond the noise.

    `gain` is positive if the new one is better; `p_better` is the probability of that, None if it is unknown.
    """

    name: str
    old: float | None
    new: float | None
    old_interval: tuple[float, float] | None = None
    new_interval: tuple[float, float] | None = None
    gain: float | None = None
    p_better: float | None = None
    beyond_noise: bool | None = None
    text: str = ""


def knob_changes(old: _Files, new: _Files, editable: tuple[str, ...], rules: KnobsSpec = _EVERY) -> list[KnobChange]:
    """Return the knobs of the editable files that have another value, and the constants that only one of the two has.

    A literal inside of a function that only one has is part of the change of the code.
    """
    from mesh.knobs import knobs_of

    values = [{(knob.file, knob.name): knob.value for knob in knobs_of(files, editable, rules)} for files in (old, new)]
    before, after = values
    return [
        KnobChange(file=file, name=name, old=before.get((file, name)), new=after.get((file, name)))
        for file, name in dict.fromkeys([*before, *after])
        if before.get((file, name)) != after.get((file, name))
        and ("." not in name or ((file, name) in before and (file, name) in after))
    ]


def metric_of(board: Board, old: str, new: str) -> Metric:
    """Compare the scores of two proposals, inside one worker class.

    Fresh ones are compared where both have some: of the class that ranks, else of that in which both have most.
    """
    ranking, name = Ranking(board), board.spec.objective.metric
    rows = ranking.of(old), ranking.of(new)
    means = rows[0].mean if rows[0] else None, rows[1].mean if rows[1] else None
    if rows[0] is None or rows[1] is None:
        who = " and ".join(short(tree) for tree, row in ((old, rows[0]), (new, rows[1])) if row is None)
        return Metric(name, *means, text=f"{who} {'have' if means == (None, None) else 'has'} no score")
    gain = gain_of(ranking, new, old)
    if board.spec.objective.noise == "none" and gain is not None:
        sure = 0.5 if gain == 0 else float(gain > 0)
        return Metric(
            name,
            *means,
            gain=gain,
            p_better=sure,
            beyond_noise=gain != 0,
            text=f"taken as exact on the same cases; {SAYS_NOTHING}",
        )
    before, after = ranking.standings(old), ranking.standings(new)
    fresh = {c: n for c in sorted(before) if c in after and (n := min(before[c].proven_count, after[c].proven_count))}
    if fresh:
        return _proven(ranking, old, new, max(fresh, key=lambda c: (c == ranking.worker_class, fresh[c])))
    if gain is None:
        classes = f"{rows[0].worker_class} and {rows[1].worker_class}"
        return Metric(name, *means, text=f"scores of {classes} workers: scores of two worker classes are not compared")
    return Metric(
        name, *means, gain=gain, text="only candidate scores, which prove nothing: their seeds were used to choose"
    )


def _proven(ranking: Ranking, old: str, new: str, worker_class: str) -> Metric:
    """Compare the fresh scores of two proposals in a class where both have some."""
    from mesh.evidence import fresh, noise, p_better, proofs
    from mesh.item_evidence import item_noise

    board = ranking.board
    one, two = (ranking.standings(tree)[worker_class] for tree in (old, new))
    intervals = [ranking.interval(standing, worker_class) for standing in (one, two)]
    before, after = (fresh(board, tree, worker_class) for tree in (old, new))
    known = intervals[0] is not None
    items = item_noise(proofs(board, new, worker_class), proofs(board, old, worker_class))
    known = known and (items is not None or board.spec.objective.noise != "items")
    sure = p_better(board, after, before, noise(board, worker_class), items)
    beside = ranking.gain_side_by_side(new, old, worker_class)
    exact = exact_on(board)
    seeds = f"{one.proven_count} and {two.proven_count} fresh seeds on {worker_class}"
    seeds += "" if beside is None else ", by runs side by side"
    seeds = f"{exact} on {worker_class}; {SAYS_NOTHING}" if exact else seeds
    return Metric(
        board.spec.objective.metric,
        one.mean,
        two.mean,
        old_interval=intervals[0],
        new_interval=intervals[1],
        gain=ranking.gain(two.mean, one.mean) if beside is None else beside,
        p_better=sure if known else None,
        beyond_noise=(sure >= SURE or sure <= 1 - SURE) if known else None,
        text=f"{seeds}{'' if known else '; the noise of the difference is not known'}",
    )


def comparison(board: Board, old: str, new: str, before: _Files, after: _Files) -> dict[str, Any]:
    """Return everything that is compared, for JSON; "" as `old` stands for the artifact as the arena was opened."""
    editable = editable_paths(board.spec, before, after)
    return {
        "old": old,
        "new": new,
        "files": file_changes(before, after),
        "knobs": knob_changes(before, after, editable, board.spec.knobs),
        "metric": metric_of(board, old, new) if old in board.proposals else None,
        "cost": {tree: cost_of(board, tree) for tree in (old, new) if tree in board.proposals},
    }


def lines_of(board: Board, compared: Mapping[str, Any], *, stat: bool, ink: Ink) -> Iterator[str]:
    """Yield a comparison as lines: metric, cost and knobs first, then the code."""
    for sign, tree in (("-", compared["old"]), ("+", compared["new"])):
        known = board.proposals.get(tree)
        title = printable(known.event.title, 90) if known else "the baseline"
        yield _paint(f"{sign} {short(tree) or 'base':<10} {title}", sign, ink)
    if compared["metric"]:
        yield from _metric(compared["metric"], Ranking(board).places)
    yield from _costs(compared)
    several = len({change.file for change in compared["knobs"]}) > 1
    if compared["knobs"]:
        yield "knobs: " + ", ".join(knob_text(change, with_file=several) for change in compared["knobs"])
    if not compared["files"]:
        yield "the code is the same"
    for change in compared["files"]:
        if stat or change.remark:
            yield f"{printable(change.file, 120)} | {change.remark or f'+{change.added} -{change.removed}'}"
        else:
            yield ""
            yield from (_paint(printable(line.expandtabs(4), 2000), line[:1], ink) for line in change.lines)


def changed_lines(old: _Files, new: _Files, ink: Ink) -> Iterator[str]:
    """Yield the unified diff of all files that differ; of one that cannot be compared, one line."""
    for change in file_changes(old, new):
        if change.remark:
            yield f"{printable(change.file, 120)} | {change.remark}"
        yield from (_paint(printable(line.expandtabs(4), 2000), line[:1], ink) for line in change.lines)


def _metric(metric: Metric, fewest: int) -> Iterator[str]:
    low, high = metric.new_interval or metric.old_interval or (None, None)
    places = max(fewest, needed_places([mean for mean in (metric.old, metric.new) if mean is not None], low, high))

    def side(mean: float | None, bounds: tuple[float, float] | None) -> str:
        return ("-" if mean is None else plain_number(mean, places)) + (
            f" (95 %: {plain_number(bounds[0], places)} … {plain_number(bounds[1], places)})" if bounds else ""
        )

    yield f"{metric.name}: {side(metric.old, metric.old_interval)} → {side(metric.new, metric.new_interval)}"
    if metric.gain is None:
        yield f"  {metric.text}"
        return
    words = {True: "beyond the noise", False: "within the noise", None: "not proven"}[metric.beyond_noise]
    sure = "" if metric.p_better is None else f" ({chance(metric.p_better)})"
    change = (
        f"{'better' if metric.gain > 0 else 'worse'} by {signed_gain(abs(metric.gain), places).removeprefix('+')}"
        if metric.gain
        else "equal"
    )
    yield f"  {change}{sure}, {words}: {printable(metric.text, 200)}"


def _costs(compared: Mapping[str, Any]) -> Iterator[str]:
    costs = [compared["cost"].get(compared[side]) for side in ("old", "new")]
    for name, form in (("worker_s", ".1f"), ("runs", "d"), ("tokens", ",d"), ("usd", ".4f")):
        values = [cost[name] if cost else None for cost in costs]
        if any(value is not None for value in values):
            yield f"{name.replace('_', ' ')}: {number_text(values[0], form)} → {number_text(values[1], form)}"


def _paint(text: str, mark: str, ink: Ink) -> str:
    return ink.sign({"+": "good", "-": "bad", "@": "place"}.get(mark, ""), text)
