"""A Gaussian process: it proposes where the expected improvement over the best result is largest.

Mockus, "The application of Bayesian methods for seeking the extremum" (1978); Snoek, Larochelle and Adams, "Practical
Bayesian optimization of machine learning algorithms" (2012). The kernel is a Matern 5/2 with one length per knob. The
losses are warped: of the worse half only ranks count, so that outliers do not matter, and differences between the best
are stretched (Song et al., "The Vizier Gaussian process bandit algorithm", 2024). A pending trial counts as finished
with the value that the model expects, so that parallel explorers propose different points (Ginsbourger et al., 2010).

Lengths and noise are fitted to a prefix of the log whose size grows by a sixth at a time, and kept until then. So a
proposal costs milliseconds, and yet depends on the log alone. The model sees a window of the log.
"""

import math
from collections.abc import Sequence
from random import Random
from statistics import NormalDist
from typing import Any

import msgspec

from agents.search.samplers.protocol import Idea, Trial, Values, at_place, best_first, where
from agents.search.samplers.quadratic import around, points_of, snapped
from agents.search.samplers.random_sobol import RandomSearch
from agents.search.samplers.trial_log import TrialLog, best_before, scored_of
from mesh.knobs import NEAR, Knob

_LATEST, _BEST = 100, 50
"""Finished trials that the model sees: the latest ones, and the best of the older ones."""

_PENDING = 70
"""Pending trials that the model sees: the latest ones."""

LEAST_SCORED = 4
"""With fewer scored trials there is no model."""

GROWTH = 1.15
"""Factor by which the log grows between two fits."""

_CANDIDATES, _ROUNDS = 120, 4
"""Points per round, and the number of rounds; each round searches around the best points of the last one."""

_KEPT = 6
_STEPS = 25
"""Iterations of a fit."""

_STRETCH = 2.0
"""By how much the differences between the best are stretched, in the logarithm of 1 + this times the warped range."""


class Fit(msgspec.Struct, frozen=True):
    """What is fitted: the logarithms of the lengths and of the variance of the noise, which the signal's is 1 to."""

    lengths: tuple[float, ...]
    noise: float


class Gaussian:
    """Maximises the expected improvement; a random point while there are too few scored trials."""

    def __init__(self) -> None:
        self._key: object = None
        self._fit: Fit | None = None

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        import numpy as np

        known = seen(trials)
        if len(known) < LEAST_SCORED:
            return RandomSearch().ask(space, trials, pending, rng)
        dice = np.random.default_rng(rng.getrandbits(64))
        model = Posterior(space, known, pending[-_PENDING:], self._fitted(space, trials))
        found = points_of(space, [trial.values for trial in best_first(known)[:_KEPT]])
        for number in range(_ROUNDS):
            tried = [found, around(space, found, dice, _CANDIDATES)]
            if not number:
                tried.append(snapped(space, dice.random((2 * _CANDIDATES, len(space)))))
            every = np.vstack(tried)
            worth = np.where(model.is_near(every), -np.inf, model.improvement(every))
            found = every[np.argsort(-worth, kind="stable")[:_KEPT]]
        return Idea({where(knob): at_place(knob, float(at)) for knob, at in zip(space, found[0], strict=True)})

    def _fitted(self, space: Sequence[Knob], trials: Sequence[Trial]) -> Fit:
        count = milestone(len(scored_of(trials)))
        known = seen_of(trials, count)
        key = [(where(k), k.low, k.high, k.log, k.choices) for k in space], [(trial.seq, trial.loss) for trial in known]
        if self._fit is None or self._key != key:
            self._key, self._fit = key, fitted(space, known)
        return self._fit


def milestone(scored: int) -> int:
    """Return how many scored trials the lengths are fitted to: the largest step of the growth that they reach."""
    at = LEAST_SCORED
    while (after := max(at + 1, int(at * GROWTH))) <= scored:
        at = after
    return at


def seen(trials: Sequence[Trial]) -> list[Trial]:
    """Return the scored trials that the model sees, in the order of the log."""
    if isinstance(trials, TrialLog):
        return trials.now("seen", lambda: seen_of(trials, len(trials.scored)))
    return seen_of(trials, len(scored_of(trials)))


def seen_of(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Return those of the first so many scored trials that the model sees, in the order of the log."""
    latest = scored_of(trials)[max(0, count - _LATEST) : count]
    older = best_before(trials, latest[0].seq, _BEST) if count > _LATEST else []
    return [*sorted(older, key=lambda trial: trial.seq), *latest]


def warped(losses: Sequence[float]) -> Any:
    """Return losses with mean 0 and variance 1, in the same order; all 0 where all are equal.

    Those up to the median keep their distances from it, in units of their root mean square; the others have normal
    scores of their ranks. Then a logarithm stretches the differences between the best.
    """
    import numpy as np
    from scipy.stats import rankdata

    normal, count = NormalDist(), len(losses)
    made = np.array([normal.inv_cdf((rank - 0.5) / count) for rank in rankdata(losses)])
    given = np.array(losses) / max(1e-300, *map(abs, losses))  # so that no square is too large
    middle = np.median(given)
    better = given <= middle
    unit = float(np.sqrt(((given[better] - middle) ** 2).mean()))
    if unit > 0:
        made[better] = (given[better] - middle) / unit
        made[~better] = np.maximum(made[~better], 0.0)
    low, high = made.min(), made.max()
    if low == high:
        return np.zeros(count)
    stretched = np.log1p(_STRETCH * (made - low) / (high - low))
    return (stretched - stretched.mean()) / stretched.std()


def kernel_columns(space: Sequence[Knob], points: Any) -> Any:
    """Return what the kernel measures distances of: a position per knob, or a column per choice if over two."""
    import numpy as np

    made = []
    for index, knob in enumerate(space):
        if len(knob.choices) > 2:
            chosen = np.round(points[:, index] * (len(knob.choices) - 1))
            made += [(chosen == number) * 0.7 for number in range(len(knob.choices))]
        else:
            made.append(points[:, index])
    return np.column_stack(made)


def groups(space: Sequence[Knob]) -> list[int]:
    """Return the index of the knob of each column."""
    return [index for index, knob in enumerate(space) for _ in range(len(knob.choices) if len(knob.choices) > 2 else 1)]


def kernel(one: Any, two: Any) -> Any:
    """Return the Matern 5/2 covariance of points that are divided by their lengths."""
    import numpy as np

    square = (one * one).sum(1)[:, None] + (two * two).sum(1)[None, :] - 2 * one @ two.T
    far = np.sqrt(5 * np.maximum(square, 0))
    return (1 + far + far * far / 3) * np.exp(-far)


def fitted(space: Sequence[Knob], known: Sequence[Trial]) -> Fit:
    """Return the lengths and the noise of the largest posterior density.

    The prior of a length is log-normal around half of the range times the root of the number of knobs (Hvarfner et
    al., "Vanilla Bayesian optimization performs great in high dimensions", 2024).
    """
    import numpy as np
    from scipy.linalg import cho_factor, cho_solve
    from scipy.optimize import minimize

    points = kernel_columns(space, points_of(space, [trial.values for trial in known]))
    of = np.array(groups(space))
    target = warped([trial.loss for trial in known if trial.loss is not None])
    count, knobs = len(known), len(space)
    square = (points[:, None, :] - points[None, :, :]) ** 2
    by_knob = np.zeros((knobs, count, count))
    np.add.at(by_knob, of, square.transpose(2, 0, 1))
    middle = math.log(0.5) + 0.5 * math.log(knobs)
    start = np.array([middle] * knobs + [math.log(1e-2)])
    wide, quiet, loose = 1.0, math.log(1e-3), 2.0

    def loss(at: Any) -> tuple[float, Any]:
        weight = np.exp(-2 * at[:knobs])
        far = np.sqrt(5 * np.tensordot(weight, by_knob, 1))
        fall = np.exp(-far)
        matrix = (1 + far + far * far / 3) * fall
        noise = math.exp(at[-1])
        try:
            factor = cho_factor(matrix + (noise + 1e-6) * np.eye(count), lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(at)
        alpha = cho_solve(factor, target, check_finite=False)
        inverse = cho_solve(factor, np.eye(count), check_finite=False)
        scale = max(float(target @ alpha) / count, 1e-6)
        outer = inverse - np.outer(alpha, alpha) / scale
        value = 0.5 * count * math.log(scale) + float(np.log(np.diag(factor[0])).sum())
        slope = 5 / 3 * (1 + far) * fall  # of the covariance by half the weighted square, without its sign
        each = 0.5 * weight * (by_knob.reshape(knobs, -1) @ (outer * slope).reshape(-1))
        gradient = np.append(each, 0.5 * noise * np.trace(outer))
        prior = ((at[:knobs] - middle) / wide) ** 2
        value += 0.5 * float(prior.sum()) + 0.5 * ((at[-1] - quiet) / loose) ** 2
        gradient[:knobs] += (at[:knobs] - middle) / wide**2
        gradient[-1] += (at[-1] - quiet) / loose**2
        return value, gradient

    bounds = [(middle - 4, middle + 4)] * knobs + [(math.log(1e-6), math.log(2.0))]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
    return Fit(tuple(float(each) for each in found.x[:knobs]), float(found.x[-1]))


class Posterior:
    """The posterior of a fit, given finished and pending trials."""

    def __init__(self, space: Sequence[Knob], known: Sequence[Trial], pending: Sequence[Trial], fit: Fit) -> None:
        import numpy as np
        from scipy.linalg import cho_factor, cho_solve

        self._space = space
        self._lengths = np.exp(np.array(fit.lengths))[groups(space)]
        self._places = points_of(space, [trial.values for trial in (*known, *pending)])
        points = self._columns([trial.values for trial in known])
        target = warped([trial.loss for trial in known if trial.loss is not None])
        noise = math.exp(fit.noise) + 1e-6
        matrix = kernel(points, points) + noise * np.eye(len(points))
        factor = cho_factor(matrix, lower=True)
        alpha = cho_solve(factor, target)
        self._scale = max(float(target @ alpha) / len(target), 1e-3)
        expected = target - noise * alpha  # the posterior means at the finished points
        self._least = float(expected.min())
        if pending:
            more = self._columns([trial.values for trial in pending])
            believed = kernel(more, points) @ alpha
            points, target = np.vstack([points, more]), np.append(target, believed)
            factor = cho_factor(kernel(points, points) + noise * np.eye(len(points)), lower=True)
            alpha = cho_solve(factor, target)
            self._least = min(self._least, float(believed.min()))
        self._points, self._factor, self._alpha = points, factor, alpha

    def _columns(self, values: Sequence[Values]) -> Any:
        return kernel_columns(self._space, points_of(self._space, values)) / self._lengths

    def is_near(self, judged: Any) -> Any:
        """Tell of each position whether it is a near duplicate of a trial, which an explorer would not propose."""
        import numpy as np

        near = np.ones((len(judged), len(self._places)), dtype=bool)
        for index, knob in enumerate(self._space):
            far = 0.5 / len(knob.choices) if knob.choices else NEAR
            near &= np.abs(judged[:, index, None] - self._places[None, :, index]) < far
        return near.any(1)

    def predicted(self, judged: Any) -> tuple[Any, Any]:
        """Return means and standard deviations of the warped losses at positions of shape (points, knobs)."""
        import numpy as np
        from scipy.linalg import solve_triangular

        beside = kernel(kernel_columns(self._space, judged) / self._lengths, self._points)
        half = solve_triangular(self._factor[0], beside.T, lower=True)
        spread = np.maximum(1.0 - (half * half).sum(0), 1e-9)
        return beside @ self._alpha, np.sqrt(self._scale * spread)

    def improvement(self, judged: Any) -> Any:
        """Return the logarithm of the expected improvement at positions of shape (points, knobs)."""
        import numpy as np
        from scipy.special import erfcx, log_ndtr

        mean, spread = self.predicted(judged)
        z = (self._least - mean) / spread
        density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        plain = density + z * np.exp(log_ndtr(z))
        # far below zero: z * Phi(z) / phi(z) + 1 through the scaled complementary error function
        tail = np.maximum(1 + z * math.sqrt(math.pi / 2) * erfcx(-np.minimum(z, 0) / math.sqrt(2)), 1e-300)
        log_tail = -0.5 * z * z - 0.5 * math.log(2 * math.pi) + np.log(tail)
        return np.where(z > -1, np.log(np.maximum(plain, 1e-300)), log_tail) + np.log(spread)
