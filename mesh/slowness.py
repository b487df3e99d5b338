"""How much longer than the baseline's the trials of the champion take, for listings. Pure.

Where no metric counts time, a search buys steps with it: five seconds become fifty. So time stands beside the score,
and a champion that is much slower is called so.
"""

MUCH_SLOWER = 2.0
"""The champion's mean seconds over the baseline's from which on it is called slower."""

LEAST_ADDED_S = 0.1
"""A smaller difference than this is that of a busy machine."""


def is_much_slower(champion_s: float | None, baseline_s: float | None) -> bool:
    """Tell whether the champion's trials take much longer than the baseline's.

    Args:
        champion_s: Mean wall seconds of a trial of the champion; None if they are not known.
        baseline_s: Those of the baseline.
    """
    if not champion_s or not baseline_s:
        return False
    return champion_s >= MUCH_SLOWER * baseline_s and champion_s - baseline_s >= LEAST_ADDED_S


def slower_sentence(champion_s: float | None, baseline_s: float | None) -> str:
    """Return by how much the champion is slower; "" if it is not much slower; arguments as of `is_much_slower`."""
    if not champion_s or not baseline_s or not is_much_slower(champion_s, baseline_s):
        return ""
    return (
        f"the champion is much slower than the baseline: a trial takes {seconds_text(champion_s)} s, "
        f"{champion_s / baseline_s:.1f} times as long as {seconds_text(baseline_s)} s"
    )


def seconds_text(value: float | None) -> str:
    """Return seconds with three digits or more, `-` if they are not known or nobody measured them."""
    if not value:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
