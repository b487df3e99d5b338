"""The score of the champion beside that of the baseline, as data and in words. Pure."""

from typing import Any

from mesh.leaderboard import Ranking
from mesh.proposal_numbers import known_gain
from mesh.text import needed_places, plain_number, signed_gain


def scores_of(ranking: Ranking) -> dict[str, Any]:
    """Return the means of champion and baseline, the champion's 95 % interval and its gain; None where unknown."""
    board = ranking.board
    base_tree = board.opened.base_tree if board.opened else ""
    base, best = (ranking.of(tree) if board.opened else None for tree in (base_tree, board.champion))
    gain = known_gain(ranking, board.champion, base_tree) if base else None
    return {
        "metric": board.spec.objective.metric if board.opened else "",
        "champion_mean": best.mean if best else None,
        "champion_low": best.low if best else None,
        "champion_high": best.high if best else None,
        "champion_is_baseline": bool(board.opened and board.champion == base_tree),
        "baseline_mean": base.mean if base else None,
        "gain": gain.value if gain else None,
        "is_side_by_side": gain is not None and gain.is_side_by_side,
        "places": ranking.places if board.opened else needed_places([]),
    }


def score_words(row: dict[str, Any]) -> str:
    """Return the champion's score and its gain, or the baseline's score; "" without any."""
    places = row["places"]
    base = "" if row["baseline_mean"] is None else plain_number(row["baseline_mean"], places)
    if row["champion_mean"] is None:
        return f"{row['metric']} {base} (the baseline)" if base else ""
    words = f"{row['metric']} {plain_number(row['champion_mean'], places)}"
    if row["champion_low"] is not None and row["champion_low"] != row["champion_high"]:
        low, high = (plain_number(row[name], places) for name in ("champion_low", "champion_high"))
        words += f" (95 %: {low} … {high})"
    if row["champion_is_baseline"]:
        return f"{words}, the baseline"
    if row["gain"] is None:
        return words
    gain = signed_gain(row["gain"], places)
    if row["is_side_by_side"]:
        return f"{words}, gain {gain} in runs side by side with the baseline, whose mean is {base}"
    return f"{words}, gain {gain} over the baseline {base}"
