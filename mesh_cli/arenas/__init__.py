"""The arenas that come with the mesh, so that `mesh up digits` works where there is no checkout.

Each is a folder beside this file; in a checkout it is a link into `arenas/`, and the wheel holds the files themselves.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from mesh import settings
from mesh.errors import BadArena
from mesh.foreign_folder import describe, describe_program
from mesh.loop_reading import LoopWish

HERE = Path(__file__).parent


def arena_folder(given: Path) -> tuple[Path, str]:
    """Return the folder of the arena that `given` names, and one sentence if that is a new copy.

    A folder that exists is taken as it is. The name of an arena that comes with the mesh means the copy of it in the
    home, which the user may edit; it is made once and never overwritten. Anything else is returned unchanged.
    """
    name = str(given)
    if given.exists() or name not in names():
        return given, ""
    copy = settings.home() / "arenas" / name
    if copy.is_dir():
        return copy, ""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=f".{name}-") as made:
        whole = Path(made) / name
        shutil.copytree(HERE / name, whole, ignore=shutil.ignore_patterns("__pycache__", "data", "out"))
        try:
            whole.rename(copy)
        except OSError:  # another command has just made it
            if not copy.is_dir():
                raise
            return copy, ""
    return copy, f"copied the arena {name} to {copy}: edit it there, or give the folder of an arena of your own"


def template_folder(name: str) -> Path:
    """Return the folder of an arena that comes with the mesh, as it came.

    Raises:
        BadArena: there is none of that name.
    """
    if name not in names():
        raise BadArena(f"{name[:60]!r} is not an arena that comes with the mesh: use {', '.join(names())}")
    return HERE / name


def loop_wish(metric: str | None, direction: Literal["min", "max"] | None, run_seconds: float | None) -> LoopWish:
    """Return what the options of a command say about an autoresearch loop."""
    ways: dict[str, Literal["", "minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}
    return LoopWish(metric or "", ways.get(direction or "", ""), run_seconds or 0.0)


def told_folder(
    given: Path, evaluator: Path | None = None, config: Path | None = None, wish: LoopWish | None = None
) -> Path:
    """Return the folder of `arena_folder`, or of a program with its evaluator; say on stderr what was made.

    With a `wish`, the `arena.toml` of a task of another system is written too.

    Raises:
        BadArena: the program has no evaluator, they cannot be used, or the system can look up no such path.
    """
    try:
        given.exists()
    except OSError as error:
        raise BadArena(f"no folder of an arena can be at {str(given)[:60]!r}: {error.strerror}") from None
    if evaluator is None and given.is_file() and given.name != "arena.toml":
        raise BadArena(f"{given} is a file: name its evaluator behind it (`mesh up PROGRAM EVALUATOR`), or its folder")
    if evaluator is None and config is not None:
        raise BadArena("--config needs a program and its evaluator: `mesh up PROGRAM EVALUATOR --config FILE`")
    if evaluator is not None:
        folder, sentence = describe_program(given, evaluator, config)
    else:
        folder, sentence = arena_folder(given.parent if given.name == "arena.toml" else given)
    if not sentence and wish:
        sentence = describe(folder, wish=wish)
    if sentence:
        print(f"mesh: {sentence}", file=sys.stderr)
    return folder


def told_loop(
    given: Path, metric: str | None, direction: Literal["minimize", "maximize"] | None, run_seconds: float | None
) -> Path:
    """Return the folder of `told_folder`, which gets its `arena.toml` if it is a loop whose results are imported.

    `metric` names a column of the results: it is the loop's metric only where the loop's own files do not agree on one.
    `metric` and `direction` are no wishes where an `arena.toml` states both.

    Raises:
        BadArena: as `told_folder`.
    """
    if (given / "arena.toml").exists() or not (given / "program.md").exists():
        return told_folder(given, wish=LoopWish(budget_s=run_seconds or 0.0))
    wish = LoopWish("", direction or "", run_seconds or 0.0)
    try:
        return told_folder(given, wish=wish)
    except BadArena:
        if not metric:
            raise
        return told_folder(given, wish=replace(wish, metric=metric))


def names() -> list[str]:
    """Return the names of the arenas that come with the mesh."""
    return sorted(path.parent.name for path in HERE.glob("*/arena.toml"))
