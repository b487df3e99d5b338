"""The files of a folder that may become an arena, and what lies beside them: environments, logs, builds, large data."""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import msgspec

from mesh.arena_files import ATTACKS, MAX_FILE_BYTES, never_part
from mesh.errors import BadInput
from mesh.foreign_folder import LEAVINGS
from mesh.hidden_files import is_hidden

_MOST = 4000
_DEEPEST = 8
_MAX_TEXT = 256 * 1024
_BUILT = (b"\x7fELF", b"!<arch>\n", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"MZ")
_BUILDS = {"build", "target", "dist", "cmake-build-debug", "cmake-build-release", ".tox", ".nox", ".cache"}
_NOT_CODE = (".pyc", ".pyo", ".o", ".obj", ".class")


class FolderView(msgspec.Struct, frozen=True):
    """What was found in a folder.

    Attributes:
        folder: where it is.
        names: paths of the files that may belong to the artifact.
        tracked: how many of them git tracks; None where the folder is in no repository.
        apart: files and folders that are left alone: environments, logs, databases, builds, what git ignores.
        large: files that are too large for an artifact.
        environment: name of the virtual environment in the folder, "" for none.
    """

    folder: Path
    names: tuple[str, ...]
    tracked: int | None = None
    apart: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    environment: str = ""

    def text(self, name: str) -> str:
        """Return the text of a file, "" where it is not there, too large or no text."""
        return _text(self.folder / name)

    def known(self, name: str) -> str:
        """Return the path of the file that a word means, "" where it means none."""
        plain = os.path.normpath(name) if name else ""
        return plain if plain in self.names else ""


def view_folder(folder: Path) -> FolderView:
    """Look at a folder; nothing in it is executed or changed.

    Raises:
        BadInput: it is no folder, or cannot be read.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: name the folder of your script")
    tracked, ignored = _git(folder)
    names, apart, large, environment = list[str](), list[str](), list[str](), ""
    try:
        for above, folders, files in os.walk(folder, onerror=_refuse):
            below = os.path.relpath(above, folder)
            prefix = "" if below == "." else f"{below}/"
            kept = []
            for name in sorted(folders):
                path = f"{prefix}{name}"
                if (Path(above) / name / "pyvenv.cfg").exists():
                    environment = environment or (path if "/" not in path else "")
                    apart += [path] if name != ".venv" else []
                elif never_part(path, ()) or path == ATTACKS or prefix.count("/") >= _DEEPEST:
                    continue
                elif not _has(tracked, f"{path}/") and (
                    is_hidden(LEAVINGS, path) or name in _BUILDS or ignored(f"{path}/")
                ):
                    apart.append(path)
                else:
                    kept.append(name)
            folders[:] = kept
            for name in sorted(files):
                path = f"{prefix}{name}"
                if never_part(path, ()) or path == "arena.toml" or name.endswith(".pyc"):
                    continue
                is_left = is_hidden(LEAVINGS, path) or ignored(path) or _is_built(Path(above) / name)
                if path not in tracked and is_left:
                    apart.append(path)
                elif (Path(above) / name).stat().st_size > MAX_FILE_BYTES:
                    large.append(path)
                else:
                    names.append(path)
            if len(names) > _MOST:
                break
    except OSError as error:
        raise BadInput(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    back = _named_by_sources(folder, names, apart)
    names += [name for name in back if (folder / name).is_file()]
    apart = [name for name in apart if name not in back]
    count = len(tracked.intersection(names)) if tracked else None
    return FolderView(folder, tuple(sorted(names)), count, tuple(apart), tuple(large), environment)


def _named_by_sources(folder: Path, names: list[str], apart: list[str]) -> list[str]:
    """Return what is set apart, is no leaving of a run, and is named in a source: data that git ignores, as a rule."""
    sources = [name for name in names if name.endswith((".py", ".sh", ".js", ".R", ".jl", ".c", ".cpp", ".rs", ".go"))]
    words = {
        part
        for name in sources
        for literal in re.findall(r"""["']([^"'\n]{1,200})["']""", _text(folder / name))
        for part in literal.split("/")
    }
    return [
        name
        for name in apart
        if name in words and not is_hidden(LEAVINGS, name) and not (folder / name / "pyvenv.cfg").exists()
        and not _is_built(folder / name)
    ]  # fmt: skip


def _refuse(error: OSError) -> None:
    raise error


def _has(tracked: set[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tracked)


def _is_built(path: Path) -> bool:
    if path.name.endswith(_NOT_CODE):
        return True
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_BUILT)
    except OSError:
        return False


@lru_cache(maxsize=4096)
def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT + 1)
        return "" if len(data) > _MAX_TEXT or b"\0" in data else data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def _git(folder: Path) -> tuple[set[str], Callable[[str], bool]]:
    """Return the files below a folder that git tracks, and what tells whether git ignores a path there."""
    here = folder.resolve()
    if not any((parent / ".git").exists() for parent in (here, *here.parents)):
        return set(), lambda path: False
    import pygit2

    try:
        repository = pygit2.Repository(str(here))
        inside = here.relative_to(Path(repository.workdir or "/").resolve()).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        if prefix and repository.path_is_ignored(prefix):
            return set(), lambda path: False
        tracked = {each.path.removeprefix(prefix) for each in repository.index if each.path.startswith(prefix)}
    except (pygit2.GitError, ValueError, OSError):
        return set(), lambda path: False
    return tracked, lambda path: bool(repository.path_is_ignored(f"{prefix}{path}"))
