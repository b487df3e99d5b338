"""CMA-ES: a normal distribution that moves towards what ranks well, with whole numbers and categories beside it.

`cmaes.CatCMAwM` (Hamano et al., "CatCMA with Margin", 2025), told in generations as results arrive, in the order of the
log; who asked for them does not matter (Hansen, "Injecting external solutions into CMA-ES", 2011). What is pending is
not told yet. It is told ranks, on which alone it depends; what failed ranks last. A knob that older code lacked counts
as standing in the middle. Where the distribution has come to rest it begins anew.
"""

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

from agents.search.knobs import Knob
from agents.search.samplers.protocol import Idea, Trial, Values, place, shape, where
from mesh.events import Scalar

MOST_STEPS = 64
"""Whole numbers with more values than this count as continuous and are rounded."""

Signature = list[tuple[int, float | None]]


class CMA:
    """CatCMAwM, told the whole log; keeps a copy of it after each generation, for the log may change near its end."""

    def __init__(self, population: int | None = None) -> None:
        self._population = population
        self._shape: object = None
        self._told: list[Signature] = []
        self._states: list[_Coded] = []

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        if self._shape != shape(space):
            self._shape, self._told, self._states = shape(space), [], [_Coded(space, self._population)]
        return Idea(copy.deepcopy(self._caught_up(trials)).ask(rng.getrandbits(32)))

    def _caught_up(self, trials: Sequence[Trial]) -> "_Coded":
        size = self._states[0].size
        generations = [trials[start : start + size] for start in range(0, len(trials) - size + 1, size)]
        signatures = [[(trial.seq, trial.loss) for trial in generation] for generation in generations]
        same = 0
        while same < min(len(signatures), len(self._told)) and signatures[same] == self._told[same]:
            same += 1
        del self._told[same:], self._states[same + 1 :]
        for signature, generation in zip(signatures[same:], generations[same:], strict=True):
            state = copy.deepcopy(self._states[-1])
            sound = state.tell(generation)
            self._told.append(signature)
            self._states.append(state if sound else copy.deepcopy(self._states[0]))
        return self._states[-1]


class _Coded:
    """The optimizer, with knobs as numbers from 0 to 1: continuous ones, those of few steps, and categories."""

    def __init__(self, space: Sequence[Knob], population: int | None) -> None:
        from cmaes import CatCMAwM

        self._continuous = [k for k in space if not k.choices and not (k.is_int and k.high - k.low < MOST_STEPS)]
        self._categories = [k for k in space if k.choices or (k.is_int and k.high - k.low == 1)]
        self._steps = [k for k in space if k not in self._continuous and k not in self._categories]
        rows = [sorted({knob.place(number) for number in _numbers(knob)}) for knob in self._steps]
        self._optimizer: Any = CatCMAwM(
            x_space=[[0.0, 1.0] for _ in self._continuous] or None,
            z_space=rows or None,
            c_space=[len(_options(knob)) for knob in self._categories] or None,
            population_size=population,
            seed=1,
        )
        self.size: int = self._optimizer.population_size

    def ask(self, seed: int) -> Values:
        import numpy as np

        self._optimizer._rng = np.random.RandomState(seed)  # the draw depends on nothing but the log and the asker
        drawn = self._optimizer.ask()
        values: Values = {where(k): k.at(float(at)) for k, at in _pairs(self._continuous, drawn.x)}
        values |= {where(k): k.at(float(at)) for k, at in _pairs(self._steps, drawn.z)}
        return values | {where(k): _options(k)[int(row.argmax())] for k, row in _pairs(self._categories, drawn.c)}

    def tell(self, trials: Sequence[Trial]) -> bool:
        """Tell a generation and return whether it may go on from there; equal results share their mean rank."""
        import numpy as np

        worst = float("inf")
        losses = sorted(worst if t.loss is None else t.loss for t in trials)
        ranks = {loss: losses.index(loss) + losses.count(loss) / 2 for loss in losses}
        told = [(self._solution(t.values), ranks[worst if t.loss is None else t.loss]) for t in trials]
        try:
            with np.errstate(all="ignore"):  # the step size for categories can leave what a square root takes
                self._optimizer.tell(told)
                return self._is_sound()
        except (np.linalg.LinAlgError, AssertionError):  # what it raises where its numbers have got out of hand
            return False

    def _is_sound(self) -> bool:
        """Tell whether all numbers are finite, and it has not come to rest on a point."""
        import numpy as np

        parts = vars(self._optimizer)
        finite = all(np.isfinite(parts[name]).all() for name in ("_mean", "_sigma", "_C", "_q", "_s") if name in parts)
        return bool(finite) and (not (self._continuous or self._steps) or not self._optimizer.should_stop())

    def _solution(self, values: Values) -> Any:
        import numpy as np
        from cmaes import CatCMAwM

        x, z = (np.array([_place(k, values) for k in knobs]) for knobs in (self._continuous, self._steps))
        c = np.zeros((len(self._categories), max((len(_options(k)) for k in self._categories), default=0)))
        for row, knob in enumerate(self._categories):
            options, value = _options(knob), values.get(where(knob))
            c[row, options.index(value) if value in options else len(options) // 2] = 1
        return CatCMAwM.Solution(x, z, c, np.concatenate([x, z]))


def _pairs(knobs: Sequence[Knob], drawn: Any) -> Any:
    return zip(knobs, drawn, strict=True) if knobs else ()


def _place(knob: Knob, values: Values) -> float:
    at = place(knob, values.get(where(knob)))
    return 0.5 if at is None else at


def _numbers(knob: Knob) -> range:
    return range(int(knob.low), int(knob.high) + 1)


def _options(knob: Knob) -> Sequence[Scalar]:
    return knob.choices or _numbers(knob)
