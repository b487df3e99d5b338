"""A quadratic model of the results: it proposes the minimum of one model drawn from the posterior.

The model is a Bayesian linear regression on knobs, their squares and products (a response surface; Box and Wilson,
1951; Hansen, "A global surrogate assisted CMA-ES", 2019). It fits normal scores of the ranks, and better trials weigh
more. Each call draws one model from the posterior and minimises it (Thompson sampling; Kandasamy et al., "Parallelised
Bayesian optimisation via Thompson sampling", 2018). So explorers with the same data propose different values, which
suits many parallel explorers. The model uses the latest and the best trials; failed trials rank last.
"""

import math
from collections.abc import Callable, Sequence
from random import Random
from statistics import NormalDist
from typing import Any

from agents.search.samplers.mutate import FINEST, WIDEST
from agents.search.samplers.protocol import Idea, Trial, Values, at_place, best_first, place, where
from agents.search.samplers.random_sobol import RandomSearch
from agents.search.samplers.trial_log import window
from mesh.knobs import Knob

_Model = Callable[[Any], Any]
"""Maps points to expected normal scores; lower is better."""

CANDIDATES, ROUNDS = 200, 4
"""Points per round, and the number of rounds; each round searches around the best points of the last one."""

_KEPT = 5
"""Best points that a round keeps."""

RIDGE = 1.0
"""Ridge penalty: the prior precision of each coefficient."""

TRIALS_PER_COEFFICIENT = 2
"""With fewer trials the model has no products: products without data would add more noise than information."""


class Quadratic:
    """Proposes the minimum of a model drawn from the posterior; a random point while there are too few trials."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        import numpy as np

        dice = np.random.default_rng(rng.getrandbits(64))
        model = drawn_model(space, trials, dice)
        if model is None:
            return RandomSearch().ask(space, trials, pending, rng)
        found = points_of(space, [trial.values for trial in best_first(trials)[:_KEPT]])
        for number in range(ROUNDS):
            tried = [found, around(space, found, dice, CANDIDATES)]
            if not number:
                tried.append(snapped(space, dice.random((CANDIDATES, len(space)))))
            every = np.vstack(tried)
            found = every[np.argsort(model(every), kind="stable")[:_KEPT]]
        return Idea({where(knob): at_place(knob, float(at)) for knob, at in zip(space, found[0], strict=True)})


def drawn_model(space: Sequence[Knob], trials: Sequence[Trial], dice: Any) -> _Model | None:
    """Return a model drawn from the posterior; None while there are too few scored trials for the knobs.

    Args:
        space: The knobs.
        trials: The finished trials, in the order of the log.
        dice: A numpy random generator.
    """
    known = window(trials)
    ranked = best_first(known)
    if len(ranked) < len(space) + 2:
        return None
    failed = [trial for trial in known if trial.loss is None]
    points = points_of(space, [trial.values for trial in (*ranked, *failed)])
    rows = features(space, points)
    products = len(rows) >= TRIALS_PER_COEFFICIENT * rows.shape[1]
    if not products:
        rows = features(space, points, products=False)
    coefficients = _draw(rows, len(ranked), dice)
    return lambda judged: features(space, judged, products=products) @ coefficients


def _draw(features: Any, scored: int, dice: Any) -> Any:
    """Return coefficients drawn from the posterior of a ridge regression on ranks; the best rows come first."""
    import numpy as np

    count, width = features.shape
    normal = NormalDist()
    target = np.array([normal.inv_cdf((min(rank, scored) + 0.5) / (count + 1)) for rank in range(count)])
    weight = np.linspace(1.0, 0.05, count)
    precision = (features * weight[:, None]).T @ features + RIDGE * np.diag([1e-6] + [1.0] * (width - 1))
    mean = np.linalg.solve(precision, features.T @ (weight * target))
    spare = max(1.0, float(weight.sum()) - width / 2)
    noise = max(1e-3, float(weight @ (target - features @ mean) ** 2) / spare) ** 0.5
    return mean + noise * np.linalg.solve(np.linalg.cholesky(precision).T, dice.standard_normal(width))


def around(space: Sequence[Knob], found: Any, dice: Any, count: int) -> Any:
    """Return steps from the found points, as in `mutate`: of one knob or a few, and of any width."""
    import numpy as np

    shape = (count, len(space))
    start = found[dice.integers(len(found), size=count)]
    moved = dice.random(shape) < dice.choice([1, 2, 4], size=(count, 1)) / len(space)
    step = dice.standard_normal(shape) * WIDEST * (FINEST / WIDEST) ** dice.random((count, 1))
    least = np.array([_step(knob) for knob in space])
    step = np.where(np.abs(step) < least, np.sign(step) * least, step)
    moves = np.where([bool(knob.choices) for knob in space], dice.random(shape), start + step)
    return snapped(space, np.where(moved, moves, start))


def snapped(space: Sequence[Knob], points: Any) -> Any:
    """Return the points, moved to valid whole numbers and choices."""
    import numpy as np

    inside = np.clip(points, 0.0, 1.0)
    step = np.array([_step(knob) for knob in space])
    return np.where(step > 0, np.round(inside / np.where(step > 0, step, 1.0)) * step, inside)


def _step(knob: Knob) -> float:
    """Return the distance between neighbouring values, 0 if continuous; log-scale integers are rounded later."""
    if knob.choices:
        return 1 / (len(knob.choices) - 1)
    return 1 / (knob.high - knob.low) if knob.is_int and not knob.log else 0.0


def places(space: Sequence[Knob], values: Values) -> list[float]:
    """Return the positions of the values, 0 to 1; a knob without a value has its position in the code."""
    known = ((knob, place(knob, values.get(where(knob)))) for knob in space)
    return [(place(knob, knob.value) or 0.0) if at is None else at for knob, at in known]


def points_of(space: Sequence[Knob], every: Sequence[Values]) -> Any:
    """Return `places` of many values, of shape (values, knobs)."""
    import numpy as np

    made = np.empty((len(every), len(space)))
    for index, knob in enumerate(space):
        at = where(knob)
        if knob.choices:
            made[:, index] = [places([knob], values)[0] for values in every]
            continue
        assert isinstance(knob.value, int | float)
        given = [values.get(at, knob.value) for values in every]
        numbers = np.array([number if isinstance(number, int | float) else knob.value for number in given], dtype=float)
        low, high = knob.low, knob.high
        if knob.log:
            numbers, low, high = np.log(np.maximum(numbers, low)), math.log(low), math.log(high)
        made[:, index] = np.clip((numbers - low) / (high - low), 0.0, 1.0)
    return made


def features(space: Sequence[Knob], points: Any, *, products: bool = True) -> Any:
    """Return the design matrix, one row per point.

    The columns are 1, the positions scaled to -1..1 (one column per choice if there are more than two), their squares,
    and their products.

    Args:
        space: The knobs.
        points: Positions, 0 to 1, of shape (points, knobs).
        products: Whether to include the products of different knobs.
    """
    import numpy as np

    columns = []
    for index, knob in enumerate(space):
        at = points[:, index]
        if len(knob.choices) > 2:
            columns += [(np.round(at * (len(knob.choices) - 1)) == n) * 1.0 for n in range(1, len(knob.choices))]
        else:
            columns.append(2 * at - 1)
    rows = np.column_stack(columns)
    one, two = np.triu_indices(rows.shape[1])
    if not products:
        one = two = np.arange(rows.shape[1])
    return np.hstack([np.ones((len(rows), 1)), rows, rows[:, one] * rows[:, two]])
