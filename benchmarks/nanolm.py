"""Does the portfolio find a better model than random search and best-of-N mutation, on the real arenas/nanolm?

Three sides get the same number of trials and the same seeds, and all begin with the baseline: `portfolio` is the real
explorer; `random` draws the same knobs evenly; `best_of_n` mutates the baseline by the explorer's own steps, without
selection in between (arXiv 2602.16805: "code evolution is often no better than best-of-N"). The real worker runs every
trial in its sandbox, one search after the other, the sides in another order for each seed. The budget is CPU time
(`time.process_time` in `train.py`, one thread), so a busy machine stretches the wall time and hardly changes the score:
on two cores a trial alone made 151 and 166 steps, each of two at once 141 and 150, each of six 131 to 162 in four times
the wall time. The budget is 2 s for all sides, half of the arena's, so that 540 trials take half an hour on two cores.
No trial is stopped early: that is the curator's work, and `nanolm_sides.Ask` takes the curator's place; so all sides
have equally many whole trials. Deadlines are wall time: on a very busy machine large models fail; `failed.SIDE` shows
it.

A search chooses the trial with the best score. Its choice is run again on fresh seeds, in a copy of the arena whose
scorer gets a part of the text that no search has had (`nanolm_cut`). There a run without a score counts as 8 bits per
byte, an even guess.

Figures are in bits per byte; lower is better. `best.SIDE.N` is the best score after N trials, the mean over seeds;
`final.SIDE` is the mean on the held-out part; `over.PEER` is how far the portfolio is below a peer there. `.low` and
`.high` are the ends of 95 % intervals by a bootstrap of seeds and, within them, fresh seeds, in pairs. `final.baseline`
is the baseline; `trial.cpu_s` and `trial.wall_s` are medians. `--quick` runs 6 trials of 0.3 s with one seed and one
fresh seed: it shows that everything works. `MESH_BENCH_SEEDS=2` has two seeds in place of three.
"""

import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.parts.harness import Figures, Goal, say
from benchmarks.parts.nanolm_sides import SIDES, Trial, compare, copied, search

GOALS: dict[str, Goal] = {f"over.{peer}": (">", 0.0) for peer in SIDES[1:]}
EVEN_GUESS = 8.0
DRAWS = 4000

Ends = Mapping[tuple[str, int], Sequence[float]]
"""Held-out values of the trial that a side chose with a seed, by fresh seed."""


class Plan(msgspec.Struct, frozen=True):
    """How much is run. `marks` are numbers of trials after which the best score is a figure; the last one is all."""

    budget_s: float
    marks: tuple[int, ...]
    seeds: tuple[int, ...]
    fresh: tuple[int, ...]


WHOLE = Plan(2.0, (20, 40, 60), (1, 2, 3), (101, 102, 103))
QUICK = Plan(0.3, (3, 6), (1,), (101,))


async def measure(quick: bool) -> Figures:
    """Run the searches, then compare their choices."""
    plan = QUICK if quick else WHOLE
    if wanted := int(os.environ.get("MESH_BENCH_SEEDS") or 0):
        plan = msgspec.structs.replace(plan, seeds=tuple(range(1, wanted + 1)))
    found: dict[tuple[str, int], list[Trial]] = {}
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        arena, held_out = (copied(cut, plan.budget_s, folder) for cut in ("search", "final"))

        for turn, seed in enumerate(plan.seeds):
            for number in range(len(SIDES)):
                side = SIDES[(turn + number) % len(SIDES)]
                trials = await search(side, seed, plan.marks[-1], arena, folder / f"{side}-{seed}")
                found[side, seed] = trials
                say(f"{side}, seed {seed}: {best(trials).value:.4f} by {best(trials).title}")
        searches = [(side, seed) for side in SIDES for seed in plan.seeds]
        chosen = [best(found[key]).files for key in searches]
        baseline, *rest = await compare(
            [found[searches[0]][0].files, *chosen], plan.fresh, held_out, folder / "compared"
        )
    result = figures(found, {key: _values(trials) for key, trials in zip(searches, rest, strict=True)}, plan)
    return result | {"final.baseline": statistics.fmean(_values(baseline)), "trial.budget_s": plan.budget_s}


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the best score, the first of equals."""
    return min((trial for trial in trials if trial.value is not None), key=lambda trial: trial.value or 0.0)


def figures(found: Mapping[tuple[str, int], Sequence[Trial]], ends: Ends, plan: Plan) -> Figures:
    """Return the figures of the searches and of their choices."""
    result: Figures = {}
    for side in SIDES:
        for mark in plan.marks:
            result[f"best.{side}.{mark}"] = statistics.fmean(
                best(found[side, s][:mark]).value or 0.0 for s in plan.seeds
            )
    table = {side: np.array([ends[side, seed] for seed in plan.seeds]) for side in SIDES}
    result |= {name: value for side in SIDES for name, value in _interval(f"final.{side}", table[side]).items()}
    for peer in SIDES[1:]:
        result |= _interval(f"over.{peer}", table[peer] - table["portfolio"])
    trials = [trial for each in found.values() for trial in each]
    for side in SIDES:
        of_side = [trial for seed in plan.seeds for trial in found[side, seed]]
        result[f"failed.{side}"] = sum(trial.value is None for trial in of_side) / len(of_side)
    result["trial.cpu_s"] = statistics.median(trial.cpu_s for trial in trials)
    return result | {"trial.wall_s": statistics.median(trial.wall_s for trial in trials)}


def _interval(name: str, table: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> Figures:
    """Return the mean of a table of seeds by fresh seeds, and its interval: rows are drawn, then columns in rows."""
    rng = np.random.default_rng(1)
    rows, columns = table.shape
    drawn_rows = rng.integers(rows, size=(DRAWS, rows, 1))
    drawn = table[drawn_rows, rng.integers(columns, size=(DRAWS, rows, columns))].mean(axis=(1, 2))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {name: float(table.mean()), f"{name}.low": float(low), f"{name}.high": float(high)}


def _values(trials: Sequence[Trial]) -> list[float]:
    return [EVEN_GUESS if trial.value is None else trial.value for trial in trials]
