"""What is measured of the worker classes of an arena: how long a scored run takes, and what its workers cost."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from analytics.report.queries import Ask
from mesh.errors import BadInput
from mesh.sql_protocol import quoted


class ProviderGroup(msgspec.Struct, frozen=True):
    """The workers of one class and provider; a price is of the whole machine, None is unknown.

    `provider` is "" where nobody has said it. `run_s` and `lost_s` are seconds of slots: in runs that ended, and in
    attempts that did not.
    """

    provider: str
    spot: bool
    slots: int
    price_per_hour_usd: float | None
    scored: int
    median_run_s: float | None
    run_s: float
    lost_s: float


class ClassMeasured(msgspec.Struct, frozen=True):
    """A worker class: `device` by its driver's name, `memory_mb` of one GPU, `steps` of a scored trial (None unknown).

    `groups` begins with the one that has most scored runs.
    """

    worker_class: str
    device: str
    memory_mb: float
    steps: float | None
    groups: list[ProviderGroup]

    @property
    def scored(self) -> int:
        """Scored runs of all groups."""
        return sum(group.scored for group in self.groups)

    @property
    def run_s(self) -> float | None:
        """Median seconds of a slot per scored run, with all that surrounds the trial; of the largest group."""
        return next((group.median_run_s for group in self.groups if group.median_run_s), None)

    @property
    def lost_share(self) -> float | None:
        """Seconds lost per second of a run, on spot machines of this class; None where none has run."""
        spot = [group for group in self.groups if group.spot]
        run_s = sum(group.run_s for group in spot)
        return sum(group.lost_s for group in spot) / run_s if run_s else None


class ArenaMeasured(msgspec.Struct, frozen=True):
    """An arena: the limits of a trial in seconds, the worker class and the GPU memory that it asks for, its classes."""

    budget_s: float
    deadline_s: float
    worker_class: str
    gpu_memory_gb: float
    classes: list[ClassMeasured]


async def measured_classes(ask: Ask, arena: str) -> ArenaMeasured:
    """Return what is measured of an arena.

    Args:
        ask: runs one statement and returns its rows.
        arena: the name of the arena.

    Raises:
        BadInput: the arena was never opened.
        QueryError: the projection refused or failed.
    """

    async def rows(name: str) -> list[list[Any]]:
        text = (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")
        return await ask(text.format(arena=quoted(arena)))

    if not (opened := await rows("arena")):
        raise BadInput(f"arena {arena} was never opened: nothing is measured in it")
    groups = defaultdict[str, list[ProviderGroup]](list)
    for worker_class, provider, spot, slots, price, scored, median_s, run_s, lost_s in await rows("groups"):
        group = ProviderGroup(
            provider=provider or "",
            spot=bool(spot),
            slots=int(slots or 1),
            price_per_hour_usd=price,
            scored=int(scored or 0),
            median_run_s=median_s,
            run_s=float(run_s or 0),
            lost_s=float(lost_s or 0),
        )
        groups[worker_class].append(group)
    devices = {worker_class: (device, memory) for worker_class, device, memory in await rows("devices")}
    steps = dict(await rows("steps"))
    classes = [
        ClassMeasured(name, *devices.get(name, ("", 0.0)), steps.get(name), found) for name, found in groups.items()
    ]
    budget_s, deadline_s, worker_class, memory_gb = opened[0]
    return ArenaMeasured(budget_s, deadline_s, worker_class, memory_gb, classes)
