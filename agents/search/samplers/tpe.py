"""TPE: draws points where good results are denser than bad ones.

Optuna's multivariate tree-structured Parzen estimator (Bergstra et al., 2011; Watanabe, 2023). Pending trials count
as bad results (constant liar). It uses a window of the latest and the best trials, so the cost of a call does not grow
with the log. Trials that lack a knob, or whose value is not one of its choices, are left out.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from agents.search.samplers.protocol import Idea, Trial, place, shape, where
from agents.search.samplers.trial_log import window
from mesh.knobs import Knob

_PENDING = 100
"""Pending trials that the estimator sees: the latest ones."""


class TPE:
    """Optuna's sampler on a study with a window of the log; converted trials are cached for the next call."""

    def __init__(self) -> None:
        self._shape: object = None
        self._made: dict[tuple[int, float], Any] = {}

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        import optuna

        if self._shape != shape(space):
            self._shape, self._made = shape(space), {}
        distributions = {_name(knob): _distribution(knob) for knob in space}
        wanted = {(t.seq, math.inf if t.loss is None else t.loss): t for t in window(trials)}
        wanted |= {(t.seq, math.nan): t for t in pending[-_PENDING:]}
        made = {
            key: self._made.get(key) or _frozen(trial, key[1], space, distributions)
            for key, trial in wanted.items()
            if all(place(knob, trial.values.get(where(knob))) is not None for knob in space)
        }
        self._made = made
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=rng.getrandbits(32))
        drawn = optuna.create_study(storage=_storage(list(made.values())), sampler=sampler).ask(distributions)
        return Idea({where(knob): _short(knob, drawn.params[_name(knob)]) for knob in space})


def _name(knob: Knob) -> str:
    return f"{knob.file} {knob.name}"


def _distribution(knob: Knob) -> Any:
    from optuna import distributions

    if knob.choices:
        return distributions.CategoricalDistribution(knob.choices)
    if knob.is_int:
        return distributions.IntDistribution(int(knob.low), int(knob.high), log=knob.log)
    return distributions.FloatDistribution(knob.low, knob.high, log=knob.log)


def _frozen(trial: Trial, loss: float, space: Sequence[Knob], distributions: dict[str, Any]) -> Any:
    """Return a trial as Optuna represents it: pending if the loss is NaN; its number is its log entry plus 1."""
    from optuna.trial import FrozenTrial, TrialState

    pending = math.isnan(loss)
    params = {_name(knob): _inside(knob, trial.values[where(knob)]) for knob in space}
    return FrozenTrial(
        number=trial.seq + 1,
        trial_id=trial.seq + 1,
        state=TrialState.RUNNING if pending else TrialState.COMPLETE,
        value=None if pending else loss,
        datetime_start=None,
        datetime_complete=None,
        params=params,
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _short(knob: Knob, value: Any) -> Any:
    """Return the nearest value that a knob can have: with its number of digits, or a power of two."""
    whole = knob.is_int and not knob.is_power
    return value if knob.choices or whole else knob.at(knob.place(value))


def _inside(knob: Knob, value: Any) -> Any:
    return value if knob.choices else type(knob.value)(min(knob.high, max(knob.low, value)))


def _storage(trials: list[Any]) -> Any:
    """Return an in-memory storage of Optuna that always lists exactly `trials`."""
    from optuna.storages import InMemoryStorage

    class Window(InMemoryStorage):  # type: ignore[misc]
        def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[Any]:
            return [trial for trial in trials if states is None or trial.state in states]

    return Window()
