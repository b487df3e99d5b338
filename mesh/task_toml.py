"""Writes the text of an `arena.toml` for a task of another system. Pure."""

import re
from collections.abc import Iterable

from mesh.foreign_config import TaskOptions


def evaluated_toml(
    name: str,
    system: str,
    options: TaskOptions,
    *,
    objective: str,
    editable: tuple[str, ...],
    ignore: tuple[str, ...],
    modules: tuple[str, ...],
    score: str,
) -> str:
    """Return the `arena.toml` of a task whose evaluator runs the program."""
    brief = f"\nbrief = {long_text(options.brief)}" if options.brief else ""
    return f"""# The mesh wrote this file for {system}; change what you like.
[arena]
name = "{name}"
summary = {string(f"The task {name}")}{brief}

[objective]
{objective}

[artifact]
editable = {toml_list(editable)} # everything else is protected
{ignored_lines(ignore)}
[trial]                             # no command: the evaluator runs the program
budget_s = {options.timeout_s:.1f}
deadline_s = {options.timeout_s:.1f}
memory_gb = {options.memory_gb}
network = false
preload = {toml_list(modules)}          # imported once; each evaluation is a fork

[score]
{score}
deadline_s = {options.timeout_s:.1f}        # for the whole evaluation; every process of it is killed then
"""


def ignored_lines(patterns: tuple[str, ...]) -> str:
    """Return the lines of `artifact.ignore` with a comment, "" without patterns."""
    if not patterns:
        return ""
    why = "# As in .gitignore; ! takes what would be left out. Results, logs and what git ignores need no entry."
    return f"{why}\nignore = {toml_list(patterns)}\n"


def toml_list(words: Iterable[str]) -> str:
    """Return texts as a list of TOML on one line."""
    return f"[{', '.join(string(word) for word in words)}]"


def string(text: str) -> str:
    """Return a text as a string of TOML on one line."""
    return '"' + _escaped(text).replace("\n", "\\n") + '"'


def long_text(text: str) -> str:
    """Return a text as a string of TOML over several lines."""
    return f'"""\n{_escaped(text)}\n"""'


def _escaped(text: str) -> str:
    whole = text.replace("\r", "").replace("\\", "\\\\").replace('"', '\\"')
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", lambda found: _code_of(found[0]), whole)


def _code_of(character: str) -> str:
    number = ord(character)
    return "\\t" if number == 9 else "?" if 0xD800 <= number < 0xE000 else f"\\u{number:04x}"
