"""What is counted over all that an agent or a worker did. Pure."""

import msgspec

LATEST_SHOWN = 10
"""Latest proposals of an agent, or runs of a worker, that are shown beside its totals."""


class AgentTotals(msgspec.Struct, frozen=True):
    """What is counted over all proposals, critiques and model calls of an agent; None where nothing is known."""

    proposals: int
    states: dict[str, int]
    critiques: dict[str, int]
    usd: float | None
    tokens: int | None


class WorkerTotals(msgspec.Struct, frozen=True):
    """What is counted over all runs that a worker ended, and their seconds of a worker."""

    runs: int
    outcomes: dict[str, int]
    worker_s: float
