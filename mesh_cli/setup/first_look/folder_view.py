"""The files of a folder that may become an arena, and what lies beside them: environments, logs, builds, large data."""

import os
from functools import lru_cache, partial
from pathlib import Path

import msgspec

from mesh.arena_files import MAX_FILE_BYTES
from mesh.errors import BadInput
from mesh.folder_rules import Rules
from mesh.git_folder import GitFolder
from mesh.leavings import is_secret
from mesh.spec import ArtifactSpec

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
        unlisted: those of them that only `artifact.ignore` keeps out of an artifact.
        large: files that are too large for an artifact.
        environment: name of the virtual environment in the folder, "" for none.
    """

    folder: Path
    names: tuple[str, ...]
    tracked: int | None = None
    apart: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
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
    git, rules = GitFolder(folder), Rules(folder, ArtifactSpec(editable=()))
    names, apart, large, environment = list[str](), list[str](), list[str](), ""
    built = list[str]()
    try:
        for above, folders, files in os.walk(folder, onerror=partial(_closed, folder, apart)):
            below = os.path.relpath(above, folder)
            prefix = "" if below == "." else f"{below}/"
            kept = []
            for name in sorted(folders):
                path = f"{prefix}{name}"
                if os.path.exists(os.path.join(above, name, "pyvenv.cfg")):
                    environment = environment or (path if "/" not in path else "")
                    apart += [path] if name != ".venv" else []
                elif rules.never(path) or is_secret(name) or prefix.count("/") >= _DEEPEST:
                    continue
                elif rules.why_apart(path, is_dir=True):
                    apart.append(path)
                elif name in _BUILDS and not git.tracks(path):
                    built.append(path)
                else:
                    kept.append(name)
            folders[:] = kept
            for name in sorted(files):
                path = f"{prefix}{name}"
                place = Path(above) / name
                if (
                    rules.never(path)
                    or is_secret(name)
                    or not path.isprintable()
                    or path == "arena.toml"
                    or not place.is_file()
                ):
                    continue  # a pipe or a link to nowhere is left out with a word when the arena opens
                if rules.why_apart(path, is_dir=False):
                    apart.append(path)
                elif _is_built(place) and not git.tracks(path):
                    built.append(path)
                elif place.stat().st_size > MAX_FILE_BYTES:
                    large.append(path)
                else:
                    names.append(path)
            if len(names) > _MOST:
                break
    except OSError as error:
        raise BadInput(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    back = [name for name in built if rules.names(name)]
    names += [name for name in back if (folder / name).is_file()]
    built = [name for name in built if name not in back]
    count = sum(map(git.tracks, names)) if git.is_here else None
    return FolderView(
        folder, tuple(sorted(names)), count, tuple(sorted([*apart, *built])), tuple(built), tuple(large), environment
    )


def _closed(folder: Path, apart: list[str], error: OSError) -> None:
    """Leave a folder alone that cannot be read, unless it is the folder itself."""
    if error.filename is None or Path(error.filename) == folder:
        raise error
    apart.append(os.path.relpath(error.filename, folder))


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
