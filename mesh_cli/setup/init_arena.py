"""`mesh init`: looks at a folder, asks three questions, and writes a commented `arena.toml`.

What a program prints is read from its text. It is executed only if the person agrees; `mesh check` then runs it.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from mesh.arena import load_arena
from mesh.arena_files import read_arena
from mesh.editable_paths import editable_paths
from mesh.errors import BadArena, BadInput
from mesh.foreign_folder import describe
from mesh.knobs import knobs_of
from mesh.loop_reading import LoopWish
from mesh.size_names import is_size_name
from mesh.text import printable
from mesh_cli.arenas import names as template_names
from mesh_cli.setup.first_look.arena_text import arena_text
from mesh_cli.setup.first_look.folder_view import FolderView, view_folder
from mesh_cli.setup.first_look.guesses import Guesses, guess
from mesh_cli.setup.first_look.run_lines import AGENT_NOTES, shown_command
from mesh_cli.setup.init_plan import BACKUP, AskPerson, InitWish, asked_plan
from mesh_cli.setup.own_environment import agree_on_environment, own_folder
from mesh_cli.setup.size_trials import may_be_size

_TABLES = (".csv", ".tsv", ".jsonl", ".xlsx", ".xls", ".parquet", ".xml")


def init_arena(folder: Path, wish: InitWish, ask: AskPerson | None, say: Callable[[str], object]) -> Path:
    """Write an `arena.toml` into a folder; return its path.

    Args:
        folder: the folder of a script or a program.
        wish: what the options say.
        ask: asks the person; None where there is nobody to ask.
        say: takes a line about what was seen and done.

    Raises:
        BadInput: the folder cannot be used, or something is not clear and nobody can be asked; it names the option.
        BadArena: there is an `arena.toml`, or the answers make none that works.
    """
    toml = folder / "arena.toml"
    view = view_folder(folder)
    if toml.exists() and not wish.force:
        raise BadArena(f"{toml} exists: change it there, or give --force to write another and keep it as {BACKUP}")
    if toml.exists() and not os.access(toml, os.R_OK):
        raise BadArena(f"{toml} cannot be read by you: change its rights (`chmod u+r {toml}`)")
    _refuse_without_program(view)
    before = _kept(toml)
    try:
        if not wish.is_own and (told := _foreign(folder, wish, ask, say)):
            say(told)
            agree_on_environment(folder, _wanted_environment(folder, wish))
            return toml
        found = guess(view)
        for line in seen_lines(view, found):
            say(line)
        plan = asked_plan(view, found, wish, ask)
        toml.write_text(arena_text(plan), encoding="utf-8")
        if fixed := _sizes(folder, ask if not wish.yes else None, say):
            toml.write_text(arena_text(replace(plan, fixed=fixed)), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{toml} cannot be written: {error.strerror}") from None
    except BaseException:
        if before and not toml.exists():
            before.rename(toml)
        raise
    say("")
    say(f"wrote {toml}" + (f"; the former one is {before}" if before else ""))
    load_arena(folder)
    return toml


def _wanted_environment(folder: Path, wish: InitWish) -> str | None:
    """Return the environment for a task of another system: the one that was named, with --yes that of its folder."""
    return wish.environment or (own_folder(folder) or None if wish.yes else None)


def _sizes(folder: Path, ask: AskPerson | None, say: Callable[[str], object]) -> tuple[str, ...]:
    """Return the knobs that are to stay, because they read like the size of the problem."""
    spec = load_arena(folder)
    files = read_arena(folder, spec).files
    knobs = knobs_of(files, [name for name in editable_paths(spec, files) if name in files], spec.knobs)
    names = tuple(dict.fromkeys(knob.name for knob in knobs if may_be_size(knob) and is_size_name(knob.name)))
    if not names:
        return ()
    listed = ", ".join(names[:6]) + (" and more" if len(names) > 6 else "")
    they, them = ("They read", "them") if len(names) > 1 else ("It reads", "it")
    if ask:
        like = they.lower().partition(" ")[2]
        kept = ask(
            f"   {listed} {like} like the size of the problem, which is no gain if it shrinks. Keep {them}?", "yes"
        )
        return names if kept[:1].lower() == "y" else ()
    say(f"  keeps     {listed}  ({they.lower()} like the size of the problem: see [knobs])")
    return names


def _kept(toml: Path) -> Path | None:
    """Move an `arena.toml` out of the way; return where it is now, None if there was none."""
    if not toml.exists():
        return None
    backup = next(path for number in range(1, 1000)
                  if not (path := toml.with_name(BACKUP if number == 1 else f"{BACKUP}{number}")).exists())  # fmt: skip
    return toml.rename(backup)


def _refuse_without_program(view: FolderView) -> None:
    names = [name for name in (*view.names, *view.large) if not re.match(r"(?:README|LICENSE)|\.", name)]
    templates = ", ".join(template_names())
    if not names:
        raise BadInput(
            f"{view.folder} has no program: copy yours into it, or begin with a template: mesh new digits "
            f"{view.folder} (templates: {templates})"
        )
    if all(name.endswith(_TABLES) for name in names):
        raise BadInput(
            f"{view.folder} has data, but no program that could become better: put a script beside it, or make an "
            f"arena from a template: mesh new invoices my-arena --data {view.folder}"
        )


def _foreign(folder: Path, wish: InitWish, ask: AskPerson | None, say: Callable[[str], object]) -> str:
    """Write the `arena.toml` of a task of another system; return what was done, "" if it is none."""
    loop = LoopWish(wish.metric, wish.direction, wish.budget_s)
    try:
        told = describe(folder, wish=loop)
    except BadArena as error:
        if "are for autoresearch loops" in str(error):
            told = describe(folder)
        elif ask:
            say(f"{error}")
            return ""
        else:
            raise BadArena(str(error).replace("--run-seconds", "--budget")) from None
    return f"{told}\n`mesh up` opens such a task as it is, also without this file" if told else ""


def seen_lines(view: FolderView, found: Guesses) -> list[str]:
    """Return what was seen in a folder, in a few lines."""
    count = f"{len(view.names)} file{'s' if len(view.names) != 1 else ''}"
    tracked = f", {view.tracked} tracked by git" if view.tracked is not None else ""
    lines = [f"{view.folder.resolve().name}: {count}{tracked}"]

    def row(label: str, text: str, where: str = "") -> None:
        lines.append(f"  {label:<9} {printable(text)}" + (f"  ({where})" if where else ""))

    for run in found.runs[:1]:
        row("runs", shown_command(run.words), run.where)
    for number in found.numbers[:3]:
        row("prints", number.shown, f"{number.file} line {number.line}")
    if found.editable:
        row("changes", ", ".join(found.editable[:5]), found.editable_why)
    if notes := [name for name in AGENT_NOTES if name in view.names]:
        row("notes", ", ".join(notes))
    if view.environment:
        row("packages", view.environment)
    if view.apart:
        more = f" and {len(view.apart) - 6} more" if len(view.apart) > 6 else ""
        row("left out", ", ".join(view.apart[:6]) + more)
    if view.large:
        row("large", ", ".join(view.large[:4]), "stored once as data")
    return lines


def ask_person(question: str, default: str) -> str:
    """AskPerson at the terminal; return the answer, the default for an empty one.

    Raises:
        BadInput: the input ends.
    """
    shown = f"[{default}] " if default else ""
    end = "" if question.endswith("?") else ":"
    line = f"\n{question}{end}\n   {shown}" if question[:1].isdigit() else f"{question}{end} {shown}"
    print(line, end="", file=sys.stderr, flush=True)
    given = sys.stdin.readline()
    if not given:
        print(file=sys.stderr)
        raise BadInput("nothing was written: the questions were not answered")
    return given.strip() or default
