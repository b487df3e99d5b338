"""The sections that tell what was found: promotions, lineage, noise and confirmations, dead ends. Pure."""

from collections import Counter
from collections.abc import Mapping

from analytics.report.blocks import FEW, ROWS, Block, ChangeBlock, Section, table_block
from analytics.report.changes import Diff, knob_words
from analytics.report.facts import TRACED, Facts, Promotion, Step
from analytics.report.wording import count, decimals, harmless, measured, score_text, signed, spaced

KNOBS = 16
"""Knobs of a step that are shown, where its title does not name them all."""
_ENOUGH = 3
"""Times that a knob was turned before it counts as turned in vain."""


def promotions(facts: Facts) -> Section:
    """Return who was champion, in order."""
    if not facts.promotions:
        searched = sum(run.lane == "explore" for run in facts.runs)
        led = f"none of {count(searched, 'run')} of search led to a proven improvement"
        return Section("Promotions", [f"No promotion yet: {led if searched else 'no run of search has finished'}."])
    places, shown = decimals(facts), facts.promotions
    if len(shown) > ROWS:
        shown = [*shown[: ROWS // 2], *shown[-ROWS // 2 :]]
    rows = [_reign(promotion, places) for promotion in shown]
    listed = table_block(
        "# | after run | proposal | by | mean ± 95 % | fresh seeds | gain | P(better) | now", rows, {2, 3, 8}
    )
    missing = len(facts.promotions) - len(shown)
    blocks: list[Block] = [listed]
    if missing:
        blocks.append(f"{missing} promotions between the first and the last {ROWS // 2} are left out.")
    if facts.self_reported:
        blocks.append("* self-reported: the candidate's own code ran in the process that said this number.")
    return Section("Promotions", blocks)


def _reign(p: Promotion, places: int) -> tuple[str, ...]:
    better = "–" if p.p_better is None else f"{p.p_better:.3f}" if p.p_better < 0.9995 else ">0.999"
    return (
        str(p.number),
        f"{p.after_runs:,}",
        f"{harmless(p.title, 110)} ({p.proposal[:8]})",
        f"{harmless(p.kind, 40)}, {harmless(p.author, 30)}",
        measured(p.value, places),
        str(p.value.fresh),
        signed(p.gain, places),
        better,
        p.state,
    )


def lineage_section(facts: Facts, diffs: Mapping[str, Diff]) -> Section:
    """Return the way to the champion, nearest first, with what each step changed."""
    title = "Where the champion comes from"
    if not facts.steps:
        return Section(title, ["No promotion yet: there is no champion to trace."])
    steps = facts.steps
    if len(steps) == 1:
        return Section(title, [f"The champion is {harmless(steps[0].title)}: nothing came before it."])
    places = decimals(facts)
    parents = dict(zip((s.proposal for s in steps), steps[1:], strict=False))
    blocks: list[Block] = [
        f"{count(len(steps) - 1, 'step')} from {harmless(steps[-1].title, 80)} to the champion, nearest first."
    ]
    shown = steps[:TRACED]
    blocks += [_change(facts, step, parents.get(step.proposal), places, diffs) for step in shown]
    if len(steps) > len(shown):
        blocks.append(f"… and {count(len(steps) - len(shown), 'step')} before.")
    return Section(title, blocks)


def _change(facts: Facts, step: Step, parent: Step | None, places: int, diffs: Mapping[str, Diff]) -> ChangeBlock:
    about = [f"{harmless(step.kind, 40)}, {harmless(step.author, 30)}", measured(step.value, places)]
    if parent and step.value.mean is not None and parent.value.mean is not None:
        gain = facts.goal.sign * (step.value.mean - parent.value.mean)
        proof = "" if step.value.fresh and parent.value.fresh else ", not proven"
        about.append(f"gain {signed(gain, places)}{proof}")
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


def noise_section(facts: Facts) -> Section:
    """Return how much scores scatter, and what became of claims on fresh seeds."""
    title, places = "Noise and confirmations", decimals(facts)
    if facts.goal.exact:
        return Section(title, ["The metric is exact (noise = none in the arena): a score needs no confirmation."])
    blocks: list[Block] = []
    rows = [
        (harmless(where, 40), score_text(sd, places), f"{dof:,}", f"{runs:,}", f"{proposals:,}")
        for where, proposals, runs, dof, sd in facts.noise
    ]
    if rows:
        blocks.append(table_block("worker class | sd between seeds | degrees of freedom | runs | proposals", rows))
    else:
        blocks.append("Noise is not measured yet: no proposal has two fresh scores.")
    tried = [
        m
        for tree, m in facts.measured.items()
        if m.fresh and m.claimed is not None and m.mean is not None and tree != facts.goal.base_tree
    ]
    if not tried:
        return Section(title, [*blocks, "No claim of search was tried on fresh seeds yet."])
    states = Counter(m.state for m in tried)
    fell = f", {count(states['demoted'], 'was', 'were')} demoted later" if states["demoted"] else ""
    won, lost = states["champion"] + states["past_champion"], states["retired"]
    rest = len(tried) - won - lost - states["demoted"]
    blocks.append(
        f"{count(len(tried), 'claim')} of search met fresh seeds: {won} became champion{fell}, "
        f"{count(lost, 'was', 'were')} given up{f', {rest} not decided' if rest else ''}."
    )
    luck = sum(facts.goal.sign * ((m.claimed or 0.0) - (m.mean or 0.0)) for m in tried) / len(tried)
    held = "better" if luck > 0 else "worse"
    blocks.append(
        f"The score they were found by was on average {score_text(abs(luck), places)} {held} than fresh seeds bore out."
    )
    return Section(title, blocks)


def dead_ends(facts: Facts) -> Section:
    """Return where search went in vain."""
    failed = [(spaced(reason), harmless(said), f"{number:,}") for reason, said, number in facts.failures]
    blocked = [(harmless(spaced(rule or "no rule"), 60), f"{number:,}") for rule, number in facts.blocks]
    vain = [
        (harmless(name or "–", 60), harmless(file or "–", 60), f"{number:,}")
        for file, name, number, reigned in facts.knobs
        if not reigned and number >= _ENOUGH
    ]
    fallen = [(str(p.number), harmless(p.title, 100)) for p in facts.promotions if p.state == "demoted"]
    blocks: list[Block] = [
        table_block(header, rows, words, FEW)
        for header, rows, words in (
            ("failed by | in the words of the worker (numbers as …) | runs", failed, {0, 1}),
            ("blocked by a critic as | proposals", blocked, {0}),
            ("knob that never led to a champion | file | times turned", vain, {0, 1}),
            ("# | demoted: controls did not bear it out", fallen, {1}),
        )
        if rows
    ]
    nothing = "None is known yet: no run failed, no critic blocked, and no knob was turned in vain."
    return Section("Dead ends", blocks or [nothing])
