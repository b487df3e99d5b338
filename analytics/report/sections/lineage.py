"""How the champion came about: its ancestors, and what each changed."""

from collections.abc import Mapping

from analytics.report.code_diff import Diff, knob_words
from analytics.report.data import TRACED, ReportData, Step
from analytics.report.elements import Block, ChangeBlock, Section
from analytics.report.formatting import count, decimals, harmless, made_by, measured, score_text

KNOBS = 16
"""Knobs of a step that are shown if its title does not name them all."""


def lineage_section(data: ReportData, diffs: Mapping[str, Diff]) -> Section:
    """Return the ancestors of the champion, the latest first, and what each changed."""
    title = "Lineage of the champion"
    if not data.steps:
        return Section(title, ["No promotion yet: there is no champion."])
    steps = data.steps
    if len(steps) == 1:
        return Section(title, [f"The champion is “{harmless(steps[0].title)}”; it has no parent."])
    places = decimals(data)
    parents = dict(zip((s.proposal for s in steps), steps[1:], strict=False))
    blocks: list[Block] = [
        f"{count(len(steps) - 1, 'step')} from “{harmless(steps[-1].title, 80)}” to the champion, the latest first."
    ]
    shown = steps[:TRACED]
    blocks += [_change(data, step, parents.get(step.proposal), places, diffs) for step in shown]
    if len(steps) > len(shown):
        blocks.append(f"… and {count(len(steps) - len(shown), 'earlier step')}.")
    return Section(title, blocks)


def _change(data: ReportData, step: Step, parent: Step | None, places: int, diffs: Mapping[str, Diff]) -> ChangeBlock:
    about = [f"by {made_by(step.kind, step.author)}", f"mean {measured(step.value, places)}"]
    if parent and step.value.mean is not None and parent.value.mean is not None:
        gain = data.goal.sign * (step.value.mean - parent.value.mean)
        proof = "" if step.value.fresh and parent.value.fresh else ", not confirmed"
        about.append(f"{score_text(abs(gain), places)} {'better' if gain >= 0 else 'worse'} than its parent{proof}")
    about.append(step.state)
    if others := step.parents[1:]:
        about.append(f"crossed with {', '.join(other[:8] for other in others[:3])}")
    if step.rationale:
        about.append(harmless(step.rationale, 240))
    changes = [knob_words(change) for change in step.knobs]
    knobs = [] if all(change in step.title for change in changes) else [harmless(c, 80) for c in changes[:KNOBS]]
    if knobs and len(changes) > KNOBS:
        knobs.append(f"… and {len(changes) - KNOBS} more")
    return ChangeBlock(
        f"{harmless(step.title, 120)} ({step.proposal[:8]})",
        "; ".join(about),
        knobs,
        diffs.get(step.proposal, Diff(())),
    )
