"""The moves of a walk over many knobs, and what their results say: which ones gained, which knobs matter, what is next.

All follows from the trials. A start is the best code of an author who is not a sampler; the head is the best trial.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from statistics import median
from typing import NamedTuple

from agents.search.samplers.protocol import Idea, Trial, Values, Where, where
from mesh.events import Scalar
from mesh.knobs import Knob, are_near

_SAME = 3
"""A worst loss that this many trials share is the score of a failure, such as 0 for an invalid answer."""

_MANY = 9
"""If no more than one in so many single moves is better than the start, the moves have effects: by luck, 1 in 10."""

_ADDS = 3
"""A gain that this many joint moves had is no longer added alone."""

Together = tuple[Where, ...]
"""The places of one knob, or of literals that move together."""


class _Gain(NamedTuple):
    """A single move from the start that gained."""

    loss: float
    group: Together
    value: Scalar


class LiteralMoves:
    """What the trials say about the moves from a start: the best code of an author who is not a sampler."""

    def __init__(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial]) -> None:
        self.space, self._trials, self._pending = space, trials, pending
        self.knob = {where(knob): knob for knob in space}
        scored = [trial for trial in trials if trial.loss is not None]
        written = [trial for trial in scored if not trial.by]
        self._origin = min(written, key=lambda t: (t.loss, t.seq)) if written else scored[0] if scored else None
        self._start: Values = {at: knob.value for at, knob in self.knob.items()}
        if self._origin:
            self._start |= {at: v for at, v in self._origin.values.items() if at in self.knob}
        for knob in space:
            for name in knob.tie:
                self._start.setdefault((knob.file, name), self._start[where(knob)])
        every = [*trials, *pending]
        keys = [self._key(trial.values) for trial in every]
        self._apart = [(trial, {at for at, _ in key}) for trial, key in zip(every, keys, strict=True)]
        self._taken = set(keys)
        order = [(trial.loss, len(apart), trial.seq, trial) for trial, apart in self._apart if trial.loss is not None]
        self.head = min(order, key=lambda each: each[:3])[3] if order else None
        self.head_values = self._start | (
            {at: v for at, v in self.head.values.items() if at in self._start} if self.head else {}
        )
        self.groups = self._groups()
        losses = [trial.loss for trial in scored]
        worst = max((loss for loss in losses if loss is not None), default=None)
        is_plain = self._origin is not None and worst != self._origin.loss and losses.count(worst) >= _SAME
        self._floor = worst if is_plain else None

    def parents(self, trial: Trial | None) -> tuple[str, ...]:
        """Return the proposal that a move starts from."""
        return (trial.tree,) if trial else ()

    def differs(self, values: Values) -> set[Where]:
        """Return the places with another value than at the start."""
        return {at for at, _ in self._key(values)}

    def loss(self, trial: Trial) -> float | None:
        """Return the loss of a trial; None if it failed, or has the score that failures have."""
        return None if trial.loss == self._floor else trial.loss

    def joint(self) -> Iterator[Idea]:
        """Yield moves from the best trial: its missing gains together, longer steps, gains alone, and a way back."""
        turned = self.differs(self.head_values)
        missing = [gain for gain in self.gains if not turned & {*gain.group}]
        count = len(missing)
        while count > 1:
            values = dict(self.head_values)
            for gain in missing[:count]:
                values |= dict.fromkeys(gain.group, gain.value)
            if self._is_new(values):
                yield Idea(values, self.parents(self.head))
                break  # fewer of them only if all of them do not gain
            if self._key(values) in self._waiting:
                break
            count = (count + 1) // 2 if count > 2 else 1
        for gain in self.gains:
            yield from self._along(gain, turned)
        for gain in missing:
            if self._with[gain.group[0], gain.value] < _ADDS:
                yield from self._move(self.head, gain.group, gain.value)
        needless = turned - {at for gain in self.gains for at in gain.group}
        values = self.head_values | {at: self._start[at] for at in needless}
        if needless and len(needless) < len(turned) and self._is_new(values):
            yield Idea(values, self.parents(self.head))

    def _along(self, gain: _Gain, turned: set[Where]) -> Iterator[Idea]:
        at = gain.group[0]
        if not turned >= {*gain.group} or at not in self.knob:
            return
        knob, first, here = self.knob[at], self._start[at], self.head_values[at]
        steps = distance(knob, first, here)
        if not steps:
            return
        new = knob.stepped(here, steps)
        if not self._seen[at, new]:
            yield from self._move(self.head, gain.group, new)

    def singles(self) -> Iterator[Idea]:
        """Yield the single steps from the start that are not made: by priority, upwards first.

        Knobs that an author added to the code later come first. Of the other ways those come first whose first one
        did most harm; where it had no effect they come late, and last where it crashed.
        """
        late: dict[bool, list[tuple[Together, Scalar]]] = {False: [], True: []}
        for priority in sorted({priority for _, priority in self.groups}):
            groups = [group for group, of in self.groups if of == priority]
            groups.sort(key=lambda group: not self._is_added(self.lead(group)))
            for group in self._turned_back(groups):
                yield from self._move(self._origin, group, self._targets(group, self._start[self.lead(group)])[1])
            for turn in range(4):
                for group in sorted(groups, key=self._harm, reverse=True) if turn == 1 else groups:
                    values = self._targets(group, self._start[self.lead(group)])
                    if turn >= len(values):
                        continue
                    tried = self._tried.get(group, [])
                    best = min((loss for _, loss in tried if loss is not None), default=math.inf)
                    if turn and best < self._middle - 2 * self._noise and not self.knob[self.lead(group)].choices:
                        continue  # one direction gains: the other one hardly does
                    if turn and tried and best in (self._middle, math.inf):
                        late[best == math.inf].append((group, values[turn]))
                        continue
                    yield from self._move(self._origin, group, values[turn])
        for group, value in [*late[False], *late[True]]:
            yield from self._move(self._origin, group, value)

    def hopeful(self) -> Iterator[Idea]:
        """Yield full steps of the knobs that matter from the best trial, but none that was worse or failed alone."""
        for group in self._movable():
            for value in self._targets(group, self.head_values[self.lead(group)]):
                made = [
                    (tried, loss) for tried, loss in self._tried.get(group, []) if self._is_way(group, value, tried)
                ]
                losses = [math.inf if loss is None else loss for _, loss in made]
                if min(losses, default=-math.inf) <= self._middle + 2 * self._noise:
                    yield from self._move(self.head, group, value)

    def finer(self, sizes: Sequence[float]) -> Iterator[Idea]:
        """Yield steps of the knobs that matter from the best trial; a size of 1 stands for the steps of `singles`.

        The largest come first, but for those that are more than twice the step that led to the best trial.
        """
        groups = self._movable()
        for size in sorted(sizes, key=lambda size: (size > 2 * self._latest, -size)):
            for group in groups:
                knob, here = self.knob[self.lead(group)], self.head_values[self.lead(group)]
                values = [knob.stepped(here, size), knob.stepped(here, -size)]
                for value in self._targets(group, here) if size == 1 else values:
                    yield from self._move(self.head, group, value)

    @cached_property
    def gains(self) -> list[_Gain]:
        """The single moves that gained, best first, at most one for a place; the largest if few are sure."""
        found = [
            _Gain(loss, group, value)
            for group, tried in self._tried.items()
            for value, loss in tried
            if loss is not None and loss < self._middle
        ]
        found.sort(key=lambda gain: gain.loss)
        sure = sum(gain.loss < self._middle - 2 * self._noise for gain in found)
        chosen: list[_Gain] = []
        taken: set[Where] = set()
        for number, gain in enumerate(found):
            if not taken & {*gain.group} and (number < sure or len(chosen) < 3):
                chosen.append(gain)
                taken |= {*gain.group}
        return chosen

    @cached_property
    def effects(self) -> dict[Together, float]:
        """The largest effect of each group that was turned alone, without those that only crashed."""
        sizes = {
            group: [abs(loss - self._middle) for _, loss in tried if loss is not None]
            for group, tried in self._tried.items()
        }
        return {group: max(found) for group, found in sizes.items() if found}

    @cached_property
    def ranked(self) -> list[Together]:
        """The groups with an effect, the largest first."""
        order = sorted(self.effects.items(), key=lambda each: -each[1])
        return [group for group, effect in order if effect > 0]

    @property
    def crashing(self) -> set[Together]:
        """The groups of which two moves and more were made, and none got a score."""
        return {
            group for group, tried in self._tried.items() if len(tried) > 1 and all(loss is None for _, loss in tried)
        }

    @cached_property
    def _tried(self) -> dict[Together, list[tuple[Scalar, float | None]]]:
        """The values and the losses of the finished single moves, by their group."""
        known = {frozenset(group): group for group, _ in self.groups}
        found: dict[Together, list[tuple[Scalar, float | None]]] = {}
        for trial, apart in self._apart[: len(self._trials)]:
            group = known.get(frozenset(apart))
            if group and len({trial.values[at] for at in group}) == 1:
                found.setdefault(group, []).append((trial.values[group[0]], self.loss(trial)))
        return found

    @cached_property
    def _spread(self) -> tuple[float, float]:
        """The loss at the start, and the standard deviation of equal points; 0 where equal points have equal losses.

        Most single moves change nothing, so the middle of their losses shows the noise. Where nearly all of them are
        worse than the start, they do change something, and say nothing about noise.
        """
        start = self._origin.loss if self._origin and self._origin.loss is not None else math.inf
        losses = [loss for tried in self._tried.values() for _, loss in tried if loss is not None]
        if len(losses) < 6 or losses.count(start) >= max(2, len(losses) // 10):
            return start, 0.0
        if len(losses) >= _MANY and sum(loss < start for loss in losses) <= len(losses) // _MANY:
            return start, 0.0
        middle = median([start, *losses])
        apart = sorted(abs(loss - middle) for loss in losses)
        return middle, apart[int(0.4 * len(apart))] / 0.524  # 40 % of a normal distribution lie within 0.524

    @cached_property
    def _latest(self) -> float:
        """How many natural steps lie between the best trial and the best one before it."""
        known = [trial for trial in self._trials if self.head and trial.loss is not None and trial.seq < self.head.seq]
        if not self.head or not known:
            return math.inf
        before = min(known, key=lambda trial: (trial.loss, trial.seq)).values
        sizes = [0.0]
        for at, knob in self.knob.items():
            old, new = before.get(at), self.head.values.get(at)
            if old is not None and new is not None and old != new:
                sizes.append(abs(distance(knob, old, new)))
        return max(sizes) or math.inf

    @property
    def is_exact(self) -> bool:
        """Whether equal points have equal losses, as far as is known."""
        return self._noise == 0

    @property
    def _middle(self) -> float:
        return self._spread[0]

    @property
    def _noise(self) -> float:
        return self._spread[1]

    @cached_property
    def _waiting(self) -> set[frozenset[tuple[Where, Scalar]]]:
        return {self._key(trial.values) for trial in self._pending}

    @cached_property
    def _seen(self) -> Counter[tuple[Where, Scalar]]:
        """How many of the walk's moves had a value."""
        return self._count(0)

    @cached_property
    def _with(self) -> Counter[tuple[Where, Scalar]]:
        """How many of the walk's joint moves had a value."""
        return self._count(1)

    def _count(self, others: int) -> Counter[tuple[Where, Scalar]]:
        moves = ((trial, apart) for trial, apart in self._apart if trial.by == "walk" and len(apart) > others)
        return Counter((at, trial.values[at]) for trial, apart in moves for at in apart)

    def _groups(self) -> list[tuple[Together, int]]:
        """Return what moves together, with its priority: equal literals first, then every knob."""
        found: dict[Together, int] = {}
        for knob in self.space:
            group = tuple((knob.file, name) for name in knob.tie)
            if len(group) > 1 and len({self._start[at] for at in group}) == 1:
                found[group] = min(found.get(group, knob.priority), knob.priority)
        return [*found.items(), *(((at,), knob.priority) for at, knob in self.knob.items())]

    def lead(self, group: Together) -> Where:
        """Return the first place of a group that is a knob alone."""
        return next(at for at in group if at in self.knob)

    def _is_added(self, at: Where) -> bool:
        """Tell whether the oldest code did not have a knob: an author added it later."""
        return bool(self._trials) and at not in self._trials[0].values

    def _targets(self, group: Together, first: Scalar) -> list[Scalar]:
        """Return the values that single steps from a value give, the first one upwards."""
        knob = self.knob[self.lead(group)]
        if knob.choices:
            return [choice for choice in knob.choices if choice != first][:4]
        new = [knob.stepped(first, 1), knob.stepped(first, -1)]
        if knob.is_int and not knob.is_power and not isinstance(first, str) and 12 <= first <= 64:
            ones = [step for step in (int(first) + 1, int(first) - 1) if knob.low <= step <= knob.high]
            new = [*ones, *new] if len(group) > 1 else [*new, *ones]
        return [value for value in dict.fromkeys(new) if value != first]

    def _turned_back(self, groups: Sequence[Together]) -> list[Together]:
        """Return the groups whose way up did more harm than the median step does either way, the most harm first.

        Only where results have noise: there a small gain is not seen, and a large one is likeliest opposite to harm.
        """
        if not self._noise:
            return []
        harms = [abs(harm) for group in self._tried if math.isfinite(harm := self._harm(group) - self._middle)]
        least = max(median(harms), 2 * self._noise)
        found = [group for group in groups if self._harm(group) - self._middle > least]
        two_ways = [group for group in found if len(self._targets(group, self._start[self.lead(group)])) > 1]
        return sorted(two_ways, key=self._harm, reverse=True)

    def _harm(self, group: Together) -> float:
        """Return the loss of the best step of a group: where one way does much harm, the other one may gain most."""
        losses = [loss for _, loss in self._tried.get(group, ()) if loss is not None]
        return min(losses, default=-math.inf)

    def _movable(self) -> list[Together]:
        """Return the groups with an effect, else all, whose literals are equal in the best trial."""
        groups = self.ranked or [group for group, _ in self.groups]
        return [group for group in groups if len({self.head_values[at] for at in group}) == 1]

    def _is_way(self, group: Together, value: Scalar, tried: Scalar) -> bool:
        """Tell whether a step from the best trial goes the way of one from the start; choices are ways of their own."""
        lead = self.lead(group)
        here, first = self.head_values[lead], self._start[lead]
        if self.knob[lead].choices or any(isinstance(each, str) for each in (value, tried, here, first)):
            return value == tried
        return (float(value) > float(here)) == (float(tried) > float(first))

    def _move(self, start: Trial | None, group: Together, value: Scalar) -> Iterator[Idea]:
        values = (self.head_values if start is self.head else self._start) | dict.fromkeys(group, value)
        if self._is_new(values):
            yield Idea(values, self.parents(start))

    def _is_new(self, values: Values) -> bool:
        return self._key(values) not in self._taken and not self._is_near(values)

    def _is_near(self, values: Values) -> bool:
        """Tell whether a move is too small: an explorer takes it for a point that is known."""
        for known in (self._start, self.head_values):
            turned = {at for at, _ in values.items() - known.items()}
            if all(at in self.knob for at in turned) and are_near([self.knob[at] for at in turned], values, known):
                return True
        return False

    def _key(self, values: Values) -> frozenset[tuple[Where, Scalar]]:
        """Return what differs from the start: equal for equal points."""
        return frozenset(item for item in values.items() - self._start.items() if item[0] in self._start)


def distance(knob: Knob, one: Scalar, other: Scalar) -> float:
    """Return how many natural steps of `Knob.stepped` lie between two numbers; 0 for choices."""
    if knob.choices or isinstance(one, str) or isinstance(other, str):
        return 0.0
    if knob.step == "one" or (knob.is_int and not knob.log):
        return float(other - one) / max(1.0, knob.unit)
    if knob.step == "logit" and 0 < one < 1 and 0 < other < 1:
        return math.log(other / (1 - other)) - math.log(one / (1 - one))
    if knob.log and one > 0 and other > 0:
        return math.log2(other / one)
    return (other - one) / (knob.unit or (knob.high - knob.low) / 10)
