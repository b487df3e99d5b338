"""An Optuna sampler searches an arena: it chooses values, the swarm measures them, and the sampler is told the score.

Beside a swarm that runs:

    python optuna_sampler.py digits

`tests/test_python_examples.py` runs it.
"""

import sys

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

import mesh
from mesh.knobs import Knob


def distribution(knob: Knob) -> BaseDistribution:
    """Return the range of a knob in Optuna's words."""
    if knob.choices:
        return CategoricalDistribution(knob.choices)
    if knob.is_int:
        return IntDistribution(int(knob.low), int(knob.high), log=knob.log)
    return FloatDistribution(knob.low, knob.high, log=knob.log)


def search(arena: str, trials: int = 20, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    """Let a sampler try so many sets of values, beginning with what the swarm knows already."""
    with mesh.connect(arena, name="optuna") as m:
        swarm = m.study("optuna")
        space = {name: distribution(knob) for name, knob in swarm.space.items()}
        study = optuna.create_study(direction=m.board.spec.objective.direction, sampler=sampler)
        for known in swarm.trials:
            if known.score is not None and known.values.keys() == space.keys():
                study.add_trial(optuna.trial.create_trial(params=known.values, distributions=space, value=known.score))
        for _ in range(trials):
            trial = study.ask(space)
            done = swarm.tell(swarm.ask(trial.params))  # the swarm measures it
            if done.score is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, done.score)
    return study


if __name__ == "__main__":
    best = search(sys.argv[1]).best_trial
    print(f"{best.value:g} with {best.params}")  # noqa: T201
