"""Moves of the numbers of literal tables, such as the coordinates of points: a few at a time, from the best trial.

One to three numbers, or a whole row, move by normal steps. Each number has its own size of step, which grows where a
move was not worse and shrinks where it was (a (1+1) evolution strategy with a success rule, Rechenberg, 1973). Most
moves of one number alone have no effect in such a table, so moves that are as good as the best are kept.
"""

import re
from collections import Counter
from collections.abc import Sequence
from random import Random

from agents.search.samplers.protocol import Idea, Trial, Values, Where, where
from mesh.knobs import Knob

LEAST_NUMBERS = 4
"""Fewest knobs of a table."""

STEPPED = 12
"""Most numbers of a table that the walk steps one by one."""

_GROW, _SHRINK = 1.5, 0.93
_LARGEST, _SMALLEST = 2.0, 1e-4
_SIZES = (0.1, 0.3, 1.0)
_WINDOW = 800


class TableMoves:
    """Moves a few numbers of the tables of the best trial that has all of them."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        knobs = {where(knob): knob for knob in table_knobs(space)}
        head, sizes = _course(knobs, trials)
        known = head.values if head else {}
        values: Values = {where(knob): known.get(where(knob), knob.value) for knob in space}
        for at in _chosen(list(knobs), rng):
            knob, here = knobs[at], values[at]
            assert not isinstance(here, str)
            step = rng.gauss(0, sizes.get(at, 0.5) * rng.choice(_SIZES)) * (knob.unit or 1.0)
            values[at] = float(f"{min(knob.high, max(knob.low, here + step)):.6g}")
        return Idea(values, (head.tree,) if head else ())


def table_knobs(space: Sequence[Knob]) -> list[Knob]:
    """Return the knobs that are numbers of a literal table with at least `LEAST_NUMBERS` of them."""
    numbers = [knob for knob in space if knob.step == "add" and knob.unit and not knob.choices]
    count = Counter(_table(knob) for knob in numbers)
    return [knob for knob in numbers if count[_table(knob)] >= LEAST_NUMBERS]


def without_tables(space: Sequence[Knob]) -> list[Knob]:
    """Return the knobs that are not numbers of a table with more than `STEPPED` of them."""
    count = Counter(_table(knob) for knob in table_knobs(space))
    return [knob for knob in space if knob.step != "add" or count[_table(knob)] <= STEPPED]


def _course(knobs: dict[Where, Knob], trials: Sequence[Trial]) -> tuple[Trial | None, dict[Where, float]]:
    """Return the best trial so far, and how large the steps of each number are now, in units of its knob."""
    head: Trial | None = None
    sizes: dict[Where, float] = {}
    known = [trial for trial in trials if trial.values and all(at in trial.values for at in knobs)]
    best = min(known, key=lambda trial: (_loss(trial), trial.seq), default=None)
    recent = known[-_WINDOW:]
    for trial in [best, *recent] if best and best not in recent and len(known) > _WINDOW else recent:
        if head is None:
            head = trial if trial.loss is not None else None
            continue
        is_kept = _loss(trial) <= _loss(head)
        moved = [at for at in knobs if trial.values[at] != head.values[at]]
        if trial.by == "tables" and len(moved) <= 2 * len(knobs) // 3:
            for at in moved:
                size = sizes.get(at, 0.5) * (_GROW if is_kept else _SHRINK)
                sizes[at] = min(_LARGEST, max(_SMALLEST, size))
        if is_kept:
            head = trial
    return head, sizes


def _loss(trial: Trial) -> float:
    return float("inf") if trial.loss is None else trial.loss


def _chosen(places: list[Where], rng: Random) -> list[Where]:
    """Return one to three numbers, or those of one row of a table of rows."""
    rows: dict[str, list[Where]] = {}
    for at in places:
        if match := re.fullmatch(r"(.*\[\d+\])\[\d+\](#\d+)?", at[1]):
            rows.setdefault(f"{at[0]}:{match[1]}{match[2] or ''}", []).append(at)
    if rows and rng.random() < 0.5:
        return rng.choice(list(rows.values()))
    return rng.sample(places, min(len(places), rng.choice((1, 1, 2, 3))))


def _table(knob: Knob) -> tuple[str, str]:
    return knob.file, re.sub(r"(\[\d+\])*(#\d+)?$", "", knob.name)
