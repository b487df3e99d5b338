"""The budgets of a run: which seconds count on a slot, and how many a trial and the code that answers its scorer have.

CPU time of all processes is fair on a busy machine. On a GPU it says little, so there wall time counts, or the time
with the GPU open. An evaluator of another system knows of no budget and is ended by its deadline alone. Pure.
"""

from typing import Literal

import msgspec

from gpu_worker.machine import Slot
from mesh.events import Counting
from mesh.spec import ArenaSpec
from mesh.worker_costs import WAITS, WAITS_S

TIMES: dict[str, str] = {"cpu": "CPU time", "wall": "wall time", "gpu": "GPU time"}


class TrialBudget(msgspec.Struct, frozen=True):
    """The budget of a trial.

    Args:
        counts: which seconds count.
        budget_s: what the trial is told.
        limit_s: what ends it, with tolerance and start-up; 0 for no limit.
    """

    counts: Counting
    budget_s: float
    limit_s: float

    def exceeded_by(self, used_s: float) -> bool:
        """Tell whether these seconds are too many."""
        return 0 < self.limit_s < used_s

    def sentence(self, what: str, used_s: float) -> str:
        """Return the sentence for a trial that used too much."""
        allowed = f"its budget of {self.budget_s:g} s allows {self.limit_s:g} s with tolerance and start-up"
        return f"{what} used {used_s:.1f} s of {TIMES[self.counts]}; {allowed}"


class ScoreBudget(msgspec.Struct, frozen=True):
    """What scoring may use.

    Args:
        counts: which seconds count.
        deadline_s: seconds of the score program, of CPU time or wall time.
        wall_s: wall seconds after which it is ended whatever it does.
        predict_s: seconds of the process that answers it; 0 for no limit.
    """

    counts: Literal["cpu", "wall"]
    deadline_s: float
    wall_s: float
    predict_s: float


def trial_budget(spec: ArenaSpec, budget_s: float, slot: Slot, *, sees_gpu: bool) -> TrialBudget:
    """Return the budget of a trial on a slot.

    Args:
        spec: the arena.
        budget_s: the budget of its request.
        slot: where it runs.
        sees_gpu: whether the driver says which processes have the GPU open; else wall time counts in its place.
    """
    trial = spec.trial
    if not trial.command:
        return TrialBudget("wall", budget_s, 0.0)
    counts: Counting
    if slot.device == "cpu":
        counts = "wall" if trial.budget_counts == "wall" else "cpu"
    elif trial.budget_counts == "cpu":
        counts = "cpu"
    else:
        counts = "gpu" if trial.budget_counts == "gpu" and sees_gpu else "wall"
    return TrialBudget(counts, budget_s, round(budget_s * trial.budget_tolerance + trial.startup_s, 3))


def score_budget(spec: ArenaSpec, slot: Slot) -> ScoreBudget:
    """Return what scoring may use on a slot: CPU time on a CPU, wall time on a GPU."""
    deadline_s, predict_s = spec.score.deadline_s, spec.score.predict_budget_s
    if slot.device != "cpu":
        return ScoreBudget("wall", deadline_s, deadline_s, predict_s)
    return ScoreBudget("cpu", deadline_s, WAITS * deadline_s + WAITS_S, predict_s or deadline_s)
