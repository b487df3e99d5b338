"""How `mesh check` reads: sections of aligned lines, then what is odd, then the verdict."""

import math
import re
import statistics
import textwrap
from collections.abc import Iterator, Sequence

from mesh.events import Failed, Scored
from mesh.slowness import seconds_text
from mesh.text import printable
from mesh_cli.render.colour import Ink
from mesh_cli.render.columns import Column, aligned, cut_cell
from mesh_cli.setup.check_oddities import check_warnings
from mesh_cli.setup.check_result import NIGHT_H, BaselineRun, Checked

_LABEL, _USUAL_WIDTH, _LEAST_WIDTH = 12, 80, 40
_MOST_KNOBS = 12
_LOG_LINES = 6


def check_lines(checked: Checked, width: int | None = None, ink: Ink | None = None) -> list[str]:
    """Return what was found as lines for a person; the last one is the verdict.

    Args:
        checked: What was found.
        width: Columns of the terminal, None where there is none; sentences fold at 80 then.
        ink: How words are coloured.
    """
    ink, folds = ink or Ink(on=False), max(_LEAST_WIDTH, min(width or _USUAL_WIDTH, 100))
    sections = [[*_baseline(checked)], _files(checked), _data(checked)]
    lines = [f"{printable(checked.arena)}: {printable(checked.metric)}, {_better(checked)}"]
    for title, rows in zip(("baseline", "files", "data"), sections, strict=True):
        if rows:
            lines += ["", ink.sign("star", title), *(line for row in rows for line in _row(*row, folds))]
    lines += _knobs(checked, folds, ink)
    if checked.attacks:
        lines += ["", ink.sign("star", "attacks"), *_attacks(checked, width)]
    odd = check_warnings(checked)
    for title, sentences in (("next version", checked.next_version), ("odd", odd)):
        lines += ["", ink.sign("star", title)] if sentences else []
        for sentence in sentences:
            lines += textwrap.wrap(sentence, folds, initial_indent="  - ", subsequent_indent="    ",
                                   break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [*lines, "", _verdict(checked, len(odd), ink)]


def outcome_words(outcome: Scored | Failed, *, brief: bool = False) -> str:
    """Return an outcome in words."""
    if isinstance(outcome, Scored):
        return f"{outcome.value:.4f}"
    return outcome.reason if brief else f"{outcome.reason}: {printable(outcome.message)}"


def check_problems(checked: Checked) -> list[str]:
    """Return one sentence for everything that is not as it should be."""
    bad = [*_failures(checked), *filter(None, [checked.cure])]
    bad += [
        f"the baseline misses the threshold of stage {stage.name} on {stage.missed} of {len(stage.values)} seeds: "
        f"{printable(stage.metric)} must be {stage.threshold}; no threshold ends the baseline, but candidates like it"
        for stage in checked.stages
        if stage.missed
    ]
    return bad + [
        f"attack {printable(tried.name)!r} got {outcome_words(tried.outcome)}; expected: {' or '.join(tried.expect)}"
        for tried in checked.attacks
        if not tried.held
    ]


def _failures(checked: Checked) -> Iterator[str]:
    """Yield each cause of failed runs once, however many seeds it failed."""
    runs = (*checked.baseline, *checked.proof)
    causes: dict[tuple[str, str], list[BaselineRun]] = {}
    for run in runs:
        if isinstance(run.outcome, Failed):
            same = re.sub(r"\d+(?:\.\d+)?", "#", run.outcome.message)
            causes.setdefault((run.outcome.reason, same), []).append(run)
    for failed in causes.values():
        seeds = list(dict.fromkeys(run.seed for run in failed))
        where = (
            f"seed {seeds[0]}" if len(seeds) == 1
            else "every seed" if len(failed) == len(runs) else f"seeds {', '.join(map(str, seeds))}"
        )  # fmt: skip
        yield f"the baseline failed on {where}: {outcome_words(failed[0].outcome)}"


def _better(checked: Checked) -> str:
    if not checked.facts:
        return "the baseline"
    return "lower is better" if checked.facts.direction == "minimize" else "higher is better"


def _baseline(checked: Checked) -> Iterator[tuple[str, str]]:
    facts, scores = checked.facts, checked.scores
    seeds = f"{len(checked.baseline)} seed{'s' if len(checked.baseline) > 1 else ''}"
    if scores:
        own = "; the run reports it itself" if facts and facts.how != "command" else ""
        yield "score", f"{_digits(statistics.fmean(scores), scores)}   ({seeds}: {_listed(scores)}{own})"
        yield "noise", _noise(checked)
    else:
        yield "score", f"none   ({seeds})"
        ended = checked.baseline[0].outcome if checked.baseline else None
        if isinstance(ended, Failed):
            yield "because", outcome_words(ended)
        output = checked.baseline[0].output if checked.baseline else ""
        if facts and facts.how == "stdout" and isinstance(ended, Failed) and ended.reason == "no_score":
            output = ""  # the sentence says what it printed
        for number, line in enumerate(output.strip().splitlines()[-_LOG_LINES:]):
            yield "output" if not number else "", printable(line, 200)
    for stage in checked.stages:
        shown = ", ".join(f"{value:g}" for value in stage.values) or "no number"
        rule = f", must be {stage.threshold}" if stage.threshold else ""
        yield f"{stage.name}", f"{printable(stage.metric)} {shown}{rule}; {stage.seconds:.1f} s"
    if not scores:
        return
    trial, score = (statistics.fmean(getattr(run, key) for run in checked.baseline) for key in ("trial_s", "score_s"))
    limits = f", of a budget of {facts.budget_s:g} s" if facts else ""
    yield "one run", f"{seconds_text(trial)} s{f' and {seconds_text(score)} s to score' if score else ''}{limits}"
    at_a_time = "one at a time, on fixed cores (trial.exclusive)" if checked.exclusive else f"{checked.slots} at a time"
    yield "a night", f"about {_round(checked.a_night):,} runs in {NIGHT_H:g} hours, {at_a_time}"


def _noise(checked: Checked) -> str:
    facts = checked.facts
    scores = checked.proof_scores if len(checked.proof_scores) > 1 else checked.scores
    noise = facts.noise if facts else "measured"
    if noise == "items":
        return "measured over the items of a score (objective.noise)"
    if len(scores) < 2:
        return "not known from one seed"
    spread, mean = statistics.stdev(scores), abs(statistics.fmean(scores))
    if noise == "none":
        return 'exact on the same cases, by objective.noise = "none": one run proves, and says nothing about others'
    if not spread:
        return "none seen: the seeds got the same score, which is exact on the same cases and says nothing about others"
    share = f" ({100 * spread / mean:.2g} % of the score)" if mean else ""
    seeds = f"{facts.own_seeds} seed{'s' if facts.own_seeds > 1 else ''}" if facts else ""
    why = f", where proof replaces the {seeds} in the code" if checked.proof_scores else " between seeds"
    return f"± {spread:.2g}{share}{why}"


def _files(checked: Checked) -> list[tuple[str, str]]:
    facts = checked.facts
    if not facts:
        return []
    rows = [("may change", _named(facts.editable)), ("protected", _named(facts.protected) or "nothing else")]
    rows += [("hidden", f"{_named(facts.hidden)}   (only the score program sees it)")] if facts.hidden else []
    rows += [("left out", _named(facts.left_out))] if facts.left_out else []
    also = f", {_named(facts.readable)}" if facts.readable else ""
    return [*rows, ("readable", f"these files, Python and the system{also}; {facts.network}, no keys")]


def _data(checked: Checked) -> list[tuple[str, str]]:
    facts = checked.facts
    if not facts or not (facts.prepares or facts.leak_audit):
        return []
    rows = [("prepare", f"done in {seconds_text(checked.opening_s)} s")] if facts.prepares else []
    audit = {
        "refuse": "found nothing private where runs can read",
        "warn": "done; what it found is in the lines above",
        "off": "off (data.leak_audit)",
    }
    return [*rows, ("leak audit", audit[facts.leak_audit])] if facts.leak_audit else rows


def _knobs(checked: Checked, width: int, ink: Ink) -> list[str]:
    facts = checked.facts
    if not facts:
        return []
    count = len(facts.knobs)
    if not count:
        return ["", ink.sign("star", "knobs"), "  none: only a language model can propose (mesh up --model NAME)"]
    columns = [Column("name", fills=True), Column("value", right=True), Column("range"), Column("file", rank=1)]
    rows = [
        [printable(knob.name), knob.value, cut_cell(knob.range, 32), knob.file] for knob in facts.knobs[:_MOST_KNOBS]
    ]
    table = aligned(columns, rows, width - 2)
    more = [f"  and {count - _MOST_KNOBS} more"] if count > _MOST_KNOBS else []
    guessed = sum(knob.is_guess for knob in facts.knobs)
    follow = (
        f"guessed from the value: {guessed} of {count} ranges. The search moves such a range along where a better "
        "value comes near its end. To keep one, write it beside the value, such as `mesh: 0.1..10 log` in a comment"
    )
    note = [f"  {line}" for line in textwrap.wrap(follow, max(40, width - 2))] if guessed else []
    return ["", ink.sign("star", f"knobs ({count})"), *(f"  {line}".rstrip() for line in table), *more, *note]


def _attacks(checked: Checked, width: int | None) -> list[str]:
    columns = [
        Column("attack"),
        Column("expected", rank=2),
        Column("got"),
        Column("", rank=1),
        Column("it tries", rank=3, fills=True),
    ]
    rows = [
        [
            printable(tried.name),
            " or ".join(tried.expect),
            outcome_words(tried.outcome, brief=True),
            "held" if tried.held else "GOT THROUGH",
            printable(tried.tries),
        ]
        for tried in checked.attacks
    ]
    return [f"  {line}" for line in aligned(columns, rows, width - 2 if width else None)]


def _verdict(checked: Checked, odd: int, ink: Ink) -> str:
    if bad := len(check_problems(checked)):
        return ink.sign("bad", f"not ready: {bad} problem{'s' if bad > 1 else ''}")
    if odd:
        return ink.sign("warn", f"ready, with {odd} thing{'s' if odd > 1 else ''} to look at")
    return ink.sign("good", "ready")


def _row(label: str, text: str, width: int) -> list[str]:
    start = f"  {label:<{_LABEL}}"
    if not text:
        return [start.rstrip()]
    return textwrap.wrap(text, width, initial_indent=start, subsequent_indent=" " * (_LABEL + 2),
                         break_on_hyphens=False)  # fmt: skip


def _named(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


def _listed(scores: Sequence[float]) -> str:
    return ", ".join(_digits(score, scores) for score in scores[:5]) + (", ..." if len(scores) > 5 else "")


def _digits(value: float, scores: Sequence[float]) -> str:
    """Return a score with the digits that tell it from the others, at least four after the point below a thousand."""
    spread = max(scores) - min(scores)
    size = max(abs(value), 1e-12)
    needed = 1 - math.floor(math.log10(spread)) if spread > 0 else 4
    digits = min(12, max(4 if size < 1000 else 1, needed))
    return f"{value:.{digits}f}" if 1e-4 <= size < 1e9 or not value else f"{value:.6g}"


def _round(count: int) -> int:
    return count if count < 100 else int(float(f"{count:.2g}"))
