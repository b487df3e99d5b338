"""What `mesh check` has found, as data."""

import msgspec

from mesh.events import Failed, Scored, StageEnd
from mesh.size_names import steady_numbers
from mesh_cli.setup.check_facts import ArenaFacts
from mesh_cli.setup.size_trials import SizeTried

NIGHT_H = 8.0
"""Hours of a night."""
BETWEEN_S = 0.06
"""Seconds between two runs of a slot, as `python -m benchmarks evaluations` measures them."""


class BaselineRun(msgspec.Struct, frozen=True):
    """How a run of the baseline ended; `output` is the end of what it printed, `used_s` what it used of its budget."""

    seed: int
    outcome: Scored | Failed
    trial_s: float
    score_s: float
    stages: tuple[StageEnd, ...] = ()
    used_s: float = 0.0
    peak_memory_mb: float = 0.0
    output: str = ""


class StageChecked(msgspec.Struct, frozen=True):
    """What the baseline got in a stage: a number per seed that reached it, and the median worker seconds.

    `threshold` is what the number must be, in words; `missed` tells for how many seeds it is not.
    """

    name: str
    metric: str
    threshold: str
    values: tuple[float, ...]
    missed: int
    seconds: float


class Tried(msgspec.Struct, frozen=True):
    """How an attack ended; `held` if it got what `expect` says."""

    name: str
    tries: str
    source: str
    expect: tuple[str, ...]
    outcome: Scored | Failed
    held: bool


class Checked(msgspec.Struct, frozen=True):
    """All that was found.

    Attributes:
        same_items: the number of items if search and proof have the same ones, else 0.
        slots: trials that this machine runs at a time.
        exclusive: whether a run has the machine for itself, as `trial.exclusive` says.
        shares_cores: whether runs at the same time have the same processor, and no GPU each.
        load: processes that wanted a core in the minute before, of the `cores` that there are.
        facts: what the arena is made of.
        proof: runs of the baseline with other seeds in place of those that the program gives itself.
        sizes: knobs that look like the size of the problem.
        next_version: what opening the folder would make of the history of the arena of that name, in sentences.
        cure: what may cure a baseline that cannot import a module.
        opening_s: seconds that opening took: preparing data, and looking for leaks.
    """

    arena: str
    metric: str
    baseline: tuple[BaselineRun, ...]
    attacks: tuple[Tried, ...]
    stages: tuple[StageChecked, ...] = ()
    same_items: int = 0
    slots: int = 1
    exclusive: bool = False
    shares_cores: bool = False
    load: float = 0.0
    cores: int = 1
    facts: ArenaFacts | None = None
    proof: tuple[BaselineRun, ...] = ()
    opening_s: float = 0.0
    sizes: tuple[SizeTried, ...] = ()
    next_version: tuple[str, ...] = ()
    cure: str = ""

    @property
    def scores(self) -> list[float]:
        """The baseline's scores."""
        return [ended.outcome.value for ended in self.baseline if isinstance(ended.outcome, Scored)]

    @property
    def proof_scores(self) -> list[float]:
        """The baseline's scores where its own seeds are replaced."""
        return [ended.outcome.value for ended in self.proof if isinstance(ended.outcome, Scored)]

    @property
    def steady(self) -> dict[str, float]:
        """The results, such as a checksum, that all runs of the baseline have alike, without those that are limited."""
        ended = (run.outcome for run in (*self.baseline, *self.proof))
        limited = self.facts.limited if self.facts else ()
        return steady_numbers([o.metrics for o in ended if isinstance(o, Scored)], but=(self.metric, *limited))

    @property
    def run_s(self) -> float:
        """Mean seconds that a run of the baseline takes with its score."""
        return sum(run.trial_s + run.score_s for run in self.baseline) / len(self.baseline) if self.baseline else 0.0

    @property
    def a_night(self) -> int:
        """How many runs fit into a night on this machine."""
        return int(NIGHT_H * 3600 * self.slots / (self.run_s + BETWEEN_S))
