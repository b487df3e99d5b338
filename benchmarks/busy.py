"""Which share of a slot's time runs the trial's own code, while the queue is never empty.

Each trial reads the machine's clock in the first and the last line of its script and computes for a fixed CPU time in
between, so that a busy machine slows trials and overhead alike; its scorer passes both readings on, so that they are in
`run.finished`. The share is the sum of those times, divided by the time
from the first begin to the last end, times slots. The rest is overhead: taking a run, fetching its code, starting its
process, scoring, posting. Where there are as many slots as cores, trials and worker compete for them, and the overhead
is larger.
"""

from collections.abc import Sequence

from benchmarks.parts.harness import Figures, Goal
from benchmarks.parts.trials import Run, trials

GOALS: dict[str, Goal] = {"share.slots_1": (">=", 0.97), "share.slots_2": (">=", 0.97)}

TRAIN = """
import time; begin = time.monotonic()
import json, os, pathlib
while time.process_time() < {seconds}:
    sum(range(10_000))
out = pathlib.Path(os.environ["MESH_OUT"], "score.json")
out.write_text(json.dumps({{"loss": 1.0, "begin": begin, "end": time.monotonic()}}))
"""


async def measure(quick: bool) -> Figures:
    """Return the share of slot time that trials ran, for one and two slots, and the overhead per trial (ms)."""
    count, seconds = 6 if quick else 60, 5.0
    figures: Figures = {}
    for slots in (1, 2):
        async with trials(slots, train=TRAIN.format(seconds=seconds)) as ours:
            await ours.prepare(count)
            runs = await ours.ask(count)
            found = share(runs, slots)
            lasted_s = sum(run.metrics["end"] - run.metrics["begin"] for run in runs) / count
            figures[f"share.slots_{slots}"] = found
            figures[f"between_ms.slots_{slots}"] = (1 / found - 1) * lasted_s * 1000
    return figures


def share(runs: Sequence[Run], slots: int) -> float:
    """Return the time in trials, divided by the time of all slots from the first begin to the last end."""
    begins, ends = [run.metrics["begin"] for run in runs], [run.metrics["end"] for run in runs]
    return (sum(ends) - sum(begins)) / (slots * (max(ends) - min(begins)))
