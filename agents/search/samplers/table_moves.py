"""Moves of the numbers of literal tables, such as the coordinates of points: a few at a time, from the best trial.

One to three numbers, or a whole row, move by normal steps. Each number has its own size of step, which grows where a
move was not worse and shrinks where it was (a (1+1) evolution strategy with a success rule, Rechenberg, 1973). A step
that gained is made once more, and one that was worse the other way (mirrored sampling, Brockhoff et al., 2010). Most
moves of one number alone have no effect in such a table, so moves that are as good as the best are kept. Where nothing
has gained yet, they may all be failures: then half of the moves start from the first table.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import msgspec

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

_FAR = 0.1
"""Share of the steps that are large whatever the sizes, so that a number comes out of a corner."""

_LONGER = 1.5
"""A step that gained is made once more, by so much longer."""

_MIRRORED, _DIRECTED = 3, 0.5
"""How many of the latest steps that were worse are made the other way, and the chance of each."""

_RECENT = 60
"""Latest trials that a step is not to repeat."""


class TableMoves:
    """Moves a few numbers of the tables of the best trial that has all of them."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        knobs = {where(knob): knob for knob in table_knobs(space)}
        course = _course(knobs, trials)
        if course.first and course.head and course.first.loss == course.head.loss and rng.random() < 0.5:
            course = _Course(head=course.first)  # what is only as good may be a failure with the same score
        known = course.head.values if course.head else {}
        values: Values = {where(knob): known.get(where(knob), knob.value) for knob in space}
        parents = (course.head.tree,) if course.head else ()
        taken = {tuple(trial.values.get(at) for at in knobs) for trial in (*trials[-_RECENT:], *pending)}
        for step in course.next_steps():
            if rng.random() < _DIRECTED:
                values_then = values | {at: _inside(knobs[at], _number(values[at]) + by) for at, by in step.items()}
                if tuple(values_then[at] for at in knobs) not in taken:
                    return Idea(values_then, parents)
        is_far = rng.random() < _FAR
        for at in _chosen(list(knobs), rng):
            size = _LARGEST * rng.random() if is_far else course.sizes.get(at, 0.5) * rng.choice(_SIZES)
            values[at] = _inside(knobs[at], _number(values[at]) + rng.gauss(0, size) * (knobs[at].unit or 1.0))
        return Idea(values, parents)


def table_knobs(space: Sequence[Knob]) -> list[Knob]:
    """Return the knobs that are numbers of a literal table with at least `LEAST_NUMBERS` of them."""
    numbers = [knob for knob in space if knob.step == "add" and knob.unit and not knob.choices]
    count = Counter(_table(knob) for knob in numbers)
    return [knob for knob in numbers if count[_table(knob)] >= LEAST_NUMBERS]


def name_of_table(name: str) -> str:
    """Return the name of the table in which the number with a name stands."""
    return re.sub(r"(\[\d+\])*(#\d+)?$", "", name)


def without_tables(space: Sequence[Knob]) -> list[Knob]:
    """Return the knobs that are not numbers of a table with more than `STEPPED` of them."""
    count = Counter(_table(knob) for knob in table_knobs(space))
    return [knob for knob in space if knob.step != "add" or count[_table(knob)] <= STEPPED]


class _Course(msgspec.Struct):
    """The first and the best trial so far, the size of the steps of each number in units of its knob, and late moves.

    `led` is the step that led to the best trial. `failed` are the steps from there that were worse.
    """

    first: Trial | None = None
    head: Trial | None = None
    sizes: dict[Where, float] = msgspec.field(default_factory=dict)
    led: dict[Where, float] = msgspec.field(default_factory=dict)
    failed: list[dict[Where, float]] = msgspec.field(default_factory=list)

    def next_steps(self) -> Iterator[dict[Where, float]]:
        """Yield the step that gained, longer, then the latest steps that were worse, the other way."""
        if self.led:
            yield {at: _LONGER * by for at, by in self.led.items()}
        for step in self.failed[: -_MIRRORED - 1 : -1]:
            yield {at: -by for at, by in step.items()}


def _course(knobs: dict[Where, Knob], trials: Sequence[Trial]) -> _Course:
    course = _Course()
    known = [trial for trial in trials if trial.values and all(at in trial.values for at in knobs)]
    best = min(known, key=lambda trial: (_loss(trial), trial.seq), default=None)
    recent = known[-_WINDOW:]
    for trial in [best, *recent] if best and best not in recent and len(known) > _WINDOW else recent:
        head = course.head
        if head is None:
            course.head = course.first = trial if trial.loss is not None else None
            continue
        is_kept = _loss(trial) <= _loss(head)
        step = {
            at: _number(trial.values[at]) - _number(head.values[at])
            for at in knobs
            if trial.values[at] != head.values[at]
        }
        is_move = len(step) <= 2 * len(knobs) // 3
        if trial.by == "tables" and is_move:
            for at in step:
                size = course.sizes.get(at, 0.5) * (_GROW if is_kept else _SHRINK)
                course.sizes[at] = min(_LARGEST, max(_SMALLEST, size))
        if is_kept:
            is_gain = trial.by in ("tables", "ties") and _loss(trial) < _loss(head)
            course.head, course.led, course.failed = trial, step if is_gain and is_move else {}, []
        elif trial.by == "tables" and is_move:
            # a move that was asked for before the best trial was known lacks the step that led there
            course.failed.append({at: by for at, by in step.items() if at not in course.led or by != -course.led[at]})
    return course


def _loss(trial: Trial) -> float:
    return float("inf") if trial.loss is None else trial.loss


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _inside(knob: Knob, value: float) -> float:
    return float(f"{min(knob.high, max(knob.low, value)):.6g}")


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
    return knob.file, name_of_table(knob.name)
