"""A quadratic model of what is known, of which one draw is minimised: good where many ask at once.

Bayesian linear regression on knobs, their squares and products (a response surface; Box and Wilson, 1951; Hansen, "A
global surrogate assisted CMA-ES", 2019), fitted to normal scores of the ranks, in which better trials weigh more. Each
ask draws one model from the posterior and takes its minimum (Thompson sampling; Kandasamy et al., "Parallelised
Bayesian optimisation via Thompson sampling", 2018), so that askers who know the same ask for different values. It looks
at the latest and the best trials; what failed ranks last.
"""

from collections.abc import Callable, Sequence
from random import Random
from statistics import NormalDist
from typing import Any

from agents.search.knobs import Knob
from agents.search.samplers.mutate import FINEST, WIDEST
from agents.search.samplers.protocol import Idea, Trial, Values, at_place, best_first, place, where, window
from agents.search.samplers.random_sobol import RandomSearch

_Model = Callable[[Any], Any]
"""What is expected of points, lower is better."""

CANDIDATES, ROUNDS = 200, 4
"""Values that the model judges per round, and rounds, each around the best of the one before."""

_KEPT = 5
RIDGE = 1.0
TRIALS_PER_COEFFICIENT = 2
"""With fewer trials the model has squares alone: drawn products that no trial speaks for would drown what is known."""


class Quadratic:
    """The minimum of a model drawn from the posterior; an even draw while there is less to know than knobs to turn."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        import numpy as np

        dice = np.random.default_rng(rng.getrandbits(64))
        model = drawn_model(space, trials, dice)
        if model is None:
            return RandomSearch().ask(space, trials, pending, rng)
        found = np.array([places(space, trial.values) for trial in best_first(trials)[:_KEPT]])
        for number in range(ROUNDS):
            tried = [found, _around(space, found, dice)]
            if not number:
                tried.append(_snapped(space, dice.random((CANDIDATES, len(space)))))
            every = np.vstack(tried)
            found = every[np.argsort(model(every), kind="stable")[:_KEPT]]
        return Idea({where(knob): at_place(knob, float(at)) for knob, at in zip(space, found[0], strict=True)})


def drawn_model(space: Sequence[Knob], trials: Sequence[Trial], dice: Any) -> _Model | None:
    """Return a model drawn from the posterior; None while less is known than there are knobs."""
    import numpy as np

    known = window(trials)
    ranked = best_first(known)
    if len(ranked) < len(space) + 2:
        return None
    failed = [trial for trial in known if trial.loss is None]
    points = np.array([places(space, trial.values) for trial in (*ranked, *failed)])
    rows = features(space, points)
    products = len(rows) >= TRIALS_PER_COEFFICIENT * rows.shape[1]
    if not products:
        rows = features(space, points, products=False)
    coefficients = _draw(rows, len(ranked), dice)
    return lambda judged: features(space, judged, products=products) @ coefficients


def _draw(features: Any, scored: int, dice: Any) -> Any:
    """Return coefficients drawn from the posterior of a ridge regression of ranks; the rows are the best first."""
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


def _around(space: Sequence[Knob], found: Any, dice: Any) -> Any:
    """Return steps from the found points, as in `mutate`: one knob or a few, of every width."""
    import numpy as np

    shape = (CANDIDATES, len(space))
    start = found[dice.integers(len(found), size=CANDIDATES)]
    moved = dice.random(shape) < dice.choice([1, 2, 4], size=(CANDIDATES, 1)) / len(space)
    step = dice.standard_normal(shape) * WIDEST * (FINEST / WIDEST) ** dice.random((CANDIDATES, 1))
    least = np.array([_step(knob) for knob in space])
    step = np.where(np.abs(step) < least, np.sign(step) * least, step)
    moves = np.where([bool(knob.choices) for knob in space], dice.random(shape), start + step)
    return _snapped(space, np.where(moved, moves, start))


def _snapped(space: Sequence[Knob], points: Any) -> Any:
    """Return the points with whole numbers and choices where they can be."""
    import numpy as np

    inside = np.clip(points, 0.0, 1.0)
    step = np.array([_step(knob) for knob in space])
    return np.where(step > 0, np.round(inside / np.where(step > 0, step, 1.0)) * step, inside)


def _step(knob: Knob) -> float:
    """Return the distance of neighbours, 0 where there are none; whole numbers on a log scale are rounded later."""
    if knob.choices:
        return 1 / (len(knob.choices) - 1)
    return 1 / (knob.high - knob.low) if knob.is_int and not knob.log else 0.0


def places(space: Sequence[Knob], values: Values) -> list[float]:
    """Return where the values lie, 0 to 1; a knob without one stands where the code has it."""
    known = ((knob, place(knob, values.get(where(knob)))) for knob in space)
    return [(place(knob, knob.value) or 0.0) if at is None else at for knob, at in known]


def features(space: Sequence[Knob], points: Any, *, products: bool = True) -> Any:
    """Return columns for 1, the places as -1..1 (one per choice where there are several), squares, and `products`."""
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
