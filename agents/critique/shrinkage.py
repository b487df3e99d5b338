"""What a critic makes of a score: how likely the proposal is better than the champion, luck taken off. Pure.

The score is shrunk towards the mean of all claims by the arena's noise (Efron and Morris, 1975: a score is the better
the luckier, the more were drawn). The chance that what is left beats the champion's fresh mean is the forecast.
"""

import math
import statistics

from mesh.board import Board
from mesh.events import CritiquePosted
from mesh.evidence import claim, fresh, noise

_FEWEST = 5
"""Claims without which nothing is known of their spread."""


def judge_score(board: Board, run: str) -> CritiquePosted | None:
    """Return the word on a run of search that has got a score; None where too little is known, or nobody reigns."""
    its = board.runs.get(run)
    if its is None or its.value is None or its.requested.lane != "explore" or not its.finished or not board.champion:
        return None
    worker_class, tree = its.finished.worker_class, its.requested.proposal
    champion = list(fresh(board, board.champion, worker_class).values())
    found = noise(board, worker_class)
    claims = [c[0] for other in board.proposals if (c := claim(board, other)) and c[1] == worker_class]
    if tree == board.champion or not champion or not found.dof or len(claims) < _FEWEST:
        return None
    middle, spread = statistics.fmean(claims), statistics.variance(claims)
    real = max(spread - found.sd**2, 0.05 * spread)
    kept = real / (real + found.sd**2) if real else 0.0
    expected = middle + kept * (its.value - middle)
    mean = statistics.fmean(champion)
    gain = board.spec.objective.gain(expected, mean)
    error = math.sqrt(kept * found.sd**2 + found.sd**2 / len(champion))
    p = statistics.NormalDist().cdf(gain / error) if error else float(gain > 0)
    side = "better" if p >= 0.5 else "worse"
    text = (
        f"scored {its.value:.6g}; expected score on a fresh seed {expected:.6g}, {side} than the champion "
        f"(chance to be better: {p:.0%}; standard deviation between seeds: {found.sd:.3g})"
    )
    return CritiquePosted(
        target=run,
        verdict="endorse" if p >= 0.5 else "warn",
        rule="beyond_noise" if p >= 0.5 else "within_noise",
        text=text,
        predicted=expected,
        confidence=round(max(p, 1 - p), 4),
    )
