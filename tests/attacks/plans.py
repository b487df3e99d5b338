"""Attacks that need a whole run: what the attacker's trial does, and by what it is seen that it succeeded."""

import dataclasses
from typing import Literal

from tests.attacks.corpus import Family

Goal = Literal["zero", "any", "late", "harm", "survive"]
"""What counts as a success: a loss of 0; any score (`late`: by a process that lives on); only harm to the worker; a
process that lives after the run. Harm to the worker, such as an exception, always counts."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The code of one attacker.

    Args:
        train: what its trial does; `win(x)` writes x as its output.
        score: which scorer reads the output: `guess`, `echo` (prints it), or `ask` (asks the predictor).
        predict: code that answers a scorer.
        cold: start a new interpreter for trial and scorer, as arenas without `preload` do.
        weakest: no layer of the sandbox has a part in it: tried in tier E alone, where nothing else could stop it.
        deadline_s: wall-clock seconds of its trial.
    """

    train: str
    goal: Goal = "zero"
    score: Literal["guess", "echo", "ask"] = "guess"
    predict: str = ""
    deadline_s: float = 6
    cold: bool = False
    weakest: bool = False


class PlanFamily(Family):
    """Attacks of one kind, each with a plan."""

    def __init__(self, name: str, cases: str) -> None:
        super().__init__(name)
        self.cases = cases
        """Where they are tried: cases that differ in a layer that has a part in them."""
        self.plans = dict[str, Plan]()

    def plan(self, name: str, plan: Plan, *, open_in: str = "", why: str = "") -> None:
        """Add an attack."""
        self.plans[name] = plan
        self.add(name, None, open_in=open_in, why=why)
