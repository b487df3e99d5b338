"""Which files of this machine a command needs in order to start: its program, its interpreter, and their packages.

A sandbox shows the system's folders and no home. A program below a home, as npm, pipx and installers put it there, is
therefore made readable with the folder of its packages, and nothing beside it.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mesh.errors import BadInput
from mesh.readable import is_visible

_HOPS = 4
"""Interpreters of interpreters that are followed."""


def start_words(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return a command with the full paths of its program and of the files that it names, and what it needs to read.

    Raises:
        BadInput: the program is not installed.
    """
    found = shutil.which(words[0])
    if found is None:
        raise BadInput(f"the program {words[0]!r} is not installed, or not on PATH: install it, or name its whole path")
    program = _real(Path(found).absolute())
    needed = list(_needed(program))
    rest = []
    for word in words[1:]:
        path = Path(word)
        is_file = "{" not in word and ("/" in word or "." in word) and path.is_file()
        rest.append(str(path.resolve()) if is_file else word)
        if is_file:
            needed += _needed(path.resolve())
    return (str(program), *rest), tuple(dict.fromkeys(path for path in needed if not is_visible(str(path))))


def _real(program: Path) -> Path:
    """Return where a program is that a sandbox hides; it looks for its packages beside itself."""
    return program if is_visible(str(program)) or _environment(program) else program.resolve()


def _needed(program: Path) -> list[Path]:
    found: list[Path] = []
    for _ in range(_HOPS):
        real = program.resolve()
        found += [_root(program), _root(real)]
        program_or_none = _interpreter(real)
        if program_or_none is None:
            break
        program = program_or_none
    home = Path.home()
    return [path for path in found if path != home and path not in home.parents]


def _root(program: Path) -> Path:
    """Return the folder of a program's packages, or the program alone."""
    parts = program.parts
    if "node_modules" in parts:
        return Path(*parts[: parts.index("node_modules") + 1])
    if environment := _environment(program):
        return environment
    if program.name.startswith("python") and program.parent.name == "bin":
        return program.parent.parent
    return program


def _environment(program: Path) -> Path | None:
    """Return the Python environment that a program is in."""
    top = program.parent.parent
    return top if program.parent.name == "bin" and (top / "pyvenv.cfg").is_file() else None


def _interpreter(program: Path) -> Path | None:
    """Return the interpreter in the first line of a script."""
    try:
        with program.open("rb") as file:
            line = file.readline(512)
    except OSError:
        return None
    words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        found = shutil.which(words[0]) if words else None
        return Path(found).absolute() if found else None
    return Path(words[0]) if words else None
