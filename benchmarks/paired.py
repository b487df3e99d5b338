"""Proof in pairs: how often arenas of equal proposals promote one, and how many seeds a real gain needs.

`false` is the share of arenas, of 20 equal proposals and the baseline, in which the real curator promotes anybody; by
distribution of the noise and by the correlation of two scores on one seed. `seeds` is the number of common seeds at
which a gain of half a standard deviation passes at the level of 1 % four times of five. `seeds_ratio` compares it with
the two-sample test on the same scores.

`items` is the same for arenas of fixed items: `items.false` for equal proposals, also with clusters and where search
and proof have the same items. `items.power` is the share of arenas in which the one proposal among them that is better
by 0.02 is promoted, `items.power_alone` the same without the others, and `items.runs` are the runs of proof of all
arenas per such promotion. `power.after` is the chance that a gain of one standard deviation passes after so many races,
of which one in `every` promoted somebody (`benchmarks/parts/long_run.py`). `scheme` is what the seeds of fixed items
may be (`benchmarks/parts/noise_schemes.py`).
"""

import random
from typing import Any

from benchmarks.parts.harness import Figures, Goal, say, told
from benchmarks.parts.item_arenas import ItemArena
from benchmarks.parts.long_run import power_after
from benchmarks.parts.noise_schemes import GAIN as ITEM_GAIN
from benchmarks.parts.noise_schemes import SCHEMES, passes
from benchmarks.parts.null_arenas import CorrelatedArena, Draw, contaminated, normal, student_of_3
from benchmarks.parts.parallel import on_all_cores
from mesh.board import Board
from mesh.evidence import Noise, p_better, pooled
from mesh.paired import seed_effect
from mesh.testing import git_hash

CORRELATIONS = (-0.2, 0.0, 0.5, 0.9)
DRAWS: tuple[Draw, ...] = (normal, student_of_3, contaminated)
PROPOSALS, GAIN, LEVEL, POWER = 20, 0.5, 0.01, 0.8
ITEM_ARENAS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clusters": {"clusters": 60},
    "unnamed": {"named": False},
    "same": {"same": True},
}
GOALS: dict[str, Goal] = {
    **{f"false.{draw.__name__}.{correlation:g}": ("<=", 0.1) for draw in DRAWS for correlation in CORRELATIONS},
    "seeds_ratio.0.8": ("<=", 1 / 3),
    **{f"items.false.{name}": ("<=", 0.1) for name in ITEM_ARENAS},
    "scheme.items.false": ("<=", 0.06),
}


async def measure(quick: bool) -> Figures:
    """Return the rates of false promotions, and the seeds that a proof needs in pairs and as two samples."""
    figures: Figures = {}
    for draw in DRAWS:
        for correlation in CORRELATIONS:
            name = f"{draw.__name__}.{correlation:g}"
            made = 4 if quick else 200
            jobs = [(correlation, draw, world) for world in range(made)]
            figures[f"false.{name}"] = sum(on_all_cores(_is_fooled, jobs)) / made
            say(f"{name}: {figures[f'false.{name}']:.3f} of {made} arenas")
    board = CorrelatedArena({}, 0.0, normal, "board").log.board
    for correlation in (0.0, 0.5, 0.8):
        in_pairs, unpaired = (seeds_needed(board, correlation, pairs=pairs, quick=quick) for pairs in (True, False))
        figures[f"seeds.{correlation:g}"] = in_pairs
        figures[f"seeds_ratio.{correlation:g}"] = in_pairs / unpaired
    for races in (0, 5, 25, 105):
        for every in (0, 10):
            figures[f"power.after.{races}.every.{every}"] = power_after(races, every)
    figures |= by_items(4 if quick else 200)
    for scheme in SCHEMES:
        for kind, gain in (("false", 0.0), ("power", ITEM_GAIN)):
            figures[f"scheme.{scheme}.{kind}"] = passes(scheme, gain, 100 if quick else 4000)
    return figures


def by_items(made: int, proposals: int = PROPOSALS) -> Figures:
    """Return how often arenas of fixed items promote an equal, and a real gain among equals."""
    figures: Figures = {}
    equal = {f"p{number}": 0.0 for number in range(proposals)}
    for name, options in ITEM_ARENAS.items():
        played = on_all_cores(_played, [(equal, f"{name} {world}", options) for world in range(made)])
        figures[f"items.false.{name}"] = sum(promotions > 0 for promotions, _, _ in played) / made
    good: dict[str, float] = {"good": ITEM_GAIN}
    for name, label, gains in (("power", "good", good | equal), ("power_alone", "alone", good)):
        played = on_all_cores(_played, [(gains, f"{label} {world}", {}) for world in range(made)])
        won = sum(is_found for _, is_found, _ in played)
        figures[f"items.{name}"] = won / made
        figures[f"items.runs.{name}"] = sum(runs for _, _, runs in played) / max(1, won)
    say(f"{made} arenas: {told(figures)}")
    return figures


def _played(job: tuple[dict[str, float], str, dict[str, Any]]) -> tuple[int, bool, int]:
    """Play an arena of items; return its promotions, whether the good one was found, and the runs of proof."""
    gains, seed, options = job
    arena = ItemArena(gains, seed, **options)
    arena.play()
    return arena.promotions, git_hash("good") in arena.log.board.champions, arena.proof_runs


def _is_fooled(job: tuple[float, Draw, int]) -> bool:
    return is_fooled(*job)


def is_fooled(correlation: float, draw: Draw, world: int, proposals: int = PROPOSALS) -> bool:
    """Tell whether an arena of equal proposals promotes one."""
    equal = {f"p{number}": 0.0 for number in range(proposals)}
    arena = CorrelatedArena(equal, correlation, draw, f"{correlation} {draw.__name__} {world}")
    arena.play()
    return arena.promotions > 0


def seeds_needed(board: Board, correlation: float, *, pairs: bool, quick: bool) -> int:
    """Return the number of common seeds at which the gain is proven with the wanted power."""
    made = 100 if quick else 1000
    for seeds in range(2, 400):
        passed = sum(_passes(board, correlation, seeds, random.Random(f"{seeds} {n}"), pairs) for n in range(made))
        if passed >= POWER * made:
            return seeds
    return 400


def _passes(board: Board, correlation: float, seeds: int, rng: random.Random, pairs: bool) -> bool:
    """Run one challenger and one champion; three others of the champion's quality ran on the first eight seeds."""
    shared = [rng.gauss(0, correlation**0.5) for _ in range(max(seeds, 8))]
    rest = (1 - correlation) ** 0.5
    columns = [
        {seed: gain + shared[seed] + rng.gauss(0, rest) for seed in range(count)}
        for gain, count in ((GAIN, seeds), (0.0, seeds), (0.0, 8), (0.0, 8), (0.0, 8))
    ]
    found = pooled([list(column.values()) for column in columns])
    noise = Noise(found.sd, found.dof, seed_effect(columns) if pairs else None)
    return 1 - p_better(board, columns[0], columns[1], noise) <= LEVEL
