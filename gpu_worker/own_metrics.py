"""What a worker tells Prometheus of itself: its slots, its runs, and what they cost."""

from collections import Counter
from collections.abc import Callable

from gpu_worker.idleness import Idleness
from mesh.events import Failed, RunFinished
from mesh.metric import Sample, ShownMetric


class WorkerFigures:
    """The figures of a worker over all its lives; a life sets those of its machine when it joins.

    Attributes:
        unfit: returns why the worker may not run the arena, "" if it may.
    """

    def __init__(self) -> None:
        self.name = self.worker_class = ""
        self.slots = 0
        self.idleness: Idleness | None = None
        self.unfit: Callable[[], str] = lambda: "the worker has not joined yet"
        self._ended: Counter[str] = Counter()
        self._usd, self._unpriced, self._seconds = 0.0, 0, 0.0

    def add(self, finish: RunFinished) -> None:
        """Count a run that ended."""
        outcome = finish.outcome
        self._ended[outcome.reason if isinstance(outcome, Failed) else str(outcome.__struct_config__.tag)] += 1
        self._seconds += (finish.cost.seconds if finish.cost else None) or 0.0
        if finish.cost and finish.cost.usd is not None:
            self._usd += finish.cost.usd
        else:
            self._unpriced += 1

    def metrics(self) -> list[ShownMetric]:
        """Return the metrics as of now."""
        who = {"worker": self.name, "worker_class": self.worker_class}
        idleness = self.idleness

        def one(name: str, about: str, value: float) -> ShownMetric:
            return ShownMetric(name, about, (Sample(value, who),), "counter" if name.endswith("_total") else "gauge")

        return [
            one("mesh_worker_slots", "Runs that this worker takes at a time.", self.slots),
            one("mesh_worker_slots_busy", "Runs that it executes now.", idleness.runs if idleness else 0),
            one("mesh_worker_idle_seconds", "Seconds without a run.", idleness.seconds if idleness else 0),
            ShownMetric(
                "mesh_worker_runs_total",
                "Runs that it has ended, by outcome or reason.",
                tuple(Sample(count, {**who, "outcome": name}) for name, count in sorted(self._ended.items())),
                "counter",
            ),
            one("mesh_worker_run_seconds_total", "Seconds of its runs, from the lease to the end.", self._seconds),
            one("mesh_worker_spent_usd_total", "Known cost of its runs, in dollars.", self._usd),
            one("mesh_worker_unpriced_runs_total", "Runs whose cost is unknown.", self._unpriced),
        ]
