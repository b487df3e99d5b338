"""`--environment`: which environment a task runs in, where its `arena.toml` names none. It is never chosen in silence.

An environment in the task's folder (`.venv`, `venv`) is used only if the user agrees: by `--environment`, by a yes at
the terminal, or by writing it down. What was agreed on is written into `arena.toml`, so that every later start, worker
and reader of the log has the same.
"""

import re
import sys
from pathlib import Path

from mesh.decoding import decode_toml
from mesh.errors import BadInput
from mesh.interpreter import below_home, find_interpreter

FOLDERS = (".venv", "venv")
"""Names of environments in the folder of a task."""
_NAMES_ONE = ("python", "requirements", "lock")


def agree_on_environment(folder: Path, wish: str | None) -> None:
    """Write the environment that the user wants into `arena.toml`, or say on stderr which one is not used.

    Args:
        folder: the arena.
        wish: an environment, an interpreter, a list of packages of the arena, `none`, or None if nothing was given.

    Raises:
        BadInput: it cannot be used, or `arena.toml` names another one.
    """
    toml = folder / "arena.toml"
    try:
        text = toml.read_text(encoding="utf-8")
        table = decode_toml(text.encode()).get("environment", {})
    except (OSError, ValueError):
        return  # opening the arena says what is wrong with it
    named = [key for key in _NAMES_ONE if isinstance(table, dict) and table.get(key)]
    if wish == "none" or (named and wish is None):
        return
    if named and wish is not None:
        key, value = _setting(folder, wish)
        if table.get(key) == value:
            return
        raise BadInput(f"--environment is {wish}, but {toml} names environment.{named[0]}: change it there")
    if wish is not None:
        _write(toml, text, *_setting(folder, wish))
        return
    found = own_folder(folder)
    if not found:
        if hint := _hint(folder):
            print(f"mesh: {hint}", file=sys.stderr)
        return
    try:
        version = find_interpreter(str((folder / found).resolve())).version
    except BadInput as error:
        print(f"mesh: {found} is not used: {error}", file=sys.stderr)
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"Run this task in its {found} (Python {version})? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            _write(toml, text, "python", found)
            return
    print(
        f"mesh: {found} (Python {version}) is not used: give --environment {found} to use it, or --environment none",
        file=sys.stderr,
    )


def own_folder(folder: Path) -> str:
    """Return the name of the environment in the folder of a task, "" if there is none."""
    return next((name for name in FOLDERS if (folder / name / "bin" / "python").exists()), "")


def _setting(folder: Path, wish: str) -> tuple[str, str]:
    """Return key and value of `[environment]` for what the user wants."""
    if wish.endswith((".txt", ".in")) or Path(wish).name == "uv.lock":
        if not (folder / wish).is_file():
            raise BadInput(f"--environment is {wish}, which is not a file in {folder}: give its path in there")
        return ("lock" if wish.endswith("uv.lock") else "requirements"), wish
    inside = folder / Path(wish).expanduser()
    if inside.exists() and not Path(wish).is_absolute():
        find_interpreter(str(inside.resolve()) if inside.is_dir() else str(inside.absolute()))
        return "python", Path(wish).as_posix()
    path = wish if "/" not in wish and not Path(wish).exists() else str(Path(wish).expanduser().absolute())
    find_interpreter(path)
    return "python", below_home(path)


def _hint(folder: Path) -> str:
    """Return what the files of a task say about the environment that it needs, "" for nothing."""
    for name in ("uv.lock", "requirements.txt"):
        if (folder / name).is_file():
            return f"{name} is not used: give --environment {name} to have workers build it, or --environment none"
    for name in ("environment.yml", "environment.yaml"):
        if (folder / name).is_file():
            return f"{name} is not used: make its environment, and give --environment with its folder"
    return ""


def _write(toml: Path, text: str, key: str, value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    line = f'{key} = "{escaped}"\n'
    table = re.search(r"^\[environment\][^\n]*(\n|\Z)", text, re.MULTILINE)
    if table:
        text = f"{text[: table.end()].rstrip(chr(10))}\n{line}{text[table.end() :]}"
    else:
        text = f"{text.rstrip(chr(10))}\n\n[environment]\n{line}"
    try:
        toml.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{toml} cannot be written: {error.strerror}") from None
    print(f'mesh: wrote {key} = "{value}" under [environment] in {toml}', file=sys.stderr)
