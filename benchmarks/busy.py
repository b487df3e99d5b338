"""How much of a slot's time a trial's own code runs, while there is always a next run to take.

Trials say it themselves: each reads the machine's clock in the first and the last line of its script and computes in
between; its scorer hands both readings on, so that they stand in `run.finished`. The share is the sum of those times
over the time between the first begin and the last end, times slots: everything else (taking a run, fetching its code,
the start of its process, scoring, posting) is what is missing to 1. Where there are as many slots as cores, trials and
worker compete for them, and the rest is larger.
"""

from collections.abc import Sequence

from benchmarks.harness import Figures, Goal
from benchmarks.trials import Run, trials

GOALS: dict[str, Goal] = {"share.slots_1": (">=", 0.97), "share.slots_2": (">=", 0.97)}

TRAIN = """
import time; begin = time.monotonic()
import json, os, pathlib
while time.monotonic() < begin + {seconds}:
    sum(range(10_000))
out = pathlib.Path(os.environ["MESH_OUT"], "score.json")
out.write_text(json.dumps({{"loss": 1.0, "begin": begin, "end": time.monotonic()}}))
"""


async def measure(quick: bool) -> Figures:
    """Return the share of slot time in which trials ran, for one and two slots, and what else a trial took (ms)."""
    count, seconds = (12, 1.0) if quick else (60, 5.0)
    figures: Figures = {}
    for slots in (1, 2):
        async with trials(slots, train=TRAIN.format(seconds=seconds)) as ours:
            await ours.prepare(count)
            found = share(await ours.ask(count), slots)
            figures[f"share.slots_{slots}"] = found
            figures[f"between_ms.slots_{slots}"] = (1 / found - 1) * seconds * 1000
    return figures


def share(runs: Sequence[Run], slots: int) -> float:
    """Return the time in trials over the time of the slots from the first begin to the last end."""
    begins, ends = [run.metrics["begin"] for run in runs], [run.metrics["end"] for run in runs]
    return (sum(ends) - sum(begins)) / (slots * (max(ends) - min(begins)))
