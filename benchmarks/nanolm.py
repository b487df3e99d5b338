"""Does the portfolio find a better model than random search and best-of-N mutation, on arenas/nanolm for real?

Three sides, the same number of trials, the same seeds, the artifact as it is as the first trial of each: `portfolio`,
the real explorer; `random`, even draws of the same knobs; `best_of_n`, mutations of the artifact as it is by the
explorer's own steps, with no selection in between (arXiv 2602.16805: "code evolution is often no better than
best-of-N"). Every trial is run by the real worker in its sandbox, one search after the other, the sides in another
order for each seed. The budget is CPU time (`time.process_time` in `train.py`, one thread), so what else the machine
does stretches the wall time and hardly the score: on two cores a trial alone made 151 and 166 steps, each of two at
once 141 and 150, each of six 131 to 162 in four times the wall time. It is 2 s here for all sides alike, half of the
arena's, for 540 trials to take half an hour on two cores. No trial is ended early: the
arena's halving is the curator's, in whose place `nanolm_sides.Ask` stands; so all sides have equally many whole trials.
Deadlines are wall time, though: on a machine that is much too busy large models fail, which `failed.SIDE` tells.

A search chooses the trial with the best score. What it chose is run again on fresh seeds, in a copy of the arena whose
scorer is given a part of the text that was cut out of everything the searches had (`nanolm_cut`). There a run without a
score counts as 8 bits per byte, an even guess.

Figures, in bits per byte, lower is better: `best.SIDE.N` the best score after N trials, the mean over seeds;
`final.SIDE` the mean on the held-out part; `over.PEER` how far the portfolio is below a peer there; `.low` and `.high`
the ends of 95 % intervals by a bootstrap of seeds and, within them, fresh seeds, in pairs. `final.as_it_is` is the
artifact as it is; `trial.cpu_s` and `trial.wall_s` are medians. With `--quick` there are 6 trials of 0.3 s, one seed
and one fresh one: it shows that all works.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.harness import Figures, Goal, say
from benchmarks.nanolm_sides import SIDES, Trial, compare, copied, search

GOALS: dict[str, Goal] = {f"over.{peer}": (">", 0.0) for peer in SIDES[1:]}
EVEN_GUESS = 8.0
DRAWS = 4000

Ends = Mapping[tuple[str, int], Sequence[float]]
"""Held-out values of what a side chose with a seed, by fresh seed."""


class Plan(msgspec.Struct, frozen=True):
    """How much is run; the marks are numbers of trials after which the best is told, the last is all of them."""

    budget_s: float
    marks: tuple[int, ...]
    seeds: tuple[int, ...]
    fresh: tuple[int, ...]


WHOLE = Plan(2.0, (20, 40, 60), (1, 2, 3), (101, 102, 103))
QUICK = Plan(0.3, (3, 6), (1,), (101,))


async def measure(quick: bool) -> Figures:
    """Run the searches, then compare what they chose."""
    plan = QUICK if quick else WHOLE
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
        asked = [(side, seed) for side in SIDES for seed in plan.seeds]
        chosen = [best(found[key]).files for key in asked]
        as_it_is, *rest = await compare([found[asked[0]][0].files, *chosen], plan.fresh, held_out, folder / "compared")
    told = figures(found, {key: _values(trials) for key, trials in zip(asked, rest, strict=True)}, plan)
    return told | {"final.as_it_is": statistics.fmean(_values(as_it_is)), "trial.budget_s": plan.budget_s}


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the best score, the first of equals."""
    return min((trial for trial in trials if trial.value is not None), key=lambda trial: trial.value or 0.0)


def figures(found: Mapping[tuple[str, int], Sequence[Trial]], ends: Ends, plan: Plan) -> Figures:
    """Return the figures of the searches and of what they chose."""
    told: Figures = {}
    for side in SIDES:
        for mark in plan.marks:
            told[f"best.{side}.{mark}"] = statistics.fmean(best(found[side, s][:mark]).value or 0.0 for s in plan.seeds)
    table = {side: np.array([ends[side, seed] for seed in plan.seeds]) for side in SIDES}
    told |= {name: value for side in SIDES for name, value in _interval(f"final.{side}", table[side]).items()}
    for peer in SIDES[1:]:
        told |= _interval(f"over.{peer}", table[peer] - table["portfolio"])
    trials = [trial for each in found.values() for trial in each]
    for side in SIDES:
        its = [trial for seed in plan.seeds for trial in found[side, seed]]
        told[f"failed.{side}"] = sum(trial.value is None for trial in its) / len(its)
    told["trial.cpu_s"] = statistics.median(trial.cpu_s for trial in trials)
    return told | {"trial.wall_s": statistics.median(trial.wall_s for trial in trials)}


def _interval(name: str, table: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> Figures:
    """Return the mean of a table of seeds by fresh seeds, and its interval: rows are drawn, and columns within each."""
    rng = np.random.default_rng(1)
    rows, columns = table.shape
    drawn_rows = rng.integers(rows, size=(DRAWS, rows, 1))
    drawn = table[drawn_rows, rng.integers(columns, size=(DRAWS, rows, columns))].mean(axis=(1, 2))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {name: float(table.mean()), f"{name}.low": float(low), f"{name}.high": float(high)}


def _values(trials: Sequence[Trial]) -> list[float]:
    return [EVEN_GUESS if trial.value is None else trial.value for trial in trials]
