"""Ties: numbers that move together, from the best trial: equal literals, and numbers of tables by a common rule.

One number of a table alone has hardly an effect where numbers belong together: circles of equal radius, points on one
line, the values of a smooth curve, shares that add up to a whole. So a move turns a group: equal numbers of a column,
equal literals of a program, a whole column, neighbours by a smooth bump, or two numbers of which one gives what the
other one gets. The size of a move is drawn about the sizes of the latest moves that were not worse. Nothing is
rewritten: a tie is a set of places.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from agents.search.samplers.protocol import Idea, Trial, Values, Where, where
from agents.search.samplers.table_moves import table_knobs
from agents.search.samplers.trial_log import ranked
from mesh.knobs import Knob

TIES = "ties"
"""The name of the sampler."""

LEAST_NEIGHBOURS = 8
"""Fewest numbers of a row or a list whose neighbours move by a smooth bump."""

_COMMON = (0, 1, -1, 2, 0.5, 10, 100)
"""Equal numbers of different functions that say nothing, because every program has them."""

_LARGEST, _SMALLEST = 2.0, 1e-4
"""Sizes of a move, in units of its knobs."""

_REMEMBERED = 12
"""Latest moves that were not worse whose sizes are used again."""

_PLACE = re.compile(r"(.*?)((?:\[\d+\])+)(#\d+)?$")

_Move = Callable[[Values, Random, float], None]
"""Changes values by a move of a size, in units of a knob."""


class TieMoves:
    """Moves groups of numbers of the best trial that has all of them."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea | None:
        """Return an idea with a value for every knob of `space`; None if nothing is tied.

        Args:
            space: The knobs of the code that is changed.
            trials: The finished trials, in the order of the log.
            pending: The unfinished trials; they play no part.
            rng: The only source of randomness.
        """
        places = {where(knob) for knob in space}
        head = next((trial for trial in ranked(trials) if places <= trial.values.keys()), None)
        values: Values = {where(knob): knob.value for knob in space}
        if head:
            values |= {at: value for at, value in head.values.items() if at in places}
        moves = _moves(space, values)
        if not moves:
            return None
        kind = rng.choice(list(moves))
        rng.choice(moves[kind])(values, rng, _size(space, trials, rng))
        return Idea(values, (head.tree,) if head else ())


def is_tied(space: Sequence[Knob]) -> bool:
    """Tell whether any numbers of a program move together.

    Args:
        space: The knobs of the program.
    """
    return bool(_moves(space, {where(knob): knob.value for knob in space}))


def _moves(space: Sequence[Knob], values: Values) -> dict[str, list[_Move]]:
    """Return the moves by kind; kinds without any are left out."""
    knobs = {where(knob): knob for knob in space}
    found: dict[str, list[_Move]] = {"literals": _literal_ties(space, values)}
    for table in _tables(space):
        for column in table:
            found.setdefault("column", []).append(_shift(knobs, column))
            found.setdefault("equal", []).extend(_shift(knobs, group) for group in _equal(column, values))
            if len(column) > 2:
                found.setdefault("give and take", []).append(_transfer(knobs, column))
            if len(column) >= LEAST_NEIGHBOURS:
                found.setdefault("neighbours", []).append(_bump(knobs, column))
    return {kind: each for kind, each in found.items() if each}


def _tables(space: Sequence[Knob]) -> list[list[list[Where]]]:
    """Return the columns of each table; a list without rows is one column."""
    tables: dict[tuple[str, str], dict[str, list[Where]]] = {}
    for knob in table_knobs(space):
        match = _PLACE.match(knob.name)
        indices = re.findall(r"\d+", match[2]) if match else []
        name = (match[1] if match else knob.name) + (match[3] or "" if match else "")
        column = indices[-1] if len(indices) > 1 else ""
        tables.setdefault((knob.file, name), {}).setdefault(column, []).append(where(knob))
    return [list(columns.values()) for columns in tables.values()]


def _equal(column: Sequence[Where], values: Values) -> list[list[Where]]:
    """Return the groups of equal numbers of a column, without a group that is all of it."""
    groups: dict[object, list[Where]] = {}
    for at in column:
        groups.setdefault(values[at], []).append(at)
    return [group for group in groups.values() if 1 < len(group) < len(column)]


def _literal_ties(space: Sequence[Knob], values: Values) -> list[_Move]:
    """Return moves of equal literals: of one function, and of several where the number is no common one."""
    plain = [knob for knob in space if knob.step and not knob.unit and not knob.choices]
    groups: dict[tuple[object, ...], list[Where]] = {}
    for knob in plain:
        value = values[where(knob)]
        if value not in _COMMON:
            groups.setdefault((knob.file, type(value), value), []).append(where(knob))
        if len(knob.tie) > 1:
            groups.setdefault((knob.file, knob.tie), []).append(where(knob))
    knobs = {where(knob): knob for knob in plain}
    whole = [group for group in groups.values() if len(group) > 1 and len({values[at] for at in group}) == 1]
    return [_step(knobs, group) for group in whole]


def _step(knobs: dict[Where, Knob], group: Sequence[Where]) -> _Move:
    def move(values: Values, rng: Random, size: float) -> None:
        knob = knobs[group[0]]
        whole = knob.is_int and (knob.step == "one" or not knob.log)
        steps = rng.choice((-1, 1)) * (max(1.0, round(size)) if whole else size)
        values.update(dict.fromkeys(group, knob.stepped(values[group[0]], steps)))

    return move


def _shift(knobs: dict[Where, Knob], group: Sequence[Where]) -> _Move:
    """Move numbers by the same distance, or about their mean by the same factor."""

    def move(values: Values, rng: Random, size: float) -> None:
        step = rng.gauss(0, size) * (knobs[group[0]].unit or 1.0)
        numbers = [_number(values[at]) for at in group]
        middle, reach = sum(numbers) / len(numbers), max(numbers) - min(numbers)
        is_scaled = reach > 0 and rng.random() < 0.5
        for at, number in zip(group, numbers, strict=True):
            values[at] = _inside(knobs[at], number + (step * (number - middle) / reach if is_scaled else step))

    return move


def _transfer(knobs: dict[Where, Knob], column: Sequence[Where]) -> _Move:
    """Give to some numbers what others lose: by a power of two, so that the sum stays the same to the last bit."""

    def move(values: Values, rng: Random, size: float) -> None:
        unit = knobs[column[0]].unit or 1.0
        step = 2.0 ** round(math.log2(abs(rng.gauss(0, size)) * unit + 1e-9))
        width = rng.choice((1, 1, 2, 3, 4))
        width = min(width, len(column) // 2)
        first, second = (rng.randrange(len(column)) for _ in range(2))
        gets = [(first + n) % len(column) for n in range(width)]
        gives = [(second + n) % len(column) for n in range(width)]
        if {*gets} & {*gives}:
            return
        for places, sign in ((gets, 1.0), (gives, -1.0)):
            for place in places:
                values[column[place]] = _number(values[column[place]]) + sign * step

    return move


def _bump(knobs: dict[Where, Knob], column: Sequence[Where]) -> _Move:
    """Raise or lower numbers about a place, the nearest ones the most; sometimes the mirror image too."""

    def move(values: Values, rng: Random, size: float) -> None:
        step = rng.gauss(0, size) * (knobs[column[0]].unit or 1.0)
        middle, width = rng.uniform(0, len(column) - 1), len(column) * 2.0 ** rng.uniform(-6, -1)
        is_mirrored = rng.random() < 0.3
        for place, at in enumerate(column):
            near = math.exp(-(((place - middle) / width) ** 2) / 2)
            if is_mirrored:
                near += math.exp(-(((len(column) - 1 - place - middle) / width) ** 2) / 2)
            if near > 0.01:
                values[at] = _inside(knobs[at], _number(values[at]) + step * near)

    return move


def _size(space: Sequence[Knob], trials: Sequence[Trial], rng: Random) -> float:
    """Return a size: drawn evenly on a log scale, or about that of a late move that was not worse."""
    units = {where(knob): knob.unit for knob in space if knob.unit}
    kept: list[float] = []
    head: Trial | None = None
    for trial in trials:
        if trial.loss is None or not units.keys() <= trial.values.keys():
            continue
        if head is None or head.loss is None or trial.loss <= head.loss:
            if head and trial.by == TIES:
                moved = [abs(_number(trial.values[at]) - _number(head.values[at])) / units[at] for at in units]
                kept += [max(moved)] if moved and max(moved) > 0 else []
            head = trial
    if kept and rng.random() < 0.6:
        size = rng.choice(kept[-_REMEMBERED:]) * math.exp(rng.gauss(0, 0.7))
    else:
        size = math.exp(rng.uniform(math.log(3e-4), math.log(_LARGEST)))
    return min(_LARGEST, max(_SMALLEST, size))


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _inside(knob: Knob, value: float) -> float:
    return float(f"{min(knob.high, max(knob.low, value)):.6g}")


def unproductive(kinds: Sequence[str], gains: Sequence[tuple[Trial, float]], latest: int) -> list[str]:
    """Return the samplers whose latest results, so many, improved nothing.

    Args:
        kinds: The names of the samplers.
        gains: The finished trials with their improvements (`portfolio.gains`).
        latest: How many results of a sampler count.
    """
    made: Counter[str] = Counter()
    earned: Counter[str] = Counter()
    for trial, gain in reversed(gains):
        if trial.by in kinds and made[trial.by] < latest:
            made[trial.by] += 1
            earned[trial.by] += gain > 0
    return [kind for kind in kinds if made[kind] >= latest and not earned[kind]]
