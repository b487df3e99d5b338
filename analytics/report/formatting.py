"""Scores, durations, prices and other people's text, formatted for a reader. Pure."""

import math

from analytics.report.data import Measured, ReportData
from mesh.text import signed_number, visible


def harmless(text: str, limit: int = 160) -> str:
    """Return a text on one line, without characters that cannot be seen, cut at `limit` characters."""
    shown = visible(" ".join(text[: 4 * limit].split()))
    return shown if len(shown) <= limit else f"{shown[: limit - 1].rstrip()}…"


def decimals(data: ReportData) -> int:
    """Return with how many decimals scores are shown.

    Two digits of the champion's interval, else of the noise, else of the smallest gain are shown.
    """
    champion = data.champion.value if data.champion else data.baseline
    spread = half(champion) or min((row[4] for row in data.noise if row[4]), default=0.0)
    spread = spread or min((abs(p.gain) for p in data.promotions if p.gain), default=0.0)
    if not spread:
        values = [abs(run.value) for run in data.runs if run.value]
        spread = (sorted(values)[len(values) // 2] if values else 1.0) / 100
    return max(0, min(9, 1 - math.floor(math.log10(spread))))


def half(value: Measured) -> float | None:
    """Return half the width of an interval; None where there is none, or where the metric is exact."""
    return (value.high - value.low) / 2 or None if value.low is not None and value.high is not None else None


def score_text(value: float | None, places: int) -> str:
    """Return a score; a dash where there is none."""
    if value is None:
        return "–"
    if abs(value) >= 1e9:
        return f"{value:.5g}"
    if value and abs(value) < 0.5 * 10.0**-places:
        return signed_number(value, places).removeprefix("+").replace("-", "−", 1 if value < 0 else 0)
    return f"{value:,.{places}f}".replace("-", "−")


def signed(value: float | None, places: int) -> str:
    """Return a difference with its sign."""
    return "–" if value is None else f"{'+' if value >= 0 else ''}{score_text(value, places)}"


def percent_change(change: float) -> str:
    """Return a change in percent with its sign; below 1 % in two digits, such as -0.47 %."""
    percents = 100 * change
    shown = f"{percents:+.0f}" if abs(percents) >= 1 or not percents else f"{percents:+.2g}"
    if "e" in shown:
        shown = signed_number(percents, 2)
    return f"{shown.replace('-', '−', 1) if percents < 0 else shown} %"


def measured(value: Measured, places: int) -> str:
    """Return a mean ± half of its interval; an asterisk marks a self-reported score."""
    width = half(value)
    plus = f" ± {score_text(width, places)}" if width is not None else ""
    claim = " (claimed)" if value.mean is not None and not value.fresh else ""
    return f"{score_text(value.mean, places)}{'*' if value.self_reported else ''}{plus}{claim}"


def made_by(kind: str, author: str) -> str:
    """Return who made a proposal: the agent, and the sampler or model that it used."""
    return f"{harmless(author, 30)} ({harmless(kind, 40)})"


def percent(part: float, whole: float) -> str:
    """Return a share; "<1 %" where there is something."""
    if not whole:
        return "–"
    share = 100 * part / whole
    return "<1 %" if 0 < share < 1 else f"{share:.0f} %"


def dollars(value: float | None) -> str:
    """Return a price in dollars, or "not known"."""
    return "not known" if value is None else f"${value:,.2f}" if value >= 0.01 or not value else f"${value:.4f}"


def count(number: int, noun: str, many: str = "") -> str:
    """Return a number with its noun in the right form."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def spaced(name: str) -> str:
    """Return a name in words: `not_better` as "not better"."""
    return name.replace("_", " ")
