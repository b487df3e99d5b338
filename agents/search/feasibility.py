"""What crashes teach: the chance that a trial gets a score, and rules such as "the width is divisible by the heads".

Two models, both from the log alone. A rule `a % b == 0` is taken where no scored trial breaks it, at least two failed
ones do, and the scored ones would hardly all keep it by chance; values are moved to the nearest ones that keep it. A
logistic regression on the positions of the knobs (a limit of a product is a limit of a sum of logarithms) and the
nearest trials give a chance.
"""

import math
from collections.abc import Sequence
from typing import Any

from agents.search.samplers.protocol import Trial, Values, where
from agents.search.samplers.quadratic import places, points_of
from agents.search.samplers.trial_log import with_values
from mesh.events import Scalar
from mesh.knobs import Knob

SCREENED_BY = 400
"""Trials that the models see: the latest ones."""

BY_CHANCE = 0.05
"""A rule is taken where its scored trials would all keep it by chance with less than this probability."""

_RIDGE = 1.0
"""Prior precision of a coefficient of the logistic regression."""

_NEAR = 0.15
"""Distance (root mean square per knob that differs, as a share of its range) at which a trial counts 1 / e."""

BROKEN = 0.02
"""Chance of a score where a rule is broken."""

Pair = tuple[Knob, Knob]


class Feasibility:
    """The chance of a score, learned from scored and failed trials.

    `rules` are the pairs of knobs of which the first must be divisible by the second. `is_needed` tells whether a trial
    has failed. Failures that break a rule are explained by it, so the models of the rest do not see them.
    """

    def __init__(self, space: Sequence[Knob], trials: Sequence[Trial]) -> None:
        import numpy as np

        known = list(with_values(trials)[-SCREENED_BY:])
        self._space = space
        self.is_needed = any(trial.loss is None for trial in known)
        self.rules = divisions(space, known) if self.is_needed else []
        kept = [trial for trial in known if not any(_broken(trial.values, pair) for pair in self.rules)]
        self._failed = np.array([trial.loss is None for trial in kept])
        self._coefficients: Any = None
        if self._failed.any() and not self._failed.all():
            self._points = points_of(space, [trial.values for trial in kept])
            self._coefficients = _logistic(2 * self._points - 1, self._failed)

    def mended(self, values: Values) -> Values:
        """Return the values, moved as little as possible so that they keep the learned rules."""
        new = dict(values)
        for whole, part in self.rules:
            a, b = new.get(where(whole)), new.get(where(part))
            if isinstance(a, int) and isinstance(b, int) and b and a % b:
                new[where(whole)], new[where(part)] = nearest(whole, part, a, b)
        return new

    def chance(self, values: Values) -> float:
        """Return the chance of a score, 0 to 1; 1 while nothing has failed."""
        import numpy as np

        if not self.is_needed:
            return 1.0
        if any(_broken(values, pair) for pair in self.rules):
            return BROKEN
        if self._coefficients is None:
            return 0.5 if self._failed.any() else 1.0
        point = np.array(places(self._space, values))
        row = np.append(1.0, 2 * point - 1)
        fails = 1 / (1 + math.exp(-max(-30.0, min(30.0, float(row @ self._coefficients)))))
        far = np.abs(self._points - point)
        weight = np.exp(-((far / _NEAR) ** 2).sum(1) / 2)
        beside = (float(weight @ self._failed) + fails) / (float(weight.sum()) + 1)
        return 1 - beside


def divisions(space: Sequence[Knob], known: Sequence[Trial]) -> list[Pair]:
    """Return the pairs of whole knobs of which the failures suggest that the first must be divisible by the second."""
    whole = [knob for knob in space if knob.is_int and not knob.choices and knob.high > 1]
    pairs = [(one, two) for one in whole for two in whole if one.high > two.low and one is not two]
    found = [(odds, pair) for pair in pairs if (odds := _odds(pair, known)) < BY_CHANCE]
    found.sort(key=lambda each: each[0])
    kept: list[Pair] = []
    explained: set[int] = set()
    for _, pair in found:
        broken = {trial.seq for trial in known if trial.loss is None and _broken(trial.values, pair)}
        if len(broken - explained) >= 2:
            kept.append(pair)
            explained |= broken
    return kept


def _odds(pair: Pair, known: Sequence[Trial]) -> float:
    """Return the probability that the scored trials all keep a rule by chance; 1 if one breaks it or few failed do."""
    one, two = pair
    scored, failed = set(), set()
    broken = 0
    for trial in known:
        a, b = trial.values.get(where(one)), trial.values.get(where(two))
        if not isinstance(a, int) or not isinstance(b, int) or b < 1:
            continue
        if trial.loss is None:
            broken += bool(a % b)
            failed.add((a, b))
        elif a % b:
            return 1.0
        else:
            scored.add((a, b))
    if broken < 2:
        return 1.0
    failed -= scored
    breaks = sum(bool(a % b) for a, b in failed)
    usual = (breaks + 0.5) / (len(failed) + len(scored) + 1)
    lifted = breaks / max(1, len(failed))
    return float((1 - usual) ** len(scored)) if lifted > usual or not scored else 1.0


def _broken(values: Values, pair: Pair) -> bool:
    a, b = values.get(where(pair[0])), values.get(where(pair[1]))
    return isinstance(a, int) and isinstance(b, int) and b > 0 and a % b != 0


def nearest(whole: Knob, part: Knob, a: int, b: int) -> tuple[Scalar, Scalar]:
    """Return values for both knobs with `a % b == 0`, of which one is moved, by the smaller share of its range."""
    options = [
        (abs(whole.place(multiple) - whole.place(a)), multiple, b)
        for multiple in (a // b * b, (a // b + 1) * b)
        if multiple > 0 and whole.low <= multiple <= whole.high
    ]
    for way in (-1, 1):
        divisor = b
        while part.low <= divisor <= part.high and divisor > 0 and a % divisor:
            divisor += way
        if part.low <= divisor <= part.high and divisor > 0:
            options.append((abs(part.place(divisor) - part.place(b)), a, divisor))
    if not options:
        return a, b
    _, first, second = min(options)
    return first, second


def _logistic(points: Any, failed: Any) -> Any:
    """Return intercept and coefficients of a ridge logistic regression, by Newton's method."""
    import numpy as np

    rows = np.hstack([np.ones((len(points), 1)), points])
    at = np.zeros(rows.shape[1])
    prior = _RIDGE * np.diag([0.1] + [1.0] * (rows.shape[1] - 1))
    for _ in range(8):
        chance = 1 / (1 + np.exp(-np.clip(rows @ at, -30, 30)))
        slope = rows.T @ (failed - chance) - prior @ at
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + prior
        at = at + np.linalg.solve(curve, slope)
    return at
