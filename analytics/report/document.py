"""The report as a document: a verdict and sections of sentences, tables and steps, for a page in whatever format. Pure.

Other people's text in it is on one line and visible, but not escaped: that is each format's own.
"""

from collections.abc import Mapping, Sequence

import msgspec

from analytics.report.accounts import cost, critics, earned, outcomes
from analytics.report.blocks import Section
from analytics.report.changes import Diff
from analytics.report.facts import Facts
from analytics.report.story import dead_ends, lineage_section, noise_section, promotions
from analytics.report.verdict import verdict
from analytics.report.wording import harmless
from mesh.text import short
from mesh.times import duration


class Document(msgspec.Struct, frozen=True):
    """A report in words; `picture` says what the picture shows."""

    title: str
    summary: str
    verdict: str
    picture: str
    sections: list[Section]
    footer: str


def document(facts: Facts, diffs: Mapping[str, Diff], version: str) -> Document:
    """Return the report of these facts, with the changed lines of code that are known, by proposal."""
    goal = facts.goal
    state = f"closed ({goal.closed_because})" if goal.state == "closed" else "open"
    footer = (
        f"Arena {facts.arena}, version {goal.version}, {state}; as of sequence {goal.head:,} of its log "
        f"({goal.last_at[:19]} UTC, {duration(goal.elapsed_s)} after its opening); evaluator {short(goal.evaluator)}; "
        f"made by mesh {version}."
    )
    sections: Sequence[Section] = (
        promotions(facts),
        lineage_section(facts, diffs),
        noise_section(facts),
        outcomes(facts),
        cost(facts),
        earned(facts),
        critics(facts),
        dead_ends(facts),
    )
    return Document(
        title=f"{facts.arena}: {harmless(goal.metric, 60)}",
        summary=harmless(goal.summary, 400),
        verdict=verdict(facts),
        picture=_picture(facts),
        sections=list(sections),
        footer=footer,
    )


def _picture(facts: Facts) -> str:
    if not facts.runs:
        return "There is nothing to draw before the first run has finished."
    told = (
        "Every finished run in order. Grey: search that was discarded; green: search that led to a champion; blue: "
        "fresh seeds of races; orange: controls. The green staircase is the champion's mean over all its fresh seeds, "
        "with its 95 % interval; the dashed line is the best single score, which luck has a share in. Ticks below are "
        "runs without a score. Numbers refer to the promotions below."
    )
    own = " Scores are self-reported: the candidate's own code ran in the process that said them."
    return told + (own if facts.self_reported else "")
