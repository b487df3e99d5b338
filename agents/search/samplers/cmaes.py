"""CMA-ES: a normal distribution that moves towards high-ranked results, extended to whole numbers and categories.

The optimizer is `cmaes.CatCMAwM` (Hamano et al., "CatCMA with Margin", 2025). It learns in generations from finished
trials, in the order of the log, of any author (Hansen, "Injecting external solutions into CMA-ES", 2011). Of a long log
it sees the last `BLOCK` generations and up to as many before them: what came earlier has no effect on a distribution
that has moved on, and an explorer that begins late need not tell all of it.
Pending trials are left out. It gets only ranks, and failed trials rank last. A knob that older code lacked counts as in
the middle of its range. When the distribution has converged, it restarts.
"""

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

from agents.search.samplers.protocol import Idea, Trial, Values, place, shape, where
from mesh.events import Scalar
from mesh.knobs import Knob

MOST_STEPS = 64
"""Whole-number knobs with more values than this are treated as continuous and rounded."""

BLOCK = 64
"""Generations after which the distribution begins anew, with the generations of the block before."""

Signature = list[tuple[int, float | None]]
"""Sequence number and loss of each trial of a generation."""


class CMA:
    """CatCMAwM on the last generations. It keeps a copy of each, because the latest trials may still change."""

    def __init__(self, population: int | None = None) -> None:
        self._population = population
        self._shape: object = None
        self._seen: list[Signature] = []
        self._states: list[_Coded] = []
        self._first = 0

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        if self._shape != shape(space):
            self._shape, self._seen, self._states = shape(space), [], [_Coded(space, self._population)]
        return Idea(copy.deepcopy(self._caught_up(trials)).ask(rng.getrandbits(32)))

    def _caught_up(self, trials: Sequence[Trial]) -> "_Coded":
        size = self._states[0].size
        count = len(trials) // size
        first = max(0, (count // BLOCK - 1) * BLOCK)
        if first != self._first:
            self._first, self._seen, self._states = first, [], self._states[:1]
        generations = [trials[start * size : (start + 1) * size] for start in range(first, count)]
        signatures = [[(trial.seq, trial.loss) for trial in generation] for generation in generations]
        same = 0
        while same < min(len(signatures), len(self._seen)) and signatures[same] == self._seen[same]:
            same += 1
        del self._seen[same:], self._states[same + 1 :]
        for signature, generation in zip(signatures[same:], generations[same:], strict=True):
            state = copy.deepcopy(self._states[-1])
            sound = state.tell(generation)
            self._seen.append(signature)
            self._states.append(state if sound else copy.deepcopy(self._states[0]))
        return self._states[-1]


class _Coded:
    """The optimizer on coded knobs: continuous ones and those with few steps as 0 to 1, and categories."""

    def __init__(self, space: Sequence[Knob], population: int | None) -> None:
        from cmaes import CatCMAwM

        self._continuous = [k for k in space if not k.choices and not (k.is_int and _steps(k) <= MOST_STEPS)]
        self._categories = [k for k in space if k.choices or (k.is_int and _steps(k) == 2)]
        self._steps = [k for k in space if k not in self._continuous and k not in self._categories]
        rows = [sorted({knob.place(number) for number in knob.numbers()}) for knob in self._steps]
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

        self._optimizer._rng = np.random.RandomState(seed)  # the draw depends only on the log and the explorer
        drawn = self._optimizer.ask()
        values: Values = {where(k): k.at(float(at)) for k, at in _pairs(self._continuous, drawn.x)}
        values |= {where(k): k.at(float(at)) for k, at in _pairs(self._steps, drawn.z)}
        return values | {where(k): _options(k)[int(row.argmax())] for k, row in _pairs(self._categories, drawn.c)}

    def tell(self, trials: Sequence[Trial]) -> bool:
        """Learn from a generation, and return whether the state is still usable; equal results share a mean rank."""
        import numpy as np

        worst = float("inf")
        losses = sorted(worst if t.loss is None else t.loss for t in trials)
        ranks = {loss: losses.index(loss) + losses.count(loss) / 2 for loss in losses}
        ranked = [(self._solution(t.values), ranks[worst if t.loss is None else t.loss]) for t in trials]
        spreads = vars(self._optimizer).get("_iqhist_values")
        if spreads == []:  # a generation of equal results, such as failures alone, has none to begin with
            spreads.append(len(trials) / 2)  # that of ranks which all differ
        try:
            with np.errstate(all="ignore"):  # the step size for categories can make a square root invalid
                self._optimizer.tell(ranked)
                return self._is_sound()
        except (np.linalg.LinAlgError, AssertionError):  # raised when its numbers diverge
            return False

    def _is_sound(self) -> bool:
        """Tell whether all numbers are finite and the distribution has not converged."""
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


def _steps(knob: Knob) -> float:
    return len(knob.numbers()) if knob.is_power else knob.high - knob.low + 1


def _options(knob: Knob) -> Sequence[Scalar]:
    return knob.choices or knob.numbers()
