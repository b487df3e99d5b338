"""`mesh.optimise`: the loop that lets an optimiser of the user's own take part."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Protocol

from mesh.errors import ArenaIsClosed, BadInput
from mesh.events import Scalar
from mesh.knobs import Knob
from mesh_client.astudy import StudyTrial
from mesh_client.client import Client
from mesh_client.opening import connect

_MOST_KNOWN = 30
"""Proposals in a row that are known, after which an optimiser is stopped."""


class Optimiser(Protocol):
    """An optimiser of the user's own; where it has `tell(self, trial)`, that gets each of its trials that ended."""

    def ask(self, space: Mapping[str, Knob], trials: Sequence[StudyTrial], rng: Random) -> Mapping[str, Scalar]:
        """Return values to try by the names of knobs; those that it leaves out stay as the best code has them.

        Args:
            space: The knobs by name.
            trials: All trials of anybody, in the order of the log.
            rng: Randomness that depends on the name and the seed alone.
        """


def optimise(
    optimiser: Optimiser,
    *,
    arena: str | None = None,
    name: str = "",
    trials: int | None = None,
    parallel: int | None = None,
    seed: int = 0,
    nats: str | None = None,
    credentials: str | Path | None = None,
) -> list[StudyTrial]:
    """Let an optimiser propose values until the arena closes, and return its trials that ended.

    Args:
        optimiser: What chooses the values.
        arena: The arena, as of `connect`.
        name: Who posts, by default the class of the optimiser in small letters.
        trials: End after this many; by default when the arena closes.
        parallel: How many trials wait for a score at a time; by default one more than the workers run.
        seed: Begins its randomness.
        nats: The address of the server, as of `connect`.
        credentials: A file with credentials for it.

    Raises:
        BadInput: The optimiser returns what is not a value of a knob, or nothing new for long.
        MeshError: As `connect`.
    """
    kind = type(optimiser).__name__
    if not callable(getattr(optimiser, "ask", None)):
        raise BadInput(f"{kind} is not an optimiser: it has no 'ask'; write `def ask(self, space, trials, rng)`")
    if any(number is not None and number < 1 for number in (trials, parallel)):
        raise BadInput(f"trials is {trials} and parallel is {parallel}; use whole numbers from 1 on, or None")
    with connect(arena, nats=nats, credentials=credentials, name=name or kind.lower()) as client:
        return _optimised(client, optimiser, trials, parallel, Random(f"{seed} {client.name}"))


def _optimised(
    client: Client, optimiser: Optimiser, most: int | None, parallel: int | None, rng: Random
) -> list[StudyTrial]:
    study, tell = client.study(client.name), getattr(optimiser, "tell", None)
    waiting: list[StudyTrial] = []
    ended: list[StudyTrial] = []
    known, is_open = 0, True
    while True:
        while is_open and len(waiting) < (parallel or study.slots() + 1):
            if most is not None and len(waiting) + len(ended) >= most:
                break
            seen = {trial.proposal for trial in study.trials}
            values = optimiser.ask(study.space, study.trials, rng)
            try:
                trial = study.ask(_as_values(optimiser, values))
            except ArenaIsClosed:
                is_open = False
                break
            known = known + 1 if trial.proposal in seen else 0
            if known >= _MOST_KNOWN:
                kind = type(optimiser).__name__
                raise BadInput(f"{kind}.ask returned values that are known {known} times in a row; return others")
            waiting.append(trial)
        if not waiting:
            return ended
        for trial in study.tell_any(waiting):
            waiting = [other for other in waiting if other.proposal != trial.proposal]
            ended.append(trial)
            if tell:
                tell(trial)


def _as_values(optimiser: Optimiser, values: object) -> Mapping[str, object]:
    if isinstance(values, Mapping):
        return values
    if inspect.iscoroutine(values):
        values.close()  # else Python warns of it at a moment of its own
    kind = type(optimiser).__name__
    raise BadInput(f"{kind}.ask returned a {type(values).__name__}; return a dict of values by the names of knobs")
