"""What is odd about an arena that works: `mesh check` says it before a night is spent on it. Pure."""

import re

from mesh.size_names import exact_number
from mesh.slowness import seconds_text
from mesh.text import printable
from mesh_cli.setup.check_result import Checked
from mesh_cli.setup.size_trials import size_sentence
from mesh_cli.setup.time_metrics import is_rate, is_time

_LITTLE, _MUCH = 0.05, 0.8
_UNSTEADY = 0.2
"""Times of one program that differ by a greater share are said to be unsteady."""
_SHORT_S = 100.0
"""Budgets below it cost little, however little of them a run needs."""


def check_warnings(checked: Checked) -> list[str]:
    """Return one sentence for everything that works, but at a price."""
    return [
        *_about_time(checked),
        *_about_seeds(checked),
        *_about_output(checked),
        *_about_limits(checked),
        *_about_items(checked),
        *_about_sizes(checked),
    ]


def _about_time(checked: Checked) -> list[str]:
    metric, facts = checked.metric, checked.facts
    if not (is_time(metric) or is_rate(metric)):
        if facts and facts.budget_counts == "wall" and checked.slots > 1 and checked.shares_cores:
            return [
                f'runs are limited by the clock (trial.budget_counts = "wall"), and {checked.slots} at a time share '
                "the cores of this machine: how far one gets depends on the others, and what wins while they work may "
                "lose on a quiet machine. Start `mesh up` with --slots 1, set trial.exclusive = true, or end a run "
                "after a number of steps"
            ]
        return []
    said = []
    if checked.slots > 1 and not checked.exclusive:
        said.append(
            f"{printable(metric)} reads like a time, and this machine runs {checked.slots} trials at a time, "
            "which slow each other: set trial.exclusive = true"
        )
    times = [abs(score) for score in checked.scores if score]
    if len(times) > 1 and (spread := max(times) / min(times) - 1) > _UNSTEADY:
        why = "something else uses this machine, or it is short"
        if checked.load > checked.cores:
            why = f"other programs use this machine (load {checked.load:.1f} on {checked.cores} cores)"
        said.append(
            f"the same program got {printable(metric)} that differ by {spread:.0%}: {why}. A smaller gain takes many "
            "runs to prove: stop what else runs, or repeat the work inside of the program"
        )
    if facts and (facts.direction == "maximize") == is_time(metric):
        better = "higher" if facts.direction == "maximize" else "lower"
        kind = "time" if is_time(metric) else "rate"
        said.append(f"{printable(metric)} reads like a {kind}, and objective.direction says that {better} is better")
    return said


def _about_seeds(checked: Checked) -> list[str]:
    facts, scores = checked.facts, [*checked.scores, *checked.proof_scores]
    if not facts or len(scores) < 2:
        return []
    is_same = len(set(scores)) == 1
    if facts.noise == "none" and not is_same:
        return [
            'objective.noise is "none", but the baseline got different scores: leave it out, so that gains are proven '
            "on fresh seeds"
        ]
    if facts.noise == "measured" and is_same and not facts.reads_seed and not facts.own_seeds:
        return [
            "seeds do nothing: all runs got the same score, and no file reads MESH_SEED. If the score is exact, set "
            'objective.noise = "none", so that one run proves; else let the program draw with MESH_SEED. Where it is a '
            'mean over fixed cases, it says nothing about others: write noise = "items" in [objective], and the score '
            'of each case as {"values": [...]} to the file $MESH_ITEMS, or hold cases out (docs/howto/hold-out.md)'
        ]
    return []


def _about_output(checked: Checked) -> list[str]:
    facts = checked.facts
    if not facts or facts.how != "stdout" or not checked.baseline:
        return []
    output = checked.baseline[0].output
    try:
        found = re.findall(facts.pattern, output, re.MULTILINE)
    except re.error:
        return []
    different = list(dict.fromkeys(found))
    if len(different) < 2:
        return []
    listed = ", ".join(different[:3]) + (", ..." if len(different) > 3 else "")
    return [
        f"score.pattern matches {len(different)} different numbers of the output ({printable(listed)}), and the last "
        "one counts: make it match the result alone"
    ]


def _about_limits(checked: Checked) -> list[str]:
    facts = checked.facts
    if not facts or not checked.scores:
        return []
    said = []
    used = max(run.used_s for run in checked.baseline)
    share = used / facts.budget_s if facts.budget_s else 0.0
    if 0 < facts.limit_s < used / _MUCH:
        said.append(
            f"the baseline used {used:.1f} s, and a run ends after {facts.limit_s:g} s (trial.budget_s x "
            "budget_tolerance + startup_s): a candidate that is a little slower has no score; raise trial.budget_s"
        )
    elif share < _LITTLE and facts.budget_s >= _SHORT_S and facts.command:
        said.append(
            f"a run needs {seconds_text(used)} s of its budget of {facts.budget_s:g} s, and one that hangs takes all: "
            f"trial.budget_s = {_rounded(used)} is enough"
        )
    if facts.command and 0 < facts.deadline_s < (took := max(run.trial_s for run in checked.baseline)) / _MUCH:
        said.append(
            f"the baseline took {took:.1f} s by the clock, and trial.deadline_s is {facts.deadline_s:g} s: a run "
            "beside others is slower and has no score; raise trial.deadline_s"
        )
    if checked.slots * facts.memory_gb > facts.machine_gb > 0 and checked.slots > 1:
        peak = max(run.peak_memory_mb for run in checked.baseline) / 1024
        if checked.slots * peak > _MUCH * facts.machine_gb:
            said.append(
                f"{checked.slots} runs at a time may take {checked.slots * peak:.1f} of this machine's "
                f"{facts.machine_gb:.1f} GB of memory: start `mesh up` with fewer --slots"
            )
    return said


def _rounded(used_s: float) -> str:
    wanted = max(2.0, 5 * used_s)
    return f"{wanted:.0f}.0"


def _about_items(checked: Checked) -> list[str]:
    if not checked.same_items:
        return []
    return [
        f"search and proof have the same {checked.same_items:,} items, so every judged candidate counts as a test: "
        "after 100 candidates a gain must be so clear that luck shows it a hundred times less often; let the score "
        "program take other items for MESH_SPLIT=confirm than for search",
    ]


def _about_sizes(checked: Checked) -> list[str]:
    facts = checked.facts
    said = [size_sentence(tried, checked.metric) for tried in checked.sizes]
    pinned = {name for tried in checked.sizes for name, _, _ in tried.results}
    free = {name: value for name, value in checked.steady.items() if name not in pinned}
    if facts and facts.how in ("stdout", "file") and free and len(checked.baseline) > 1:
        lines = ", ".join(f'{printable(name)} = "== {exact_number(value)}"' for name, value in [*free.items()][:3])
        listed = ", ".join(f"{printable(name)} {exact_number(value)}" for name, value in [*free.items()][:3])
        said.append(
            f"all runs of the baseline gave {listed}, and no candidate has to: if each must, write {lines} under "
            "[objective.constraints]"
        )
    return said
