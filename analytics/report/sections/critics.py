"""What critics decided, and how well they forecast."""

from analytics.report.data import ReportData
from analytics.report.elements import FEW, Section, table_block
from analytics.report.formatting import harmless


def critics(data: ReportData) -> Section:
    """Return the verdicts of each critic and the error of its forecasts."""
    if not data.critics:
        return Section("Critics", ["No critic has judged a proposal yet."])
    rows = [
        (harmless(name, 40), *(f"{n:,}" for n in numbers), "–" if brier is None else f"{brier:.3f}")
        for name, *numbers, brier in data.critics
    ]  # fmt: skip
    header = "critic | endorsed | warned | blocked | endorsed champions | forecasts | Brier score"
    explained = "The Brier score is the mean squared error of the forecasts: 0 is perfect, 0.25 is a coin toss."
    return Section("Critics", [table_block(header, rows, limit=FEW), explained])
