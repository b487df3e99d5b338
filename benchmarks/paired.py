"""Proof in pairs: how often arenas of equal proposals promote one, and how many seeds a real gain needs.

`false` is the share of arenas, of 20 equal proposals and the baseline, in which the real curator promotes anybody; by
distribution of the noise and by the correlation of two scores on one seed. `seeds` is the number of common seeds at
which a gain of half a standard deviation passes at the level of 1 % four times of five. `seeds_ratio` compares it with
the two-sample test on the same scores.
"""

import random

from benchmarks.parts.harness import Figures, Goal, say
from benchmarks.parts.null_arenas import CorrelatedArena, Draw, contaminated, normal, student_of_3
from mesh.board import Board
from mesh.evidence import Noise, p_better, pooled
from mesh.paired import seed_effect

CORRELATIONS = (-0.2, 0.0, 0.5, 0.9)
DRAWS: tuple[Draw, ...] = (normal, student_of_3, contaminated)
PROPOSALS, GAIN, LEVEL, POWER = 20, 0.5, 0.01, 0.8
GOALS: dict[str, Goal] = {
    **{f"false.{draw.__name__}.{correlation:g}": ("<=", 0.1) for draw in DRAWS for correlation in CORRELATIONS},
    "seeds_ratio.0.8": ("<=", 1 / 3),
}


async def measure(quick: bool) -> Figures:
    """Return the rates of false promotions, and the seeds that a proof needs in pairs and as two samples."""
    figures: Figures = {}
    for draw in DRAWS:
        for correlation in CORRELATIONS:
            name = f"{draw.__name__}.{correlation:g}"
            made = 4 if quick else 200
            figures[f"false.{name}"] = sum(is_fooled(correlation, draw, world) for world in range(made)) / made
            say(f"{name}: {made} arenas")
    board = CorrelatedArena({}, 0.0, normal, "board").log.board
    for correlation in (0.0, 0.5, 0.8):
        in_pairs, unpaired = (seeds_needed(board, correlation, pairs=pairs, quick=quick) for pairs in (True, False))
        figures[f"seeds.{correlation:g}"] = in_pairs
        figures[f"seeds_ratio.{correlation:g}"] = in_pairs / unpaired
    return figures


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
