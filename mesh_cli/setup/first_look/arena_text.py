"""The text of a new `arena.toml`, with comments for the person who reads it. Pure."""

import math
import re

import msgspec

from mesh.size_names import exact_number
from mesh.spec import Direction
from mesh.task_toml import string, toml_list
from mesh_cli.setup.first_look.asked_models import USD, AskedModels
from mesh_cli.setup.first_look.run_lines import shown_command
from mesh_cli.setup.time_metrics import is_rate, is_time

_COLUMN = 36


class ArenaPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a new arena is, before it is written.

    Attributes:
        name: the arena's.
        editable: files and patterns that may change.
        run: the command of a trial.
        budget_s: seconds of a trial.
        metric: the number to improve.
        direction: which way it is better.
        pattern: where the trial prints it: a regular expression with one group; "" if it does not.
        file: the file that the trial writes it to, and `key` its key there; "" if it does not.
        key: its key.
        scorer: the program that scores a finished trial; empty if there is none.
        environment: key and value of `[environment]`, empty for none.
        writes: other files that the run writes, such as a table of its results.
        ignore: patterns of what does not belong to the program.
        brief: the file with words for agents, "" for none.
        results: other numbers that the run prints, which a better program may have to keep: a checksum, a count.
        required: those that every candidate must give, with their values.
        fixed: knobs that stay: they look like the size of the problem.
        asked: the models that the score program asks, None for none.
        source: a file or folder too large for an artifact, which trials find at its place; "" for none.
    """

    name: str
    editable: tuple[str, ...]
    run: tuple[str, ...]
    budget_s: float
    metric: str
    direction: Direction
    pattern: str = ""
    file: str = ""
    key: str = ""
    scorer: tuple[str, ...] = ()
    environment: tuple[str, str] | tuple[()] = ()
    writes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    brief: str = ""
    source: str = ""
    results: tuple[str, ...] = ()
    required: tuple[tuple[str, float], ...] = ()
    fixed: tuple[str, ...] = ()
    asked: AskedModels | None = None


def arena_text(plan: ArenaPlan) -> str:
    """Return the `arena.toml` of a plan."""
    way = "Lower" if plan.direction == "minimize" else "Raise"
    summary = f"{way} {plan.metric} by changing {', '.join(plan.editable[:3])}"
    parts = [
        "# What is improved here, and how it is measured. `mesh init` wrote this file: change what you like.",
        "# Try it: mesh check. Run it: mesh up. All keys: docs/reference/arena.md",
        "",
        "[arena]",
        f"name = {string(plan.name)}",
        f"summary = {string(summary)}",
    ]
    parts += [_noted(f"brief = {string(plan.brief)}", "your words, which models read")] if plan.brief else []
    better = "lower" if plan.direction == "minimize" else "higher"
    parts += ["", "[objective]", f"metric = {string(plan.metric)}"]
    parts += [_noted(f'direction = "{plan.direction}"', f"{better} is better")]
    if plan.scorer:
        parts += [
            "# Of fixed cases the score is exact, and says nothing about others. To prove gains by the cases, write",
            '# noise = "items", and the score of each case as {"values": [...]} to $MESH_ITEMS (docs/selection.md)',
        ]
    parts += _required_lines(plan)
    parts += [
        "",
        "[artifact]",
        _noted(f"editable = {toml_list(plan.editable)}", "what may change; all else is protected"),
    ]
    if plan.writes:
        parts += [_noted(f"writes = {toml_list(plan.writes)}", "what a run may write in its own copy")]
    if plan.ignore:
        parts += [_noted("ignore = [", "what lies here and is no part of the program")]
        parts += [f"    {line}" for line in _wrapped(plan.ignore)] + ["]"]
    if plan.source:
        parts += _data_lines(plan.source)
    if plan.environment:
        key, value = plan.environment
        built = "the environment with the packages" if key == "python" else "workers install these packages once"
        parts += ["", "[environment]", _noted(f"{key} = {string(value)}", built)]
    parts += ["", "[trial]", *_trial_lines(plan), *_judge_lines(plan.asked), "", "[score]", *_score_lines(plan)]
    if plan.fixed:
        bounds = ", ".join(f'{string(name)} = "fixed"' for name in plan.fixed)
        parts += [
            "",
            "[knobs]",
            "# These read like the size of the problem, and a smaller problem is no gain. Take out what may change.",
            f"bounds = {{{bounds}}}",
        ]
    return "\n".join(parts) + "\n"


def _required_lines(plan: ArenaPlan) -> list[str]:
    if plan.required:
        each = ", ".join(f'{string(name)} = "== {exact_number(value)}"' for name, value in plan.required)
        return [_noted(f"constraints = {{{each}}}", "every candidate must give the same")]
    if not plan.results:
        return []
    each = ", ".join(f'{string(name)} = "== VALUE"' for name in plan.results)
    return [
        f"# The run also prints {', '.join(plan.results)}. If every candidate must give the same, take the values that",
        f"# `mesh check` shows, and write: constraints = {{{each}}}",
    ]


def _trial_lines(plan: ArenaPlan) -> list[str]:
    if plan.run == ("true",):
        return [
            _noted('command = ["true"]', "nothing to run: the score program reads the files"),
            "budget_s = 1.0",
            "deadline_s = 60.0",
        ]
    deadline_s = math.ceil(max(60.0, 4 * plan.budget_s))
    lines = [
        f"command = {toml_list(plan.run)}",
        _noted(f"budget_s = {float(plan.budget_s)}", "CPU seconds (of a GPU: seconds); a run that uses more ends"),
        _noted(f"deadline_s = {float(deadline_s)}", "by the clock; all processes of a run end then"),
    ]
    if is_time(plan.metric) or is_rate(plan.metric):
        kind = "time" if is_time(plan.metric) else "rate"
        lines.append(_noted("exclusive = true", f"{plan.metric} is a {kind}: runs are measured one at a time"))
    return lines


def _judge_lines(asked: AskedModels | None) -> list[str]:
    if not asked:
        return []
    lines = [
        "",
        "[judge]",
        "# Trials have no network: the score program asks the model, through a proxy that keeps the key and counts.",
        _noted(f"models = {toml_list(asked.models or ('MODEL',))}", "the only models that it may ask"),
    ]
    if asked.upstream:
        return [*lines, _noted(f"upstream = {string(asked.upstream)}", "your server"), "calls_per_run = 1000"]
    lines += [_noted(f"key = {string(asked.key)}", "set it where `mesh up` runs: export it")]
    return [*lines, _noted(f"usd = {USD}", "most dollars of all calls"), "calls_per_run = 1000"]


def _score_lines(plan: ArenaPlan) -> list[str]:
    if plan.scorer:
        found = f"# Its last line is JSON with the metric: {{{string(plan.metric)}: 0.5}}"
        if plan.pattern:
            found = f"pattern = {_literal(plan.pattern)}"
        return [
            _noted('how = "command"', "a protected program scores after the run has ended:"),
            f"command = {toml_list(plan.scorer)}",
            found,
            f"deadline_s = {_deadline_of_score(plan)}",
        ]
    if plan.file:
        return [
            _noted('how = "file"', "the run writes its score into a file"),
            f"file = {string(plan.file)}",
            f"{'column' if plan.file.endswith(('.csv', '.tsv')) else 'key'} = {string(plan.key or plan.metric)}",
        ]
    lines = [
        _noted('how = "stdout"', "the run prints its score; the last match counts:"),
        f"pattern = {_literal(plan.pattern)}",
    ]
    if any(name in plan.run for name in plan.editable) or not _is_script_protected(plan):
        lines += [
            "# What may change prints its own score, so a model could make it print a better number. Where you",
            '# do not trust what proposes, let a program of yours score: how = "command".',
        ]
    return lines


def _deadline_of_score(plan: ArenaPlan) -> float:
    if plan.asked:
        return max(600.0, plan.budget_s)  # models answer slowly
    return max(60.0, plan.budget_s) if plan.run == ("true",) else 60.0


def _is_script_protected(plan: ArenaPlan) -> bool:
    return any(re.search(r"\.\w+$", word) and word not in plan.editable for word in plan.run)


def _data_lines(source: str) -> list[str]:
    is_file = bool(re.search(r"\.\w+$", source))
    above = source.rpartition("/")[0]
    copy = f'mkdir -p {above} && cp "$MESH_SOURCE" {source}' if above else f'cp "$MESH_SOURCE" {source}'
    copy = copy if is_file else f'cp -r "$MESH_SOURCE" {source}'
    return [
        f"# {source} is too large for an artifact. It is stored once, and every run finds it at its place.",
        f"prepare = {toml_list(['sh', '-c', copy])}",
        f"prepared = {toml_list([source if is_file else f'{source}/**'])}",
        "",
        "[data]",
        f"source = {string(source)}",
        'leak_audit = "off"                  # runs may read all of it',
    ]


def _wrapped(patterns: tuple[str, ...]) -> list[str]:
    lines, line = list[str](), ""
    for pattern in patterns:
        word = f"{string(pattern)}, "
        if len(line) + len(word) > 90:
            lines.append(line.rstrip())
            line = ""
        line += word
    return [*lines, line.rstrip()]


def _literal(text: str) -> str:
    return f"'{text}'" if "'" not in text and text.isprintable() else string(text)


def _noted(line: str, comment: str) -> str:
    return f"{line:<{_COLUMN}}# {comment}" if len(line) < _COLUMN else f"{line}  # {comment}"


def command_words(plan: ArenaPlan) -> str:
    """Return the command that runs a plan as a person types it."""
    return shown_command(plan.scorer if plan.run == ("true",) else plan.run)
