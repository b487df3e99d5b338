"""Writes an `arena.toml` beside a task of another system: finds its files, what does not belong to it, and a free name.

`recognise` in `mesh.foreign_tasks` decides; this module looks at the disk.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mesh import settings
from mesh.coral_task import TASK_FILE
from mesh.errors import BadArena
from mesh.folder_rules import MADE_BY_PREPARE, MADE_BY_TRIALS, Rules
from mesh.foreign_config import has_key
from mesh.foreign_tasks import (
    ForeignTask,
    Layout,
    configurations,
    editable_in,
    layout_of,
    recognise,
    repository_of,
    scores_a_folder,
    token_of,
)
from mesh.loop_reading import LoopWish
from mesh.machine_memory import memory_gb
from mesh.spec import ArtifactSpec
from mesh.task_imports import missing_modules

_MAX_CONFIG_BYTES = 256 * 1024
"""Bytes of a foreign file that is read; parsing YAML takes a second for each half megabyte."""

_MAX_FILES = 2000

_LITERAL = re.compile(r"""["']([^"'\n]{1,200})["']""")
_NO_NAME = re.compile(r"init(ial)?(_|$)|solution$|seed_repo$|main$")
_VAGUE = {"task", "tasks", "src", "code", "program", "example", "evaluator", "eval", "openevolve", "shinka", "new"}
"""Names of folders that say nothing about a task."""


def describe(folder: Path, home: Path | None = None, wish: LoopWish | None = None) -> str:
    """Write an `arena.toml` for a task of another system; return what was done, '' if nothing was.

    Args:
        folder: the task.
        home: folder of caches, which knows the names that are taken; default: the one in force.
        wish: what the user says about the metric of an autoresearch loop.

    Raises:
        BadArena: the task's own configuration cannot be read, its program or its metric is not clear, or the file
            cannot be written.
    """
    if (folder / "arena.toml").exists() or not folder.is_dir():
        if wish and wish != LoopWish():
            raise BadArena(
                f"--metric, --direction and --run-seconds are for an autoresearch loop without arena.toml: change "
                f"objective and trial.budget_s in {folder / 'arena.toml'} instead"
            )
        return ""

    def find() -> Layout | None:
        files = _files_of(folder)
        name, left = _free_name(folder, home), _ignored(folder, files)
        return recognise(name, files, _reader(folder), left, wish, memory_gb())

    layout = _found(folder, find)
    if wish and wish != LoopWish() and (not layout or layout.system != "karpathy/autoresearch"):
        raise BadArena(f"--metric, --direction and --run-seconds are for autoresearch loops: {folder} is none")
    return _written(folder, layout) if layout else ""


def describe_program(program: Path, evaluator: Path, config: Path | None, home: Path | None = None) -> tuple[Path, str]:
    """Write an `arena.toml` for a program, its evaluator and a configuration; return the folder and what was done.

    The folder is the evaluator's, or one that holds both. An `arena.toml` for the same two files stays as it is.

    Args:
        program: the program to improve, or a folder of programs where the evaluator scores a folder.
        evaluator: a Python file with `evaluate`, or a folder with `evaluator.py`.
        config: OpenEvolve's configuration; None: the one beside the evaluator, if any.
        home: folder of caches; default: the one in force.

    Raises:
        BadArena: a file does not exist, they are too far apart, or the folder has an `arena.toml` for another task.
    """
    evaluator = evaluator / "evaluator.py" if evaluator.is_dir() else evaluator
    for what, path in (("program", program), ("evaluator", evaluator), ("configuration", config)):
        if path is not None and not path.is_file() and not (what == "program" and path.is_dir()):
            raise BadArena(f"the {what} {path} is not a file: use `mesh up PROGRAM EVALUATOR --config FILE`")
    program, evaluator = program.resolve(), evaluator.resolve()
    folder = _common(program, evaluator)
    inside = [path.relative_to(folder).as_posix() for path in (program, evaluator)]
    own = folder / "arena.toml"
    if own.exists():
        if all(f'"{name}"' in own.read_text(encoding="utf-8", errors="replace") for name in inside):
            return folder, ""
        raise BadArena(f"{own} does not run {' with '.join(inside)}: change it, or rename it to have another written")

    def find() -> Layout:
        files = _files_of(folder)
        read = _reader(folder, config)
        stem = program.stem if not _NO_NAME.match(program.stem) else ""
        configs = (str(config),) if config else configurations(files)
        name, left = _free_name(folder, home, stem), _ignored(folder, files, inside)
        first, editable = inside[0], tuple[str, ...]()
        if takes := scores_a_folder(read(inside[1])):
            first = first if program.is_dir() else str(Path(first).parts[0])
            editable = editable_in(first, _below(folder, first)) if program.is_dir() else (inside[0],)
        if takes != (program.is_dir() or first != inside[0]) or (takes and not editable):
            wanted = "a folder with a program in it" if takes else "one program"
            raise ValueError(f"{inside[1]} scores {wanted}, and {program} is not that")
        return layout_of(ForeignTask(name, first, inside[1], configs, left, editable), files, read)

    layout = _found(folder, find)
    assert layout is not None
    return folder, _written(folder, layout)


def remember(home: Path, name: str, folder: Path) -> None:
    """Keep which folder an arena was opened from, so that no other task gets its name."""
    path = settings.origin_file(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(folder.resolve()), encoding="utf-8", errors="surrogateescape")


def origin(home: Path, name: str) -> str:
    """Return the folder that an arena was last opened from on this machine, "" if that is not known."""
    try:
        return settings.origin_file(home, name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def free_name(folder: Path, home: Path, wanted: str = "") -> str:
    """Return a name for the arena in a folder that no other folder's arena has: the last words of its path."""
    parts = [token_of(part) for part in folder.resolve().parts[1:]] or ["task"]
    words = [wanted] if wanted else []
    for part in reversed(parts):
        words.insert(0, part)
        name = "-".join(words)[-64:].strip("-")
        if (part.lower() in _VAGUE and len(words) < len(parts)) or origin(home, name) not in (
            "",
            str(folder.resolve()),
        ):
            continue
        return name
    return "-".join(words)[-60:].strip("-") + f"-{os.getpid() % 1000}"


def _free_name(folder: Path, home: Path | None, wanted: str = "") -> str:
    return free_name(folder, home or settings.home(), token_of(wanted) if wanted else "")


def _found(folder: Path, find: Callable[[], Layout | None]) -> Layout | None:
    try:
        return find()
    except ValueError as error:
        raise BadArena(f"{folder}: {error}") from None
    except OSError as error:
        raise BadArena(f"{error.filename or folder} cannot be read: {error.strerror}") from None


def _written(folder: Path, layout: Layout) -> str:
    path = folder / "arena.toml"
    try:
        path.write_text(layout.toml, encoding="utf-8")
    except OSError as error:
        raise BadArena(f"{path} cannot be written: {error.strerror}") from None
    files, read = _files_of(folder), _reader(folder)
    missing = missing_modules((read(name) for name in files if name.endswith(".py") and "/" not in name), files)
    notes = list(layout.notes)
    if secret := [name for name in files if has_key(read(name), name)]:
        notes.append(f"{', '.join(secret)}: holds a key; what is in artifact.ignore reaches no worker and no model")
    if missing:
        notes.append(
            f"it imports {', '.join(missing)}, which {sys.executable} does not have: install what it needs, "
            "or name an environment with --environment"
        )
    shown = folder if folder.parts else folder.resolve()
    done = f"{shown} is a task of {layout.system}: wrote {path}, in which you can change its budget and other limits"
    return "; ".join([done, *notes])


def _files_of(folder: Path) -> list[str]:
    """Return the names of the files in a folder, and of an evaluator in a folder of its own."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    names += ["evaluator/evaluator.py"] if (folder / "evaluator" / "evaluator.py").is_file() else []
    if TASK_FILE in names:
        return [*names, *(name for name in _below(folder, ".") if "/" in name)]
    repository = repository_of(names, _reader(folder))
    names += _named_in(folder, _reader(folder)("program.md")) if "program.md" in names else []
    return [*names, *_below(folder, repository)] if repository else names


def _below(folder: Path, repository: str) -> list[str]:
    """Return the paths of the first files below a folder of the task."""
    found: list[str] = []
    for above, folders, names in os.walk(folder / repository):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        found += ((Path(above) / name).relative_to(folder).as_posix() for name in sorted(names))
        if len(found) > _MAX_FILES:
            break
    return found


def _named_in(folder: Path, text: str) -> list[str]:
    """Return the files in folders below that a text names."""
    found = dict.fromkeys(re.findall(r"(?<![\w./-])[\w-][\w.-]*(?:/[\w-][\w.-]*)+", text))
    return [name for name in found if (folder / name).is_file()]


def _reader(folder: Path, config: Path | None = None) -> Callable[[str], str]:
    """Return what reads a file of the task: "" where a file other than a configuration is too large or no text."""

    def read(name: str) -> str:
        path = config if config and name == str(config) else folder / name
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            data = file.read(_MAX_CONFIG_BYTES + 1)
        matters = name.endswith((".yaml", ".yml"))
        if len(data) > _MAX_CONFIG_BYTES:
            if matters:
                raise ValueError(f"{path.name} has more than {_MAX_CONFIG_BYTES:,} bytes")
            return ""
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            if matters:
                raise ValueError(f"{path.name} is not UTF-8 text") from None
            return ""

    return read


def _common(program: Path, evaluator: Path) -> Path:
    """Return the folder that holds program and evaluator: that of one of them, or the one right above both."""
    for folder in (evaluator.parent, program.parent):
        if program.is_relative_to(folder) and evaluator.is_relative_to(folder):
            return folder
    if program.parent.parent == evaluator.parent.parent:
        return evaluator.parent.parent
    raise BadArena(f"{program} and {evaluator} do not lie in one folder: copy both into a folder of their own")


def _ignored(folder: Path, files: Sequence[str], needed: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the patterns of what holds a key and is no part of a task; with `!` of what would be left out and is one.

    All else that lies in folders is judged by `mesh.folder_rules` when the arena opens.
    """
    read = _reader(folder)
    sources = [text for name in files if name.endswith(".py") and (text := read(name))]
    secret = [name for name in files if name not in needed and has_key(read(name), name)]
    imported = {f"{module}.py" for text in sources for module in re.findall(r"\b(?:import|from)\s+(\w+)", text)}
    words = {part for text in sources for literal in _LITERAL.findall(text) for part in literal.split("/")}
    if named := sorted((words | imported).intersection(secret)):
        raise ValueError(
            f"{named[0]} holds a key, and the task reads it, so that every worker and model would get the key: write "
            "the name of a variable in its place, such as ${OPENAI_API_KEY}"
        )
    rules = Rules(folder, ArtifactSpec(editable=()))
    own = [MADE_BY_TRIALS, *([MADE_BY_PREPARE] if "prepare.py" in files else [])]
    kept = [name for name in own if (folder / name).is_dir() and rules.is_part(name)]
    tops = {Path(name).parts[0] for name in needed if "/" in name}
    kept += sorted(name for name in tops.difference(kept) if rules.why_apart(name, is_dir=True))
    return (*(f"/{name}" for name in secret), *(f"!/{name}/" for name in kept))
