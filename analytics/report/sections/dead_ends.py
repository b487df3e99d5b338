"""What did not work: failures, blocked proposals, knobs without effect, demoted champions."""

from analytics.report.data import ReportData
from analytics.report.elements import FEW, Block, Section, table_block
from analytics.report.formatting import harmless, spaced

_ENOUGH = 3
"""Times that a knob was changed before it counts as a dead end."""


def dead_ends(data: ReportData) -> Section:
    """Return what did not work."""
    failed = [(spaced(reason), harmless(message), f"{number:,}") for reason, message, number in data.failures]
    blocked = [(harmless(spaced(rule or "no rule"), 60), f"{number:,}") for rule, number in data.blocked]
    useless = [
        (harmless(name or "–", 60), harmless(file or "–", 60), f"{number:,}")
        for file, name, number, reigned in data.knobs
        if not reigned and number >= _ENOUGH
    ]
    demoted = [(str(p.number), harmless(p.title, 100)) for p in data.promotions if p.state == "demoted"]
    blocks: list[Block] = [
        table_block(header, rows, words, FEW)
        for header, rows, words in (
            ("failure | message of the worker (numbers shown as …) | runs", failed, {0, 1}),
            ("blocked by the critic rule | proposals", blocked, {0}),
            ("knob that never led to a champion | file | times changed", useless, {0, 1}),
            ("# | demoted champion: control runs did not confirm it", demoted, {1}),
        )
        if rows
    ]
    nothing = "No dead end is known yet: no run failed, no proposal was blocked, and no champion was demoted."
    return Section("Dead ends", blocks or [nothing])
