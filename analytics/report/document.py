"""The report as a document: a headline and sections of sentences, tables and steps, for every format. Pure.

Other people's text in it is one line without invisible characters; each format escapes it.
"""

from collections.abc import Mapping, Sequence

import msgspec

from analytics.report.code_diff import Diff
from analytics.report.data import ReportData
from analytics.report.elements import Section
from analytics.report.formatting import harmless
from analytics.report.headline import headline
from analytics.report.sections.authors import authors, members
from analytics.report.sections.cost import cost
from analytics.report.sections.critics import critics
from analytics.report.sections.dead_ends import dead_ends
from analytics.report.sections.lineage import lineage_section
from analytics.report.sections.noise import noise_section
from analytics.report.sections.outcomes import outcomes
from analytics.report.sections.promotions import promotions
from mesh.text import short
from mesh.times import duration


class Document(msgspec.Struct, frozen=True):
    """A report in words; `picture` is the caption of the picture, `remarks` are sentences below the headline."""

    title: str
    summary: str
    headline: str
    picture: str
    sections: list[Section]
    footer: str
    remarks: tuple[str, ...] = ()


def document(data: ReportData, diffs: Mapping[str, Diff], version: str, *, remarks: Sequence[str] = ()) -> Document:
    """Return the report of these data.

    Args:
        data: what was read from the views.
        diffs: the changed lines of code that are known, by proposal.
        version: the version of the mesh.
        remarks: what else a reader must know, in sentences.
    """
    goal = data.goal
    state = f"closed ({goal.closed_because})" if goal.state == "closed" else "open"
    footer = (
        f"Arena {data.arena}, version {goal.version}, {state}; as of entry {goal.head:,} of its log "
        f"({goal.last_at[:19]} UTC, {duration(goal.elapsed_s)} after its opening); evaluator {short(goal.evaluator)}; "
        f"made by mesh {version}."
    )
    sections: Sequence[Section] = (
        promotions(data),
        lineage_section(data, diffs),
        noise_section(data),
        outcomes(data),
        cost(data),
        members(data),
        authors(data),
        critics(data),
        dead_ends(data),
    )
    return Document(
        title=f"{data.arena}: {harmless(goal.metric, 60)}",
        summary=harmless(goal.summary, 400),
        headline=headline(data),
        picture=_picture(data),
        sections=list(sections),
        footer=footer,
        remarks=tuple(harmless(remark, 500) for remark in remarks),
    )


def _picture(data: ReportData) -> str:
    if not data.runs:
        return "There is no picture yet: no run has finished."
    caption = (
        "Each dot is a finished run, in order. Grey: search runs that led nowhere. Green: search runs of proposals "
        "that became champion. Blue: confirmation runs. Orange: control runs. The green staircase is the champion's "
        "mean over its fresh seeds, with its 95 % interval. The dashed line is the best single score, which "
        "includes luck. Ticks below the plot are runs without a score. The numbers are those of the promotions below."
    )
    if data.is_thinned:
        caption += f" Of {data.finished:,} runs {len(data.runs):,} are drawn; the numbers beside them count all."
    self_reported = " Scores are self-reported: the candidate's own code ran in the process that computed them."
    return caption + (self_reported if data.self_reported else "")
