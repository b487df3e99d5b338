"""Luck in scores: how likely a proposal is better than the champion, after its score is corrected for luck. Pure.

The best of many noisy scores is partly luck. So the score is shrunk towards the mean of all claims by the arena's noise
(Efron and Morris, "Data analysis using Stein's estimator and its generalizations", 1975). The forecast is the chance
that the shrunk score beats the champion's fresh mean.
"""

import math
from statistics import NormalDist

from agents.critique.claim_sums import ClaimSums, spread_of
from mesh.board import Board
from mesh.events import CritiquePosted
from mesh.evidence import claim, fresh, noise
from mesh.paired import mean_score
from mesh.text import chance

_FEWEST = 5
"""Fewest claims from which their spread is estimated."""


def judge_score(board: Board, run: str, sums: ClaimSums | None = None) -> CritiquePosted | None:
    """Return the critique of an explore run with a score; None without a champion or with too little data.

    Args:
        board: The board of the arena.
        run: The name of the run.
        sums: The claims as they are kept up; None adds them up here.
    """
    scored = board.runs.get(run)
    if scored is None or scored.value is None or scored.requested.lane != "explore":
        return None
    if not scored.finished or not board.champion:
        return None
    worker_class, tree = scored.finished.worker_class, scored.requested.proposal
    champion = fresh(board, board.champion, worker_class)
    found = noise(board, worker_class)
    if sums:
        claims = sums.of(board, worker_class)
    else:
        claims = spread_of([c[0] for t in board.proposals if (c := claim(board, t)) and c[1] == worker_class])
    if tree == board.champion or not champion or not found.dof or claims.count < _FEWEST:
        return None
    middle, spread = claims.mean, claims.variance
    real = max(spread - found.sd**2, 0.05 * spread)
    kept = real / (real + found.sd**2) if real else 0.0
    expected = middle + kept * (scored.value - middle)
    mean = mean_score(champion)
    gain = board.spec.objective.gain(expected, mean)
    error = math.sqrt(kept * found.sd**2 + found.sd**2 / len(champion))
    p = NormalDist().cdf(gain / error) if error else float(gain > 0)
    side = "better" if p >= 0.5 else "worse" if gain else "no better"
    text = (
        f"scored {scored.value:.6g}; expected score on a fresh seed {expected:.6g}, {side} than the champion "
        f"({chance(p)}); standard deviation between seeds {found.sd:.3g}"
    )
    return CritiquePosted(
        target=run,
        verdict="endorse" if p >= 0.5 else "warn",
        rule="beyond_noise" if p >= 0.5 else "within_noise",
        text=text,
        predicted=expected,
        confidence=round(max(p, 1 - p), 4),
    )
