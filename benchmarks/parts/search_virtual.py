"""The searches of `benchmarks.search` in virtual time, on the same workers with the same durations for all methods.

`mesh` is the explorer's own strategy on a log without a bus: it keeps as many proposals waiting as an explorer does,
gets results in the order of their runs, and passes over near duplicates. `search_swarm` does the same with the real
explorer, commits and bus; `mesh:KIND` is one of its samplers alone.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from random import Random

import msgspec

from agents.explorer import fitting
from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Trial, Values, best_first, where
from agents.search.strategy import TRIES, Choose, Strategy
from agents.search.turns import AHEAD_S, UNDECIDED
from benchmarks.parts import search_peers
from benchmarks.parts.search_problems import Problem
from mesh.knobs import Knob, are_near, find_knobs, steady

TRIAL_S = 60.0
"""The meaning of a duration of 1, in seconds."""


class Search(msgspec.Struct, frozen=True):
    """One search by one method."""

    method: str
    workers: int
    problem: Problem
    seed: int
    most: int = 10_000

    @property
    def trials(self) -> int:
        """How many trials it has: those of the problem, and no more than `most`."""
        return min(self.most, self.problem.evaluations)


class Course(msgspec.Struct, frozen=True):
    """The exact value of the best result so far after each trial, and how many trials crashed.

    What counts as best is the result, noise included.
    """

    best: list[float]
    crashed: int


def run(search: Search) -> Course:
    """Run a search."""
    one = (
        _mesh(search)
        if search.method.startswith("mesh")
        else search_peers.search(search.method, search.problem, search.workers, search.trials, search.seed)
    )
    best, least, crashed = [], float("inf"), 0
    exact = float("inf")
    for point, result in one:
        crashed += result is None
        if result is not None and result < least:
            least = result
            found = search.problem.exact(point)
            assert found is not None
            exact = found
        best.append(exact)
    return Course(best, crashed)


def _mesh(search: Search) -> list[tuple[list[float | str], float | None]]:
    first = find_knobs("train.py", search.problem.source())
    return [([trial.values[where(knob)] for knob in first], trial.loss) for trial in mesh_trials(search)]


def mesh_trials(search: Search, choose: Choose = portfolio.choose_kind) -> list[Trial]:
    """Return the trials of the explorer's strategy in the order in which they ended."""
    problem, workers = search.problem, search.workers
    first = find_knobs("train.py", problem.source())
    samplers, missing = portfolio.installed_samplers()
    assert not missing, missing
    forced = search.method.partition(":")[2]
    strategy = Strategy(samplers, portfolio.LEARNING, forced, choose)
    depth = max(UNDECIDED, -int(-workers * (1 + min(1.0, AHEAD_S / TRIAL_S)) // 1))
    base = Trial(tree="0", seq=0, values={where(k): k.value for k in first}, loss=None)
    every: list[Trial] = [base]
    done: dict[int, Trial] = {}
    queue = [base]
    running: list[tuple[float, int, Trial, float]] = []
    durations, begun, now = problem.durations(search.seed), 0, 0.0
    ends: list[Trial] = []
    while len(ends) < search.trials:
        if ends:
            while len(queue) + len(running) < depth:
                made = _proposed(strategy, first, every, done, search.seed)
                every.append(made)
                queue.append(made)
        while queue and len(running) < workers:
            trial, lasts = queue.pop(0), next(durations)
            heappush(running, (now + lasts, begun, trial, lasts))
            begun += 1
        now, number, trial, lasts = heappop(running)
        point = [trial.values[where(knob)] for knob in first]
        result = problem.value(point, number)
        ends.append(msgspec.structs.replace(trial, loss=result, seconds=lasts * TRIAL_S))
        done[trial.seq] = ends[-1]
    return ends


def _proposed(
    strategy: Strategy, first: Sequence[Knob], every: Sequence[Trial], done: dict[int, Trial], seed: int
) -> Trial:
    trials = [done[trial.seq] for trial in every if trial.seq in done]
    pending = [trial for trial in every if trial.seq not in done]
    ranked = best_first(trials)
    values: Values = ranked[0].values if ranked else every[0].values
    space = steady([msgspec.structs.replace(knob, value=values[where(knob)]) for knob in first], first)
    number = len(every)
    for attempt in range(TRIES):
        rng = Random(f"{seed} {number} {attempt} {len(done)}")
        choice = strategy.ask(space, trials, pending, rng, attempt)
        new = {where(knob): fitting(knob, choice.idea.values.get(where(knob))) for knob in space}
        if not any(are_near(space, new, trial.values) for trial in every):
            break
    return Trial(tree=f"{number}", seq=number, values=new, loss=None, by=choice.kind)
